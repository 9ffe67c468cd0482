"""Trees level by level: what lies between the matrix products of a level, in one pass forward and one backward."""
