"""A comparison says of every model what a measurement of it alone says; leads are tested sample by sample."""

import json
from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import calipers
from calipers.core.errors import InputError
from calipers.core.threat import ThreatModel
from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.evaluate.comparison.names import distinct, made
from calipers.evaluate.comparison.standings import comparison_of, leads, mcnemar
from calipers.evaluate.comparison.task import KIND
from calipers.models.card import save_model
from calipers.models.zoo import ZOO
from calipers.report.comparison_curve import curves, distance_chart
from calipers.report.views import view_of
from calipers.store.store import Store

MODELS = ["digits.small", "digits.robust"]
THREAT = ThreatModel("linf", (0.02, 0.1))
QUICK: dict[str, Any] = {"attacks": ("fgsm", "deepfool-linf"), "verifiers": "ibp", "propagations": 20}


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    return load_dataset("digits", "test", 8)


@pytest.fixture(scope="module")
def folder(data: ImageDataset, tmp_path_factory) -> Path:
    """A store with one comparison, and nothing else."""
    out = tmp_path_factory.mktemp("compared")
    calipers.compare(MODELS, data, THREAT, out=out, **QUICK)
    return out


def test_every_number_is_that_of_a_measurement_of_the_model_alone(data, folder: Path, tmp_path: Path) -> None:
    with Store(folder) as store:
        found = comparison_of(store, store.runs()[-1].run_id)
    assert [one.name for one in found.standings] == MODELS
    for one in found.standings:
        alone = calipers.measure(one.name, data, ThreatModel("linf", (0.02, 0.1), unit="pixel"), out=tmp_path, **QUICK)
        assert one.report.task == alone.numbers.task
        assert [(r.name, r.measured, r.low, r.n) for r in one.report.rates] == [
            (r.name, r.measured, r.low, r.n) for r in alone.numbers.rates
        ]
        for epsilon in found.epsilons:
            for name in ("empirical", "certified"):
                rate = one.rate(name, epsilon)
                assert rate is not None
                assert rate.measured == sum(one.holds(name, epsilon).values()) / 8
            strongest = alone.rate(f"attack:{one.strongest(epsilon)}", epsilon).measured
            assert strongest == min(r.measured for r in alone.numbers.rates if r.name.startswith("attack:")
                                    and r.epsilon == epsilon and "|" not in r.name)  # fmt: skip
        assert one.nearest is not None
        assert one.nearest.attack == "deepfool-linf"
        assert min(one.attacking or 0, one.proving or 0) > 0


def test_curves_count_the_samples_without_a_nearer_example(folder: Path) -> None:
    with Store(folder) as store:
        found = comparison_of(store, store.runs()[-1].run_id)
        page = view_of(store, found.run_id).html()
    for one, curve in zip(found.standings, curves(found), strict=True):
        assert curve.name == one.name
        assert one.nearest is not None
        assert curve.places[0] == 0
        assert list(curve.heights) == sorted(curve.heights, reverse=True)
        for place, height in zip(curve.places, curve.heights, strict=True):
            # Of 8 samples; the wrong ones have no distance.
            assert height == pytest.approx(sum(distance > place for distance in one.nearest.distances) / 8)
        for epsilon in found.epsilons:
            empirical = one.rate("empirical", epsilon)
            assert empirical is not None  # of all attacks, this one included
            assert empirical.measured <= min(
                h for p, h in zip(curve.places, curve.heights, strict=True) if p <= epsilon
            )
    assert 'id="distances"' in page
    chart = distance_chart(found)
    assert chart is not None
    assert all(f"{one.name} {100 * one.heights[0]:.1f}" in chart.alt for one in curves(found))


def test_without_minimum_norm_attacks_there_is_no_curve(data, tmp_path: Path) -> None:
    run = calipers.compare(MODELS, data, THREAT, out=tmp_path, **{**QUICK, "attacks": "fgsm"})
    with Store(tmp_path) as store:
        found = comparison_of(store, run.run_id)
        assert 'id="distances"' not in view_of(store, run.run_id).html()
    assert curves(found) == []
    assert distance_chart(found) is None


def test_what_was_measured_is_not_measured_again_on_resume(data, folder: Path) -> None:
    with Store(folder) as store:
        before = [run.run_id for run in store.runs()]
    assert len(before) == 3
    same = calipers.compare(MODELS, data, THREAT, out=folder, resume=True, **QUICK)
    assert same.run_id in before
    other = calipers.compare([*MODELS, "digits.maxpool"], data, THREAT, out=folder, resume=True, **QUICK)
    with Store(folder) as store:
        after = [run.run_id for run in store.runs()]
        assert len(after) == len(before) + 2  # the comparison, and the third model
        kept = {one.report.run_id for one in comparison_of(store, other.run_id).standings}
    assert len(kept & set(before)) == 2


