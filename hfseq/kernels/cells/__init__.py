"""Kernels that are printed from the equations of recurrent cells."""
