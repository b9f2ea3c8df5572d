"""Bounds passed through a network: intervals and affine functions forwards, functionals back to the input."""
