import math
import re
from dataclasses import replace
from typing import Any

import pytest

from calipers.core.space import InputSpace, RadiusUnit
from calipers.report.nouns import ANYTHING, nouns
from calipers.report.threat import allowed

from .examples import make_task

GREY, COLOUR, ROW = nouns((1, 28, 28)), nouns((3, 32, 32)), nouns((30,))
PIXEL: dict[str, Any] = {"unit": "pixel", "scale": (1.0,), "domain": (0.0, 1.0)}


@pytest.mark.parametrize(
    ("changes", "words", "text"),
    [
        (PIXEL, GREY, "Every pixel may change by up to 3 % of its range and stays between 0 and 1."),
        (
            PIXEL | {"domain": (0.0, 255.0), "epsilons": (8.0,)},
            COLOUR,
            "Every colour value may change by up to 3.14 % of its range and stays between 0 and 255.",
        ),
        (PIXEL | {"epsilons": (0.0,)}, GREY, "Nothing may change."),
        (
            PIXEL | {"epsilons": (8.0,)},
            GREY,
            "Every pixel may take any value of its range and stays between 0 and 1.",
        ),
        (PIXEL | {"domain": None}, ROW, "Every value may change by up to 0.03 and may leave the range of the data."),
        (
            PIXEL | {"domain": None},
            GREY,
            "Every pixel may change by up to 0.03, which is 3 % of the range from 0 to 1 and may leave the range "
            "of the data.",
        ),
        (
            {"scale": (0.2, 0.25, 0.3), "domain": (0.0, 1.0), "epsilons": (0.1,)},
            COLOUR,
            "Every colour value may change by up to 2 to 3 % of its range (by channel) and stays between 0 and 1.",
        ),
        (
            PIXEL | {"norm": "l2", "epsilons": (0.28,)},
            GREY,
            "All changes together may have a Euclidean length of up to 0.28, for example one pixel alone by 28 % of "
            "its range, or all 784 by 1 % of its range each; every pixel stays between 0 and 1.",
        ),
        (
            PIXEL | {"norm": "l1", "epsilons": (3.0,)},
            ROW,
            "The absolute changes of all values may add up to 3, for example one value alone by its whole range, or "
            "all 30 by 10 % of its range each; every value stays between 0 and 1.",
        ),
    ],
)
def test_it_says_what_may_change(changes: dict[str, Any], words: Any, text: str) -> None:
    assert allowed(make_task(**{"epsilons": (0.03,), "samples": 10, **changes}), words) == text


def test_of_several_radii_it_names_the_largest() -> None:
    text = allowed(make_task((0.01, 8 / 255), 10, **PIXEL), GREY)
    assert text.startswith("At the largest radius, 8/255, every pixel may change by up to 3.14 % of its range")


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("scale", [(1.0,), (0.5,)])
def test_its_examples_lie_on_the_sphere(norm: str, scale: tuple[float, ...]) -> None:
    task = make_task((0.6,), 10, **PIXEL | {"norm": norm, "scale": scale, "domain": (0.0, 2.0)})
    alone, each = (2.0 * float(part) / 100 for part in re.findall(r"([\d.]+) % of its range", allowed(task, ROW)))
    power = {"l1": 1, "l2": 2}[norm]
    for changes in ([alone], [each] * 30):
        assert sum((change / scale[0]) ** power for change in changes) ** (1 / power) == pytest.approx(0.6, rel=5e-3)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0-pixels", "l0-values"])
@pytest.mark.parametrize("domain", [None, (0.0, 1.0)])
@pytest.mark.parametrize("words", [ANYTHING, GREY, COLOUR, ROW])
@pytest.mark.parametrize("epsilons", [(), (0.03,), (0.01, 2.0)])
def test_every_run_has_one_sentence(norm: str, domain: Any, words: Any, epsilons: tuple[float, ...]) -> None:
    if norm.startswith("l0"):
        epsilons = ()  # counts have no radii
    text = allowed(
        replace(make_task(epsilons, 10), norm=norm, space=InputSpace(domain, RadiusUnit.NORMALISED, (0.3081,))), words
    )
    assert text[0].isupper()
    assert text.endswith(".")
    assert str(math.inf) not in text
    assert ("stays between 0 and 1" in text) == (domain is not None)


def test_words_follow_the_shape() -> None:
    assert nouns(None) is ANYTHING
    assert nouns((1, 8, 8)).value == nouns((28, 28)).value == "pixel"
    assert nouns((3, 32, 32)).value == "colour value"
    assert nouns((12, 64, 64)).samples == "images"
    for shape in ((30,), (1, 100), (6, 128), (1, 1, 30), (1, 4, 8, 8), ()):
        assert not nouns(shape).pictures
        assert nouns(shape).samples == "samples"
    assert nouns((3, 32, 32)).count == 3072
    assert nouns((5,)).many(1) == "sample"
