"""Transformers, from attention upwards."""
