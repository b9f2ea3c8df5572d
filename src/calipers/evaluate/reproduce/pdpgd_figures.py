"""The published figures of chapter 5 of Matyasko's thesis (2020), as far as its text can be read.

Tables 5.2, 5.4 and 5.6 are pictures, and some columns of the others are lost: what cannot be assigned for certain is
left out. Columns are told apart by restarts never making an attack weaker, and by what the text says of them.
"""

from collections.abc import Mapping, Sequence

from calipers.core.distances import Distance

PLAIN, LINF_AT, L2_AT = "plain", "linf-AT", "l2-AT"
TRAININGS = (PLAIN, LINF_AT, L2_AT)
LINF, L2, L1, L0 = Distance.LINF, Distance.L2, Distance.L1, Distance.L0_PIXELS
NORMS = (LINF, L2, L1, L0)

# The radii of tables 5.2 to 5.4 and 5.6 to 5.8, after Croce & Hein (2020). Where only the first and the last are known
# the others lie evenly between; those in l0 on the MNIST network trained against linf are those of the plain one.
THRESHOLDS: Mapping[tuple[str, str], Mapping[Distance, tuple[float, ...]]] = {
    ("mnist", PLAIN): {
        LINF: (0.03, 0.05, 0.07, 0.09, 0.11),
        L2: (0.5, 1.0, 1.5, 2.0, 2.5),
        L1: (2.0, 4.0, 6.0, 8.0, 10.0),
        L0: (1.0, 3.0, 5.0, 8.0, 12.0),
    },
    ("mnist", LINF_AT): {
        LINF: (0.2, 0.25, 0.3, 0.325, 0.35),
        L2: (1.0, 1.5, 2.0, 2.5, 3.0),
        L1: (2.5, 5.0, 7.5, 10.0, 12.5),
        L0: (1.0, 3.0, 5.0, 8.0, 12.0),
    },
    ("mnist", L2_AT): {
        LINF: (0.05, 0.1, 0.15, 0.2, 0.25),
        L2: (1.0, 1.5, 2.0, 2.5, 3.0),
        L1: (5.0, 8.75, 12.5, 16.25, 20.0),
        L0: (5.0, 10.0, 15.0, 20.0, 25.0),
    },
    ("cifar10", PLAIN): {
        LINF: (1 / 255, 1.5 / 255, 2 / 255, 2.5 / 255, 3 / 255),
        L2: (0.1, 0.15, 0.2, 0.3, 0.4),
        L1: (2.0, 4.0, 6.0, 8.0, 10.0),
        L0: (1.0, 3.0, 5.0, 8.0, 12.0),
    },
    ("cifar10", LINF_AT): {
        LINF: (2 / 255, 4 / 255, 6 / 255, 8 / 255, 10 / 255),
        L2: (0.25, 0.5, 0.75, 1.0, 1.25),
        L1: (5.0, 8.75, 12.5, 16.25, 20.0),
        L0: (1.0, 3.0, 5.0, 8.0, 12.0),
    },
    ("cifar10", L2_AT): {
        LINF: (2 / 255, 4 / 255, 6 / 255, 8 / 255, 10 / 255),
        L2: (0.25, 0.5, 0.75, 1.0, 1.25),
        L1: (3.0, 6.0, 9.0, 12.0, 15.0),
        L0: (1.0, 3.0, 5.0, 10.0, 15.0),
    },
}

