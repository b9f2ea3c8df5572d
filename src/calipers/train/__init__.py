"""Training by recipe, with checkpoints."""
