"""Recurrent networks: the equations of cells, the loop over time, and the families."""
