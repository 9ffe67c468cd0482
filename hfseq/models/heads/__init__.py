"""Heads: the output layers and losses of each task, on any backbone."""