# Tables 5.1 and 5.5, mean distances: per norm the columns, then a line per training.
_MEANS: Mapping[str, Mapping[Distance, tuple[tuple[str, ...], float, Mapping[str, Sequence[float]]]]] = {
    "mnist": {
        LINF: (
            ("DF", "B&B", "FAB-1", "PDPGD-1"),
            0.1,
            {PLAIN: (0.82, 0.68, 0.66, 0.63), LINF_AT: (5.28, 3.31, 3.26, 3.15), L2_AT: (2.59, 1.80, 1.70, 1.66)},
        ),
        L2: (
            ("DF", "C&W", "DDN", "B&B"),
            1.0,
            {PLAIN: (1.13, 1.01, 1.00, 1.03), LINF_AT: (4.84, 2.08, 1.84, 1.47), L2_AT: (3.08, 2.35, 2.31, 2.42)},
        ),
        L1: (
            ("SparseFool", "EAD", "B&B"),
            1.0,
            {PLAIN: (8.70, 6.36, 7.19), LINF_AT: (200.56, 7.85, 13.96), L2_AT: (16.46, 12.19, 15.22)},
        ),
        L0: (("JSMA", "PDPGD-1"), 1.0, {PLAIN: (13.75, 8.36), LINF_AT: (59.26, 4.07), L2_AT: (26.57, 13.59)}),
    },
    "cifar10": {
        LINF: (
            ("DF", "B&B", "FAB-1", "PDPGD-1"),
            0.01,
            {PLAIN: (0.75, 0.58, 0.57, 0.54), LINF_AT: (2.98, 2.59, 2.37, 2.32), L2_AT: (2.42, 2.1, 1.94, 1.89)},
        ),
        L2: (
            ("DF", "C&W", "DDN"),
            0.1,
            {PLAIN: (2.66, 2.13, 2.12), LINF_AT: (9.08, 7.28, 7.66), L2_AT: (8.96, 7.12, 7.49)},
        ),
        L1: (
            ("SparseFool", "EAD", "B&B"),
            1.0,
            {PLAIN: (6.72, 3.00, 3.79), LINF_AT: (10.54, 5.75, 7.38), L2_AT: (13.76, 7.96, 10.05)},
        ),
        L0: (
            ("JSMA", "B&B", "PDPGD-1"),
            1.0,
            {PLAIN: (18.37, 9.80, 3.37), LINF_AT: (25.03, 11.02, 4.73), L2_AT: (26.14, 11.58, 5.64)},
        ),
    },
}

_PGD = ("PGD-1", "PGD-10", "PGD-100")
_FAB = ("FAB-1", "FAB-10", "FAB-100")
_LINF = ("DF", "B&B", "DAA-1", "DAA-50", *_PGD, *_FAB, "PDPGD-1")
_L2 = ("DF", "C&W", "DDN", "B&B", *_PGD, *_FAB, "PDGD-1")
_L1 = ("SparseFool", "EAD", "B&B", *_PGD, *_FAB, "PDPGD-1", "PDPGD-10", "PDPGD-100")
_L0 = ("JSMA", "Pixel", "B&B", "PDPGD-1", "PDPGD-10", "PDPGD-100")

