"""Word vectors from running text."""
