"""The doctor: what a run shows, told as findings with their numbers and the settings to try."""
