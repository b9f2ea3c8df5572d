"""Runs on disk: scalars in SQLite, arrays in Parquet."""
