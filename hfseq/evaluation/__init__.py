"""Scores that work offline: of classes, tags, entities and language."""
