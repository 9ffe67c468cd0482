"""Data: loading, the embedded data set, collators, batching and trees."""
