import pytest
import torch

from calipers.core.errors import InputError
from calipers.core.space import RadiusUnit
from calipers.core.threat import ThreatModel, as_threat


def test_epsilon_without_unit_on_a_normalising_model_is_an_error_that_names_both_units() -> None:
    with pytest.raises(InputError, match=r"0\.5.*unit='pixel'.*unit='normalised'"):
        ThreatModel("linf", 0.03).for_model((0.5,))


def test_units_settle_to_a_scale() -> None:
    assert ThreatModel("linf", 0.03).for_model(None).unit is RadiusUnit.PIXEL
    assert ThreatModel("linf", 0.03, unit="normalised").for_model((0.2, 0.3)).scale == (0.2, 0.3)
    assert ThreatModel("linf", 0.03, unit="pixel").for_model((0.2, 0.3)).scale == (1.0,)


def test_normalised_unit_without_normalisation_is_an_error() -> None:
    with pytest.raises(InputError, match="Normalise"):
        ThreatModel("linf", 0.03, unit="normalised").for_model(None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": "l3", "epsilon": 0.1}, "accepted: linf, l2, l1"),
        ({"norm": "linf", "epsilon": -0.1}, "finite number >= 0"),
        ({"norm": "linf", "epsilon": float("nan")}, "finite number >= 0"),
        ({"norm": "linf", "epsilon": 0.1, "unit": "px"}, "accepted: pixel, normalised"),
        ({"norm": "linf", "epsilon": 0.1, "domain": (1.0, 0.0)}, "low < high"),
    ],
)
def test_nonsense_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ThreatModel(**arguments)


@pytest.mark.parametrize("scale", [(0.0,), (-1.0,), (float("nan"),), ()])
def test_a_scale_is_made_of_positive_numbers(scale) -> None:
    with pytest.raises(InputError, match=r"scale: .* accepted: a finite number > 0 per channel"):
        ThreatModel("linf", 0.1, scale=scale)


def test_a_scale_that_the_unit_contradicts_is_not_dropped() -> None:
    asked = ThreatModel("linf", 0.1, unit="pixel", scale=(0.5,))
    for std in (None, (0.5,)):
        with pytest.raises(InputError, match=r"scale: \(0.5\) was given, and unit 'pixel' of this model means \(1\)"):
            asked.for_model(std)
    same = ThreatModel("linf", 0.1, unit="normalised", scale=(0.5, 0.25))
    assert same.for_model((0.5, 0.25)).scale == (0.5, 0.25)
    assert ThreatModel("linf", 0.1).for_model(None).for_model(None).scale == (1.0,)


def test_sets_need_a_settled_unit_and_matching_channels() -> None:
    with pytest.raises(InputError, match="for_model"):
        ThreatModel("linf", 0.1).around(torch.zeros(1, 1, 2, 2))
    with pytest.raises(InputError, match="2 channels, the images have 3"):
        ThreatModel("linf", 0.1, unit="normalised").for_model((0.1, 0.2)).around(torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize(
    ("text", "norm", "radii", "unit"),
    [
        ("linf 0.1", "linf", (0.1,), None),
        ("L2 0.5, 1 8/255", "l2", (0.5, 1.0, 8 / 255), None),
        ("linf 8/255 Pixel", "linf", (8 / 255,), "pixel"),
    ],
)
def test_a_threat_is_read_as_people_write_it(text, norm, radii, unit) -> None:
    threat = as_threat(text, domain=None)
    assert (threat.norm, threat.epsilons, threat.unit, threat.domain) == (norm, radii, unit, None)


@pytest.mark.parametrize("text", ["", "linf", "0.1", "linf pixel", "l3 0.1", "0.1 linf"])
def test_what_is_no_threat_is_told_what_one_looks_like(text) -> None:
    with pytest.raises(
        InputError, match=f'--measure: {text!r} is no threat; accepted: a norm .* as in "linf 0.1 8/255"'
    ):
        as_threat(text, "--measure")