def test_the_page_and_the_rows_name_models_and_numbers(folder: Path) -> None:
    with Store(folder) as store:
        run = store.runs()[-1]
        view = view_of(store, run.run_id)
        assert view_of(store, run.run_id).html() == view.html()
    page = view.html()
    for text in (*MODELS, "McNemar", "From proven to broken", "Not finished"):
        assert (text in page) == (text != "Not finished")
    rows = json.loads(json.dumps(view.rows))["rows"]
    assert {row["model"] for row in rows} == set(MODELS)
    needed = {"clean", "empirical", "certified", "undecided", "attack:deepfool-linf median|correct", "attacks time"}
    for model in MODELS:
        assert needed <= {row["name"] for row in rows if row["model"] == model}
    assert all(row["low"] <= row["measured"] <= row["high"] for row in rows if row["unit"] == "fraction")
    assert all(row["n"] == 8 for row in rows if row["name"] == "empirical")


def test_a_comparison_that_was_stopped_shows_what_there_is_and_goes_on(data, tmp_path: Path, monkeypatch) -> None:
    from calipers.evaluate.comparison import compare as room

    whole, calls = room.measure, []

    def stopped(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    quick: dict[str, Any] = {"attacks": "fgsm", "verifiers": None, "out": tmp_path}
    monkeypatch.setattr(room, "measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        calipers.compare(MODELS, data, THREAT, **quick)
    with Store(tmp_path) as store:
        run = store.run("latest", KIND)
        assert run.status == "interrupted"
        page = view_of(store, run.run_id).html()
    assert "1 of 2 models are measured" in page
    view = calipers.compare(MODELS, data, THREAT, resume=True, **quick)
    assert view.run_id == run.run_id
    assert "Not finished" not in view.html()
    assert len(calls) == 3
    assert "not measured" in view.html()  # no verifier ran


def test_models_that_are_no_two_are_errors(data, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 model was given; accepted: two or more"):
        calipers.compare(MODELS[:1], data, THREAT, out=tmp_path, **QUICK)
    net = tmp_path / "net.json"
    small = calipers.load_model("digits.small").module
    save_model(small, net, architecture="digits.small", recipe={}, seed=0, data_digest="", metrics={})
    with pytest.raises(InputError, match=r"digits.small and net are the same network"):
        calipers.compare(["digits.small", net], data, THREAT, out=tmp_path, **QUICK)
    with pytest.raises(InputError, match="certify: belongs to `measure`"):
        calipers.compare(MODELS, data, THREAT, out=tmp_path, certify=True)


def test_names_are_short_and_distinct(tmp_path: Path) -> None:
    assert distinct(["a/net.json", "b/other.json", "digits.small", "c/x.onnx"]) == [
        "net", "other", "digits.small", "x.onnx"
    ]  # fmt: skip
    assert distinct(["a/net.json", "b/net.json"]) == ["a/net.json", "b/net.json"]
    recipe = {"objective": "pgd", "adversary": {"norm": "linf", "epsilon": 0.1}, "epochs": 3}
    net = ZOO["digits.small"].build()
    for name, given_, said in (("a", recipe, "pgd, linf 0.1, 3 epochs"), ("b", {}, "")):
        path = tmp_path / f"{name}.json"
        save_model(net, path, architecture="digits.small", recipe=given_, seed=0, data_digest="", metrics={})
        assert made(path) == said
    assert made("digits.small") == ""


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_chance_of_a_lead_is_that_of_as_uneven_a_split_of_fair_coins(one: int, two: int) -> None:
    n, most = one + two, max(one, two)
    tail = sum(comb(n, k) for k in range(most, n + 1)) / 2**n
    assert mcnemar(one, two) == pytest.approx(min(1.0, 2 * tail))


def test_a_lead_counts_the_samples_on_which_two_models_differ(folder: Path) -> None:
    with Store(folder) as store:
        found = comparison_of(store, store.runs()[-1].run_id)
    for lead in leads(found):
        by_name = {one.name: one for one in found.standings}
        first, second = (by_name[name].holds(lead.rate, lead.epsilon) for name in (lead.first, lead.second))
        assert sum(first.values()) - sum(second.values()) == lead.only_first - lead.only_second >= 0
