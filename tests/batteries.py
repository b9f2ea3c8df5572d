"""Which tests `make test` leaves to `make full`."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from zlib import crc32

import pytest

# Minutes of compiling, of training, or of networks that others stand for: `make full` runs them.
LONG = (
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

# Batteries of every method on every network: one case in so many is run, the same on every machine.
BATTERIES = {
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


def left_to_full(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Of these tests, what is long, and all but a share of the batteries."""
    files = defaultdict(list)
    for item in items:
        if any(name in item.nodeid for name in LONG):
            yield item
        else:
            files[item.nodeid.split("::")[0]].append(item)
    for file, step in BATTERIES.items():
        taken = _some(files[file], step)
        yield from (item for item in files[file] if item not in taken)
