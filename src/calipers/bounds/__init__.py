"""Bounds of a network over input sets: interval propagation and linear bounds."""
