from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from calipers.core.errors import InputError
from calipers.core.radius import as_radii, as_radius
from calipers.core.threat import ThreatModel


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_a_fraction_is_the_nearest_number(above: int, below: int) -> None:
    assert as_radius(f"{above}/{below}") == float(Fraction(above, below)) == above / below


@given(st.floats(0, 1e6))
def test_a_number_is_the_same_as_number_as_text_and_as_numpy_scalar(value: float) -> None:
    assert as_radius(value) == as_radius(repr(value)) == as_radius(np.float64(value)) == value


def test_decimals_may_stand_above_and_below_and_blanks_anywhere() -> None:
    assert as_radius(" 0.5 / 255 ") == 0.5 / 255
    assert as_radius("1e-2/0.5") == 0.02


PAIR = (0.5, 0.25)
NO_RADII: tuple[object, ...] = ("abc", "", "1/0", "1/2/3", "nan", "1e999", None, True, -1, float("inf"), {}, object())


@pytest.mark.parametrize("several", [[0.5, "1/4"], PAIR, np.array(PAIR), torch.tensor(PAIR), "0.5,1/4"])
def test_several_in_any_container(several: object) -> None:
    assert as_radii(several) == (0.5, 0.25)
    assert as_radii(0.5) == as_radii(torch.tensor(0.5)) == (0.5,)


@pytest.mark.parametrize("value", NO_RADII)
def test_what_is_no_radius_is_named_with_what_would_be_one(value: object) -> None:
    with pytest.raises(InputError, match=r"mine: .*accepted: .*8/255"):
        as_radius(value, "mine")


@pytest.mark.parametrize("nothing", [[], "", ()])
def test_none_at_all_is_refused(nothing: object) -> None:
    with pytest.raises(InputError, match="one or more"):
        as_radii(nothing)


def test_a_threat_takes_several_and_shows_itself_as_python() -> None:
    threat = ThreatModel("LINF", ["2/255", "8/255"], [0, 1], "pixel")
    assert threat.epsilons == (2 / 255, 8 / 255)
    assert threat.epsilon == 8 / 255
    assert eval(repr(threat)) == threat
    assert threat.at(0.5).epsilons == (0.5,)
    assert eval(repr(threat.for_model((0.2,)))) == threat.for_model((0.2,))


@pytest.mark.parametrize("domain", [1, "0,1", (1,), (0, 1, 2), (1, 0), (0, float("inf")), ("a", "b")])
def test_what_is_no_domain_is_refused(domain: object) -> None:
    with pytest.raises(InputError, match=r"domain: .*accepted"):
        ThreatModel("linf", 0.1, domain)
