"""Model cards: measured facts, their checks, and how they are written."""
