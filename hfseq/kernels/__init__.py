"""Fused kernels: made from the equations in `models/cells.py`, compiled by numba, each with a plain torch twin."""
