"""The published figures of "CAPM: Fast and Robust Verification on Maxpool-based CNN via Dual Network"."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published2:
    """A line of table 2: shares verified of the first 100 test images, then seconds per image."""

    net: str
    training: str
    epsilon: float
    capm: float
    deepz: float
    deeppoly: float
    prima: float
    capm_seconds: float | None = None
    deepz_seconds: float | None = None
    deeppoly_seconds: float | None = None
    prima_seconds: float | None = None


TABLE1 = {
    "capm.convsmall": (3, 89606),
    "capm.convmed": (3, 160070),
    "capm.convbig": (7, 893418),
    "capm.convsmall_cifar10": (3, 125318),
    "capm.convmed_cifar10": (3, 208198),
    "capm.convbig_cifar10": (7, 2466858),
    "capm.conv_s": (3, 9538),
    "capm.conv_m": (4, 19162),
    "capm.conv_l": (4, 568426),
}

TABLE2 = (
    Published2("convSmall", "normal", 0.03, 0.65, 0.00, 0.40, 0.79, 1.14, 3.76, 9.47, 229.8),
    Published2("convSmall", "fast", 0.03, 0.85, 0.02, 0.72, 0.92, 1.17, 4.55, 8.95, 71.28),
    Published2("convSmall", "pgd", 0.03, 0.97, 0.10, 0.91, 0.97, 1.23, 3.68, 6.82, 25.35),
    Published2("convSmall", "pgd", 0.04, 0.84, 0.00, 0.53, 0.85, 1.95, 3.90, 8.19, 149.7),
    Published2("convMed", "normal", 0.01, 0.93, 0.89, 0.95, 0.96, 4.67, 5.94, 10.74, 15.39),
    Published2("convMed", "fast", 0.03, 0.88, 0.49, 0.88, 0.96, 4.24, 5.60, 10.11, 35.16),
    Published2("convMed", "pgd", 0.03, 0.96, 0.82, 0.96, 0.97, 4.72, 4.73, 9.20, 26.98),
    Published2("convMed", "pgd", 0.04, 0.89, 0.15, 0.87, 0.93, 4.56, 5.88, 10.93, 58.77),
    Published2("convBig", "normal", 0.01, 0.73, 0.00, 0.86, 0.86),
)

# Network, training, epsilon, CAPM, alpha-beta-CROWN without branch and bound.
TABLE3 = (
    ("conv_S", "normal", 0.03, 0.66, 0.00),
    ("conv_S", "fast", 0.03, 0.94, 0.33),
    ("conv_S", "pgd", 0.03, 0.95, 0.37),
    ("conv_S", "pgd", 0.04, 0.93, 0.11),
    ("conv_M", "normal", 0.01, 0.97, 0.13),
    ("conv_M", "fast", 0.03, 0.95, 0.13),
    ("conv_M", "pgd", 0.03, 0.96, 0.07),
    ("conv_M", "pgd", 0.04, 0.90, 0.02),
    ("conv_L", "normal", 0.01, 0.95, 0.00),
)

# Section 4 on figure 3, convSmall CIFAR-10 at epsilon 0.0024; the figure's other points are not printed.
FIGURE3 = {"verify:capm": 0.875, "verify:deepz": 0.01, "verify:crown": 0.25, "PRIMA": 0.26}
