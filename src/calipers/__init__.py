"""How robust is a neural-network classifier? Measured from both sides."""

__version__ = "0.1.0"
