"""Series of numbers, forecasts and labels of steps: the settings of the recipe, its parts, facts and card."""
