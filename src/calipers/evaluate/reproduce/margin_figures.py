"""The published figures of chapter 3 of Matyasko's thesis (2020): table 3.1 with spreads of 10 runs, and 3.2."""

from collections.abc import Mapping
from dataclasses import dataclass

NONE, DROPOUT, AT, VAT = "no defence", "dropout", "AT", "VAT"
# The thesis names its margins by the norm of the gradient: its l1 is the margin in linf.
LINF, L2 = "linf margin", "l2 margin"


@dataclass(frozen=True)
class Published:
    """A mean and its spread."""

    mean: float
    spread: float


@dataclass(frozen=True)
class Line:
    """A line of the table. error, corrupted: shares of test images, clean and after FGSM. rho: by DeepFool."""

    error: Published
    corrupted: Published
    rho: Published


def _line(error: tuple[float, float], corrupted: tuple[float, float], rho: tuple[float, float]) -> Line:
    """As printed: two in per cent, one in tenths."""
    (e, de), (c, dc), (r, dr) = error, corrupted, rho
    return Line(Published(e / 100, de / 100), Published(c / 100, dc / 100), Published(r / 10, dr / 10))


MLP: Mapping[str, Line] = {
    NONE: _line((1.42, 0.08), (95.8, 1.89), (1.14, 0.01)),
    DROPOUT: _line((1.34, 0.05), (93.4, 2.08), (1.20, 0.01)),
    AT: _line((1.19, 0.06), (10.17, 0.69), (1.60, 0.05)),
    VAT: _line((0.87, 0.04), (24.33, 1.38), (2.69, 0.02)),
    LINF: _line((0.84, 0.03), (32.43, 1.25), (2.73, 0.08)),
    L2: _line((0.86, 0.04), (42.56, 1.37), (2.59, 0.05)),
}
LENET5: Mapping[str, Line] = {
    NONE: _line((0.72, 0.06), (72.14, 2.20), (1.54, 0.04)),
    DROPOUT: _line((0.58, 0.03), (61.66, 3.45), (1.70, 0.05)),
    AT: _line((0.73, 0.05), (4.95, 1.26), (2.00, 0.03)),
    LINF: _line((0.64, 0.02), (20.47, 2.52), (2.22, 0.05)),
    L2: _line((0.62, 0.04), (28.26, 3.49), (2.17, 0.06)),
}


@dataclass(frozen=True)
class WhitenedLine:
    """A line of table 3.2. weight: C, of the squared l2 sensitivity; 0: no margin. augmented: by flips and shifts.

    error, corrupted: shares of test images, clean and after FGSM. rho: by DeepFool. All behind the whitening.
    """

    weight: float
    augmented: bool
    error: float
    corrupted: float
    rho: float

    def label(self, weight: float) -> str:
        """Of its rows, behind the name of the network. weight: C of ours, which may be another."""
        defence = f"l2 margin, C = {weight:g}" if weight else "no defence"
        return f"{defence}{', augmented' * self.augmented}"


# The table prints no spreads.
NIN = (
    WhitenedLine(0.0, False, 0.1130, 0.6885, 0.0512),
    WhitenedLine(0.01, False, 0.1113, 0.5588, 0.0683),
    WhitenedLine(0.001, False, 0.1042, 0.6153, 0.0645),
    WhitenedLine(0.0, True, 0.0910, 0.6598, 0.0541),
    WhitenedLine(0.005, True, 0.1002, 0.5280, 0.0777),
)
