"""The additive score of attention, in one pass over memory."""
