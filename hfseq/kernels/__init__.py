"""Fused kernels, compiled by numba; each has a plain twin in torch."""
