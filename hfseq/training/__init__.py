"""Trainers, and what they need."""
