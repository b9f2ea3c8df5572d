"""Measurements, apart from tests: each prints a table and, with --json, the project's JSON shape."""
