"""Tables, figures and the one-file page of a finished run. Reads records; never recomputes them."""
