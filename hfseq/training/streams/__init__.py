"""Training on running text, in windows."""
