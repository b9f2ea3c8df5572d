"""Plans, runs and metrics: methods times problems, kept in the store."""
