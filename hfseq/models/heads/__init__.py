"""What stands on a backbone: a loss and an answer for each task."""
