"""Robustness of one classifier under one threat, from both sides."""
