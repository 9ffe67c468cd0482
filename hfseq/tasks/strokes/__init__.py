"""Drawing with a pen: the recipe's settings, parts, facts and card."""
