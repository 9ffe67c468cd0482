"""Translation, and whatever else writes a text from a text: dialogue, summaries, a sequence autoencoder."""
