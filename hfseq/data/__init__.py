"""Data: where rows come from, formats of files, labels, documents, corpora of words, and the generated data."""

from ..extras import need

need("train")
