"""Writing texts: the fused loop of `generate`; and a classifier made of language models."""
