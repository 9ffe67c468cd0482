"""Language models of every kind on one text."""
