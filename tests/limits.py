"""What tests give in place of a time limit."""

# Seconds. No answer depends on it on any machine: only what hangs gets there.
NEVER = 3600.0
