import json

import pytest
import torch
from torch import nn

import calipers as cal
from calipers.core.errors import InputError
from calipers.evaluate.robustness.requirement import Requirement, as_requirements

X, Y = torch.rand(8, 4, generator=torch.Generator().manual_seed(0)), [0] * 8


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Class 0 by 0.5 on every image, whatever it is: clean, empirical and certified accuracy are 1 at every radius."""
    net = nn.Linear(4, 2)
    net.weight.data.zero_()
    net.bias.data = torch.tensor([0.5, 0.0])
    return cal.measure(
        net.eval(), (X, Y), cal.ThreatModel("linf", [0.1, "8/255"]), attacks=None, verifiers="ibp",
        require=["certified >= 0.9 @ 0.1", "empirical >= 1 @ 0.1"], out=tmp_path_factory.mktemp("runs"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("certified >= 0.9 @ 0.1", Requirement("certified", 0.9, 0.1)),
        ("Certified>=90%@8/255", Requirement("certified", 0.9, 8 / 255)),
        ("empirical >= 80 % at 0.0313725", Requirement("empirical", 0.8, 8 / 255)),
        ("clean >= 1", Requirement("clean", 1.0, 0.0)),
    ],
)
def test_levels_are_read_and_written(text, expected):
    (found,) = as_requirements(text, (0.1, 8 / 255))
    assert found == expected
    assert as_requirements([str(found)], (0.1, 8 / 255)) == (found,)


def test_the_only_radius_need_not_be_said():
    assert as_requirements("certified >= 0.5", (0.25,)) == (Requirement("certified", 0.5, 0.25),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("certified > 0.9 @ 0.1", "is no requirement; accepted"),
        ("robust >= 0.9 @ 0.1", "is no requirement; accepted"),
        ("certified >= x @ 0.1", "the level: 'x'"),
        ("certified >= 90 @ 0.1", "a level of 90 is above 1"),
        ("certified >= 0.9 @ 0.3", r"epsilon 0.3 is not measured; accepted: a radius of the run \(0.1, 0.2\)"),
        ("certified >= 0.9 @ x", "the radius: 'x'"),
        ("certified >= 0.9", "names no radius, the run has 0.1, 0.2"),
        ("clean >= 0.9 @ 0.1", "clean accuracy has no radius"),
        ("", "is no requirement"),
        (3, "is no requirement"),
        ([3], "is no requirement"),
    ],
)
def test_what_is_no_level_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        as_requirements(text, (0.1, 0.2))


def test_a_report_tells_what_was_reached_and_what_was_not_measured(report):
    reached, unmeasured = report.requirements
    assert (reached.measured, reached.passed) == (1.0, True)
    assert (unmeasured.measured, unmeasured.passed) == (None, False)
    assert "not measured" in str(unmeasured)
    assert report.require("clean >= 1").passed
    assert report.require("certified >= 1 @ 8/255").passed
    assert json.loads(json.dumps(report.to_json()))["requirements"][0] == {
        "rate": "certified", "at_least": 0.9, "epsilon": 0.1, "measured": 1.0, "passed": True
    }  # fmt: skip


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_a_level_passes_iff_the_share_is_at_least_that(share, report):
    wrong = cal.measure(
        nn.Sequential(nn.Linear(4, 2, bias=False)).eval(), (X, [0, 1] * 4), cal.ThreatModel("linf", 0.0), attacks=None,
        verifiers="ibp", out=report.store_path.parent,
    )  # fmt: skip
    assert wrong.require(f"clean >= {share}").passed == (wrong.rate("clean").measured >= share)