# Tables 5.3, 5.7 and 5.8, robust accuracy in percent of all images: per norm the columns, then a line per threshold.
_RATES: Mapping[tuple[str, str], Mapping[Distance, tuple[tuple[str, ...], Sequence[Sequence[float]]]]] = {
    ("mnist", LINF_AT): {
        LINF: (
            _LINF,
            (
                (95.2, 95.0, 94.1, 93.7, 94.8, 94.2, 93.8, 94.7, 94.2, 94.1, 94.5),
                (94.7, 93.6, 92.4, 91.2, 93.2, 91.8, 91.4, 93.3, 91.9, 91.6, 92.8),
                (93.9, 91.2, 88.8, 87.3, 91.6, 88.9, 87.9, 91.4, 89.6, 88.6, 89.1),
                (91.9, 73.3, 67.3, 60.5, 79.1, 71.9, 66.9, 86.3, 83.4, 80.9, 65.6),
                (89.6, 29.8, 15.4, 9.4, 34.6, 20.8, 14.9, 49.7, 31.5, 23.5, 16.2),
            ),
        ),
        L2: (
            _L2,
            (
                (94.3, 87.9, 87.7, 79.7, 91.6, 89.9, 89.0, 82.9, 71.7, 64.5, 76.2),
                (93.3, 73.7, 69.2, 44.3, 86.9, 81.3, 76.9, 45.1, 20.7, 11.8, 31.7),
                (92.1, 53.9, 41.9, 16.1, 78.9, 69.0, 58.7, 14.4, 1.8, 0.8, 4.9),
                (90.0, 32.1, 15.4, 4.1, 67.7, 47.2, 31.1, 2.6, 0.1, 0.0, 0.2),
                (87.5, 13.7, 4.1, 0.8, 49.4, 23.4, 10.5, 1.0, 0.0, 0.0, 0.0),
            ),
        ),
        L1: (
            _L1,
            (
                (94.4, 91.8, 89.1, 93.7, 93.4, 93.0, 84.1, 74.2, 58.1, 65.7, 45.6, 38.1),
                (92.7, 72.3, 76.0, 88.4, 86.3, 83.6, 60.4, 46.5, 18.9, 17.0, 5.6, 3.4),
                (92.3, 45.7, 61.1, 82.5, 76.6, 72.2, 42.9, 32.5, 5.6, 4.4, 0.4, 0.1),
                (91.8, 23.9, 48.1, 78.3, 68.1, 61.1, 31.8, 25.4, 2.0, 1.0, 0.0, 0.0),
                (91.4, 12.4, 39.2, 71.9, 57.9, 45.3, 24.0, 20.1, 0.7, 0.0, 0.0, 0.0),
            ),
        ),
    },
    ("cifar10", LINF_AT): {
        LINF: (
            ("DF", "B&B", "DAA-1", "DAA-50", "PGD-1", "PGD-10"),
            (
                (66.9, 66.2, 66.4, 66.1, 65.5, 65.5),
                (53.2, 50.2, 60.9, 58.5, 49.7, 49.1),
                (43.3, 36.9, 58.4, 54.9, 37.4, 36.5),
                (33.4, 27.0, 56.5, 52.3, 29.1, 28.2),
                (25.2, 18.3, 54.6, 50.1, 22.9, 21.4),
            ),
        ),
        L2: (
            ("DF", "C&W", "DDN", "B&B", "PGD-1", "PGD-10"),
            (
                (67.4, 65.5, 64.9, 66.3, 64.7, 64.7),
                (53.7, 49.1, 49.4, 52.1, 49.8, 49.2),
                (42.8, 33.7, 34.4, 38.5, 38.7, 37.9),
                (32.8, 22.1, 23.9, 27.9, 34.5, 33.4),
                (24.4, 11.7, 15.0, 18.8, 33.5, 32.2),
            ),
        ),
        L1: (
            _L1,
            (
                (53.4, 36.5, 43.9, 46.8, 44.8, 43.3, 43.4, 40.4, 38.9, 39.6, 35.2, 33.1),
                (38.2, 18.6, 27.1, 31.0, 28.5, 27.3, 25.9, 22.5, 20.5, 21.4, 16.8, 14.5),
                (27.3, 7.4, 15.3, 22.2, 19.4, 17.2, 14.1, 10.6, 9.1, 8.5, 6.3, 5.7),
                (19.2, 2.8, 7.6, 16.3, 13.2, 12.6, 7.2, 4.2, 3.7, 4.0, 2.3, 1.9),
                (12.7, 0.9, 4.3, 13.2, 11.4, 10.4, 4.1, 1.8, 1.6, 1.3, 0.5, 0.4),
            ),
        ),
        L0: (
            _L0,
            (
                (80.3, 68.6, 76.6, 73.5, 69.2, 66.0),
                (75.3, 49.5, 65.8, 56.2, 45.9, 40.9),
                (68.7, 46.9, 52.8, 44.1, 32.5, 24.6),
                (60.1, 46.0, 40.5, 29.3, 16.9, 11.8),
                (51.6, 46.7, 28.2, 14.9, 7.0, 4.4),
            ),
        ),
    },
    ("cifar10", L2_AT): {
        LINF: (
            ("DF", "B&B", "DAA-1", "DAA-50", "PGD-1", "PGD-10"),
            (
                (64.2, 63.5, 65.7, 64.7, 62.6, 62.4),
                (49.2, 46.3, 62.6, 60.6, 45.1, 44.8),
                (36.9, 29.4, 60.2, 56.6, 32.1, 30.8),
                (26.5, 17.7, 57.6, 53.5, 23.9, 22.5),
                (19.2, 10.5, 55.4, 51.2, 18.3, 16.4),
            ),
        ),
        L2: (
            ("DF", "C&W", "DDN", "B&B", *_PGD),
            (
                (66.6, 65.8, 65.3, 66.8, 65.4, 65.4, 65.3),
                (54.5, 49.1, 49.2, 51.6, 50.1, 49.7, 49.6),
                (42.2, 33.0, 33.1, 36.6, 38.2, 37.7, 37.1),
                (30.3, 20.1, 22.6, 25.4, 35.2, 33.8, 32.4),
                (22.5, 11.0, 14.4, 17.1, 33.4, 31.9, 30.8),
            ),
        ),
    },
}


def paper_means(data: str, training: str, distance: Distance) -> dict[str, float]:
    """Mean distances by method, as tables 5.1 and 5.5 print them."""
    columns, unit, lines = _MEANS[data][distance]
    return {f"attack:{column}": value * unit for column, value in zip(columns, lines[training], strict=True)}


def paper_rates(data: str, training: str, distance: Distance) -> dict[tuple[str, float], float]:
    """Robust accuracy by method and radius, as a fraction of all images; empty where it cannot be read."""
    columns, lines = _RATES.get((data, training), {}).get(distance, ((), ()))
    radii = THRESHOLDS[data, training][distance]
    return {
        (f"attack:{column}", radius): value / 100
        for radius, line in zip(radii, lines, strict=False)
        for column, value in zip(columns, line, strict=True)
    }
