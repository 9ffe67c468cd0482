"""Networks that see a fixed window of words at a time."""
