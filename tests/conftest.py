"""Shapes and types are checked while the tests run, each worker computes on one thread, and no test is timed."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests import batteries, elsewhere
from tests.checking import install

# Two workers share two cores; more threads than that only wait for each other. OMP_NUM_THREADS=4 asks for more.
if "OMP_NUM_THREADS" not in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

    import torch

    torch.set_num_threads(1)

# numba, within attacks of Foolbox: compiling takes far longer than what the tests do with it.
os.environ.setdefault("NUMBA_OPT", "0")

install("calipers")
elsewhere.registered()

# A machine may be as slow or as busy as it likes: neither an example nor the drawing of one has a time limit.
# 25 examples of every property; --hypothesis-profile=thorough, as in `make soundness`, looks at 200.
settings.register_profile("any machine", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What numba compiles is compiled in every process anew: one worker takes all of it."""
    for item in items:
        if "BrendelBethge" in item.name or "pdpgd-table" in item.name:
            item.add_marker(pytest.mark.xdist_group("numba"))
    for item in batteries.left_to_full(items):
        item.add_marker(pytest.mark.full)
