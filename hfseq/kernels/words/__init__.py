"""Kernels of word vectors."""
