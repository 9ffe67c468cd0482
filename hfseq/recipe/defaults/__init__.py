"""Defaults that follow the data: what is counted of the rows, and a file for each kind of task."""
