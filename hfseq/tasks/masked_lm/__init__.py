"""Language models that fill in: they learn hidden tokens."""
