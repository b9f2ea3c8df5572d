from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calipers.core.errors import InputError
from calipers.core.tasks import Done
from calipers.evaluate.robustness.records import SampleCodec
from calipers.evaluate.robustness.summary import RobustnessReport, RobustnessSummary
from calipers.report.load import load_report
from calipers.store.store import Store

from .examples import make_gallery


def kept(store: Store, report: RobustnessReport, status: str = "complete") -> str:
    """Keep a report and its gallery the way a finished run does."""
    run_id = store.create_run(report.task, report.command).run_id
    items = make_gallery(report, count=4)
    store.add_unit(
        run_id, "clean-0", Done(arrays={"image": np.stack([item.original for item in items])}), SampleCodec()
    )
    store.add_unit(
        run_id, "pgd-0", Done(arrays={"adversarial": np.stack([item.adversarial for item in items])}), SampleCodec()
    )
    keys = ("sample_id", "label", "prediction", "distance", "epsilon", "method")
    places = [{"unit": "pgd-0", "row": i, "image_unit": "clean-0", "image_row": i} for i in range(len(items))]
    gallery = [
        {**{key: getattr(item, key) for key in keys}, **place} for item, place in zip(items, places, strict=True)
    ]
    summary = RobustnessSummary(report.rates, report.per_class, report.brackets, report.warnings)
    store.set_metric(run_id, "report", summary.to_dict())
    store.set_metric(run_id, "gallery", gallery)
    store.set_status(run_id, status, report.seconds)
    return run_id


def test_what_was_kept_is_shown(five_epsilons: RobustnessReport, tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run_id = kept(store, five_epsilons)
        report = load_report(store, "latest")
    assert report.numbers == replace(five_epsilons, run_id=run_id, created=report.numbers.created)
    assert report.store_path == store.path
    for item, expected in zip(report.gallery, make_gallery(five_epsilons, count=4), strict=True):
        assert item.sample_id == expected.sample_id
        np.testing.assert_allclose(item.adversarial, expected.adversarial)
        np.testing.assert_allclose(item.original, expected.original)


def test_the_store_knows_the_status(one_epsilon: RobustnessReport, tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run_id = kept(store, one_epsilon, status="interrupted")
        assert "status: interrupted" in str(load_report(store, run_id))


def test_a_run_without_numbers_says_what_to_do(one_epsilon: RobustnessReport, tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run_id = store.create_run(one_epsilon.task, "calipers measure").run_id
        with pytest.raises(InputError, match=r"no numbers yet \(status: running\).*--resume"):
            load_report(store, run_id)
