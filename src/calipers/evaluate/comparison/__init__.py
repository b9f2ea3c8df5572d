"""Models side by side: each is measured by a run of its own, on the same samples and against the same threat."""
