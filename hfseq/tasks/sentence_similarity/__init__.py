"""How well the vectors of two sentences tell whether they mean the same."""
