"""Texts as vectors, and the search for the nearest ones."""
