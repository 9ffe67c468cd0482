"""Models that count: n-grams, and hidden Markov models."""
