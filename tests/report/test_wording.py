import pytest

from calipers.core.rates import Rate
from calipers.report.wording import measured, percent, percent_of, radius, seconds, spent


@pytest.mark.parametrize(
    ("share", "text"), [(0.03, "3 %"), (8 / 255, "3.14 %"), (0.0009243, "0.0924 %"), (1.0, "100 %")]
)
def test_sizes_have_three_digits(share: float, text: str) -> None:
    assert percent_of(share) == text


def test_what_was_not_measured_is_not_nothing() -> None:
    assert measured(Rate("certified", 0.1, 0.0, 20, 0.0, 0.16)) == "0.0 %"
    assert measured(None) == measured(Rate("certified", 0.1, float("nan"), 0, 0.0, 1.0)) == "not measured"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.654, "65.4 %"),
        (0.9999, "99.99 %"),
        (0.0001, "0.01 %"),
        (float("nan"), "\u2013"),
    ],
)
def test_only_none_and_all_read_as_none_and_all(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("epsilon", "unit", "text"),
    [(8 / 255, "pixel", "8/255"), (8 / 255, "normalised", "0.0313725"), (0.03, "pixel", "0.03"), (0.2, "pixel", "0.2")],
)
def test_radius(epsilon: float, unit: str, text: str) -> None:
    assert radius(epsilon, unit) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\u2013"),
        (2e-5, "20 \u00b5s"),
        (0.0123, "12.3 ms"),
        (1.5, "1.5 s"),
        (75.0, "1 min 15 s"),
        (7300.0, "2 h 2 min"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("median", "slowest", "text"),
    [
        (None, None, ""),
        (0.033, None, "33 ms"),
        (0.033, 0.9, "33 ms"),
        (0.033, 60.2, "33 ms, up to 1 min 0 s"),
        (12.0, 60.2, "12.0 s"),
    ],
)
def test_a_long_tail_of_times_is_told(median: float | None, slowest: float | None, text: str) -> None:
    assert spent(Rate("verify:complete", 0.03, 0.5, 10, 0.2, 0.8, median, slowest)) == text
