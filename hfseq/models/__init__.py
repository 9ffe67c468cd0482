"""The model families: one flat folder, because the Hub's code export follows only `from .sibling import`."""
