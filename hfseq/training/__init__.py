"""Trainers, and what they need."""

from ..extras import need

need("train")
