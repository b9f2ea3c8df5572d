"""Networks as a small intermediate representation with one reference evaluator."""
