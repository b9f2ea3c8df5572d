"""The command line: one file per command, no logic."""

import os

# Torch's threads spin while they wait. Beside other busy processes that made small networks 16 times slower
# (benchmarks/contention.py), so they sleep instead; it must be said before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
