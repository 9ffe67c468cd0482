"""Trees with a label at each node: the recipe's settings, parts, facts and card."""
