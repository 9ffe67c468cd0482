"""Captions: a model that writes what is to be seen in an image."""
