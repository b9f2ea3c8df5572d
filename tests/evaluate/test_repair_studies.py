"""Studies of hybrids on scikit-learn's digits: what parts leave, pictures included, and what figures need."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calipers.evaluate.progress import track
from calipers.evaluate.reproduce import ALL, Expected, Laboratory, Lines, Reproduction, grouped
from calipers.evaluate.reproduce.experiment import QUICK, Budget, Reproduced
from calipers.evaluate.reproduce.hybrid_accuracy import HybridUnderAttack
from calipers.evaluate.reproduce.hybrid_bench import Sizes
from calipers.evaluate.reproduce.hybrid_shift import FeatureShift
from calipers.evaluate.reproduce.network import Trained
from calipers.evaluate.reproduce.study import Point, Study, StudyFinding, StudyGroup, part_name
from calipers.evaluate.reproduce.study_figure import Beside
from calipers.report.reproduction import tables
from calipers.report.reproduction_figure import save_figure
from calipers.store.store import Store
from calipers.train import Recipe

NETWORK = Trained(Recipe(model="digits.small", data="digits", epochs=2))
SIZES = Sizes(300, 100, 150)
SHIFT = FeatureShift("digits", NETWORK, "digits", SIZES, 0.1, groups=3, most=6, proven=(4, 0.001))
ATTACK = HybridUnderAttack("digits", NETWORK, "digits", SIZES, (0.02, 0.2))


def _found(store: Store, folder: Path, study: Study, beside: Beside) -> Reproduced:
    def planned(budget: Budget) -> tuple[Study, ...]:
        return (study,)

    asked = Reproduction("repair-fig2", "digits", figure=Lines("x", "y", beside), studies=planned)
    return Laboratory(store, folder / "models", None, None, 0, track, "calipers reproduce digits").reproduce(
        asked, QUICK
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hybrids")


@pytest.fixture(scope="module")
def shift(folder: Path) -> Reproduced:
    with Store(folder) as store:
        return _found(store, folder, SHIFT, Beside.MAPS)


def test_the_gallery_shows_what_the_rows_count(folder: Path) -> None:
    with Store(folder) as store:
        found = _found(store, folder, ATTACK, Beside.EXAMPLES)
        arrays = [store.arrays(found.studies[0].run_id, part_name(number)) for number in range(2)]
        drawn = save_figure(store, found, folder / "fig2.png")
    for epsilon, part in zip(ATTACK.epsilons, arrays, strict=True):
        for name in ("NN", "LH"):
            apart = np.abs(part[f"picture {name}"] - part["original"]).max()
            assert 0 < apart <= epsilon + 1e-6
            assert part[f"class {name}"].shape == part["label"].shape
    assert drawn is not None
    assert drawn.stat().st_size > 1000
    points = {(point.line, point.x): point for point in found.studies[0].points}
    for row in found.rows:
        name = row.name.split()[1]
        point = points[name, row.epsilon or 0.0]
        assert (point.y, point.low, point.high) == (row.measured, row.low, row.high)


def test_every_adversary_is_in_one_group_and_none_that_is_left_out_was_given(shift: Reproduced) -> None:
    rows = {row.name: row for row in shift.rows}
    every = rows["digits before repair: adversaries"].measured
    members = [rows[f"digits group {group}: members"].n for group in (1, 2, 3)]
    assert sum(members) == every
    assert members == sorted(members, reverse=True)
    for group, count in zip((1, 2, 3), members, strict=True):
        own = f"digits group {group}, repaired with its own:"
        given, left = rows[f"{own} those it was given"], rows[f"{own} members left out"]
        assert given.n == min(SHIFT.most, count // 2)
        assert given.n + left.n == count
        assert rows[f"digits group {group}, repaired with any: those it was given"].n == given.n
        for name in ("its own", "any"):
            prefix = f"digits group {group}, repaired with {name}:"
            if given.n:
                assert rows[f"{prefix} those it was given"].measured == 1.0
            proven, right = rows[f"{prefix} left out, proven"], rows[f"{prefix} members left out"]
            assert proven.n == min(SHIFT.proven[0] if SHIFT.proven else 0, left.n)
            assert round((proven.measured or 0) * proven.n) <= round((right.measured or 0) * right.n)


def test_maps_have_a_row_for_every_class_and_are_drawn(folder: Path, shift: Reproduced) -> None:
    with Store(folder) as store:
        arrays = store.arrays(shift.studies[0].run_id, part_name(0))
        drawn = save_figure(store, shift, folder / "shift.png")
    assert {"map before repair", "map after repair"} == set(arrays)
    assert all(len(value) == 10 and np.isfinite(value).all() for value in arrays.values())
    assert np.abs(arrays["map before repair"]).max() > 0
    assert drawn is not None
    assert drawn.stat().st_size > 1000
    assert [row.name for row in shift.rows] == [row.name for table in grouped(shift.studies) for row in table.rows()]
    assert next(iter(tables(shift))).row_count == len(shift.rows)


@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("repair-")])
def test_studies_of_paper_000_have_settings_that_tell_them_apart(name: str) -> None:
    studies = ALL[name].studies(QUICK)
    asked = {(study.label, str(study.settings), str(study.network)) for study in studies}
    assert len(asked) == len(studies) > 0


def test_points_of_several_seeds_are_means_with_a_standard_deviation_to_both_sides() -> None:
    def finding(y: float) -> StudyFinding:
        return StudyFinding(ATTACK, "run", (), (Point("digits", "NN", 0, 0.1, y, 0.0, 1.0),))

    (one,) = StudyGroup((finding(0.5),)).mean_points()
    assert (one.y, one.low, one.high) == (0.5, 0.0, 1.0)
    (both,) = StudyGroup((finding(0.4), finding(0.6))).mean_points()
    assert both.y == pytest.approx(0.5)
    assert (both.high or 0) - both.y == pytest.approx(0.02**0.5)
    assert both.y - (both.low or 0) == pytest.approx(0.02**0.5)


def test_repeats_of_one_recipe_are_networks_of_their_own_to_train() -> None:
    repeats = (ATTACK, replace(ATTACK, network=replace(NETWORK, repeat=1)), SHIFT)
    asked = Reproduction("repair-fig2", "digits", studies=lambda budget: repeats)
    assert Expected.of(asked, QUICK, published=True).networks == 2
