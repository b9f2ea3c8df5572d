"""Shapes and types are checked while the tests run."""

import os

from jaxtyping import install_import_hook

install_import_hook("calipers", "beartype.beartype")

# Two workers share two cores; more threads than that only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
