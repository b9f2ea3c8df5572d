"""Shapes and types are checked while the tests run, each worker computes on one thread, and no test is timed."""

import os
from collections import defaultdict
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

from tests import elsewhere
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


# Minutes of compiling, of training, or of networks that others stand for: `make full` runs them.
_LONG = (
    "BrendelBethge",
    "test_no_point_lies_below_a_bound[padded]",
    "test_no_point_lies_below_a_bound[overlap]",
    "gains_somewhere[joined]",
    "test_it_is_about_as_near_as_ddn_on_networks",
    "test_what_is_left_goes_to_random_starts",
    "test_intervals_prove_what_certified_training_made",
    "test_what_is_searched_anew_leaves_one_tree_of_evidence",
    "test_a_search_over_splits_that_is_stopped_within_a_batch",
)

# Batteries of every method on every network: one case in so many is run here, `make full` runs them all.
_BATTERIES = {
    "tests/contracts/test_verifiers.py": 6,
    "tests/contracts/test_minimum_norm_attacks.py": 6,
    "tests/contracts/test_attacks.py": 6,
    "tests/bounds/test_optimised.py": 6,
    "tests/bounds/test_cascade.py": 6,
    "tests/bounds/test_published.py": 3,
    "tests/bounds/test_least_and_largest.py": 4,
    "tests/bounds/propagation/test_forward.py": 3,
    "tests/bounds/propagation/test_walks.py": 3,
    "tests/bounds/propagation/test_rows.py": 3,
    "tests/soundness/test_bounds_enclose.py": 6,
    "tests/soundness/test_cancelling.py": 3,
    "tests/verify/branching/test_split_search.py": 4,
    "tests/verify/milp/test_milp.py": 3,
    "tests/verify/test_complete.py": 3,
    "tests/verify/branching/test_input_search.py": 3,
    "tests/verify/milp/test_tolerance.py": 3,
    "tests/check/test_checker.py": 3,
    "tests/check/test_tightened.py": 3,
    "tests/check/test_enclosure.py": 3,
    "tests/attacks/test_gradient_estimation.py": 6,
    "tests/attacks/test_one_pixel.py": 2,
    "tests/attacks/adapters/test_adapters.py": 4,
    "tests/attacks/test_lbfgs.py": 2,
    "tests/attacks/test_pdpgd.py": 3,
    "tests/attacks/test_sight.py": 3,
    "tests/attacks/test_proximal.py": 3,
    "tests/train/test_certified.py": 3,
}


def _some(items: list[pytest.Item], step: int) -> set[pytest.Item]:
    """One parametrised case in `step` of every test, chosen by name: the same on every machine, at least one."""
    cases = defaultdict(list)
    for item in items:
        cases[getattr(item, "originalname", item.name)].append(item)
    taken = set()
    for found in cases.values():
        order = sorted(found, key=lambda item: crc32(item.nodeid.encode()))
        taken.update(order[: -(-len(order) // step)])
    return taken


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What numba compiles is compiled in every process anew: one worker takes all of it."""
    batteries = defaultdict(list)
    for item in items:
        if "BrendelBethge" in item.name or "pdpgd-table" in item.name:
            item.add_marker(pytest.mark.xdist_group("numba"))
        if any(name in item.nodeid for name in _LONG):
            item.add_marker(pytest.mark.full)
        else:
            batteries[item.nodeid.split("::")[0]].append(item)
    for file, step in _BATTERIES.items():
        taken = _some(batteries[file], step)
        for item in batteries[file]:
            if item not in taken:
                item.add_marker(pytest.mark.full)
