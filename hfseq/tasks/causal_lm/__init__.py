"""Language models that write: they learn the next token."""
