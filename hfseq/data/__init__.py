"""Texts in, token ids and updates out: loading, word vectors, batching, and the generated data."""
