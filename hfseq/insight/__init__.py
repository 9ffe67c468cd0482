"""Looking into models: what a word means in its context, and pictures."""
