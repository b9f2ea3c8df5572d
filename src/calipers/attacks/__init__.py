"""Attacks: inputs of a set that break the specification."""
