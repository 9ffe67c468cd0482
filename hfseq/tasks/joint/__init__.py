"""Intent and slots of requests, with one model: the recipe's settings, parts, facts and card."""
