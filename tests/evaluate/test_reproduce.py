"""Reproductions on scikit-learn's digits: what is measured, kept, compared and refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from calipers.attacks import FGSM
from calipers.bounds import CAPM, IBP
from calipers.core.errors import InputError
from calipers.core.tables import Row, to_json
from calipers.evaluate.progress import track
from calipers.evaluate.reproduce import ALL, BUDGETS, Curves, Expected, Laboratory, Reproduction
from calipers.evaluate.reproduce.capm import UNITS
from calipers.evaluate.reproduce.experiment import QUICK, Budget, Experiment
from calipers.evaluate.reproduce.network import Published, Trained
from calipers.models import ZOO
from calipers.report.reproduction import tables
from calipers.report.reproduction_figure import save_figure
from calipers.store.store import Store
from calipers.train import Recipe
from calipers.verify import BoundVerifier

RECIPE = Recipe(model="digits.maxpool", data="digits", epochs=2)


def experiment(network: Published | Trained) -> Experiment:
    return Experiment(
        label="digits",
        network=network,
        data="digits",
        epsilons=(0.01, 0.05),
        unit="pixel",
        domain=(0.0, 1.0),
        attacks=(FGSM(),),
        verifiers=(BoundVerifier(IBP), BoundVerifier(CAPM)),
        samples=12,
        paper={("verify:capm", 0.05): 0.25, ("PRIMA", 0.05): 0.5},
        paper_seconds={("verify:capm", 0.05): 3.0},
    )


def reproduction(*networks: Published | Trained) -> Reproduction:
    def planned(budget: Budget) -> tuple[Experiment, ...]:
        return tuple(experiment(network) for network in networks)

    return Reproduction("capm-fig3", "digits", planned, facts=lambda: (Row("layers", 3.0, 1, "layers", 3.0),))


def laboratory(store: Store, folder: Path, weights: Path | None = None) -> Laboratory:
    return Laboratory(store, folder / "models", weights, None, 0, track, "calipers reproduce digits")


def test_rows_stand_beside_the_paper_and_say_where_they_hold(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        found = laboratory(store, tmp_path).reproduce(reproduction(Trained(RECIPE)), QUICK)
    rows = {(row.name, row.epsilon): row for row in found.rows}
    report = found.findings[0].report
    for name in ("verify:capm", "verify:capm|correct"):
        row = rows[f"digits {name}", 0.05]
        assert (row.paper, row.norm, row.epsilon_unit) == (0.25, "linf", "pixel")
        assert row.measured == report.rate(name, 0.05).measured
        assert row.measured is not None
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.measured <= row.high
        assert rows[f"digits {name}", 0.01].paper is None
    time = rows["digits verify:capm time", 0.05]
    assert (time.paper, time.unit, time.measured) == (3.0, "s/image", report.rate("verify:capm", 0.05).seconds)
    alone = rows["digits PRIMA (paper only)|correct", 0.05]
    assert (alone.measured, alone.paper) == (None, 0.5)
    assert rows["layers", None].measured == 3
    assert json.loads(json.dumps(to_json("c", found.rows, 0)))["rows"][0]["name"] == "layers"


def test_what_is_there_is_used_again(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        once = laboratory(store, tmp_path).reproduce(reproduction(Trained(RECIPE)), QUICK)
        card = next((tmp_path / "models").glob("*.json"))
        written = card.stat().st_mtime_ns
        again = laboratory(store, tmp_path).reproduce(reproduction(Trained(RECIPE)), QUICK)
        assert sorted(run.kind for run in store.runs()) == ["robustness", "training"]
    assert card.stat().st_mtime_ns == written
    assert once.rows == again.rows


def test_without_published_weights_their_rows_are_missing_and_a_warning_says_so(tmp_path: Path) -> None:
    both = reproduction(Published("digits.maxpool", "published.safetensors"), Trained(RECIPE))
    with Store(tmp_path) as store:
        found = laboratory(store, tmp_path).reproduce(both, QUICK)
        assert len(found.findings) == 1
        assert any("published.safetensors" in warning and "--weights" in warning for warning in found.warnings)
        with pytest.raises(InputError, match=r"published\.safetensors"):
            laboratory(store, tmp_path, weights=tmp_path).reproduce(both, QUICK)


def test_tables_and_figures_show_what_was_found(tmp_path: Path) -> None:
    from rich.console import Console

    with Store(tmp_path) as store:
        found = laboratory(store, tmp_path).reproduce(reproduction(Trained(RECIPE)), QUICK)
    console = Console(width=140, record=True)
    for table in tables(found):
        console.print(table)
    text = console.export_text()
    for word in ("digits", "0.05", "capm", "fgsm", "PRIMA", "25 %", "3.0 s"):
        assert word in text
    for number, asked in enumerate((Curves("rate", "share"), Curves("seconds", "s"))):
        with_figure = replace(found, reproduction=replace(found.reproduction, figure=asked))
        drawn = save_figure(store, with_figure, tmp_path / f"{number}.png")
        assert drawn is not None
        assert drawn.read_bytes().startswith(b"\x89PNG")
    assert save_figure(store, found, tmp_path / "none.png") is None


def test_what_is_before_a_reproduction_is_known_before() -> None:
    both = reproduction(Trained(RECIPE), Published("digits.maxpool", "theirs.safetensors"))
    # 12 clean samples, and one attack and two verifiers at two radii.
    assert Expected.of(both, QUICK, published=True) == Expected(1, None, 2 * 12 * 7, 0.0)
    few = Trained(RECIPE.model_copy(update={"samples": 100}))
    told = Expected.of(reproduction(few, few), QUICK, published=False)
    assert (told.networks, told.images, told.measured) == (1, 200, 2 * 12 * 7)
    assert str(told).startswith("1 network to train (200 images in all epochs); 168 samples to measure")
    assert str(Expected.of(ALL["capm-table1"], QUICK, published=False)) == "nothing to train or to measure"


@pytest.mark.parametrize("name", ALL)
def test_quick_searches_leave_time_for_the_rest_of_a_quarter_of_an_hour(name: str) -> None:
    assert Expected.of(ALL[name], QUICK, published=True).searching <= 6 * 60


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("budget", BUDGETS)
def test_every_experiment_of_the_paper_is_well_formed(name: str, budget: str) -> None:
    planned = ALL[name].experiments(BUDGETS[budget])
    # What measures relative perturbations may have both: lines of its table that only the paper has are facts.
    studies = ALL[name].studies(BUDGETS[budget])
    assert bool(planned) != bool(ALL[name].facts() or ALL[name].relatives(BUDGETS[budget]) or studies)
    for study in studies:
        assert isinstance(study.network, Trained)
        assert study.network.recipe.model in ZOO
        assert len(study.parts) == len(set(study.parts)) > 0
        json.dumps(study.settings)
    for one in planned:
        network = one.network
        assert (network.architecture if isinstance(network, Published) else network.recipe.model) in ZOO
        assert {epsilon for _, epsilon in one.paper} <= set(one.epsilons)
        assert len({method.name for method in one.verifiers}) == len(one.verifiers)
    # The CAPM paper's in both units, and everything else the same.
    for unit, domain in UNITS if name.startswith("capm") else ():
        assert sum(one.unit == unit and one.domain == domain for one in planned) * 2 == len(planned)


def test_parameters_are_those_of_the_paper() -> None:
    rows = [row for row in ALL["capm-table1"].facts() if row.unit == "parameters"]
    assert len(rows) == 9
    assert all(row.measured == row.paper for row in rows)
