"""The published figures of chapter 4 of Matyasko's thesis (2020): table 4.1, means of 10 runs without a spread."""

from collections.abc import Mapping
from dataclasses import dataclass

NONE, AT, VAT, MARGIN, CRITIC = "no defence", "AT", "VAT", "margin", "critic"
DEEPFOOL, CARLINI_WAGNER, OWN = "DeepFool", "C&W", "high-confidence"


@dataclass(frozen=True)
class Line:
    """A line of the table. error: share of test images. rho: by attack."""

    error: float
    rho: Mapping[str, float]


def _line(error: float, deepfool: float, carlini_wagner: float, own: float) -> Line:
    return Line(error / 100, {DEEPFOOL: deepfool, CARLINI_WAGNER: carlini_wagner, OWN: own})


MLP: Mapping[str, Line] = {
    NONE: _line(1.46, 0.131, 0.124, 0.173),
    AT: _line(0.90, 0.228, 0.210, 0.299),
    VAT: _line(0.84, 0.244, 0.215, 0.355),
    MARGIN: _line(0.84, 0.262, 0.230, 0.453),
    CRITIC: _line(1.18, 0.290, 0.272, 0.575),
}
LENET5: Mapping[str, Line] = {
    NONE: _line(0.64, 0.157, 0.148, 0.207),
    AT: _line(0.55, 0.215, 0.191, 0.286),
    VAT: _line(0.60, 0.225, 0.195, 0.330),
    MARGIN: _line(0.54, 0.248, 0.225, 0.470),
    CRITIC: _line(0.93, 0.288, 0.278, 0.590),
}
