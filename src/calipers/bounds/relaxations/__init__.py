"""Planes around nonlinearities, one way of choosing them a file."""
