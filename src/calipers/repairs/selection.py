"""Features that an attack shifts: the paper's selection of the weights that may change.

Wilcoxon signed-rank test of every feature, clean against adversarial; by default those with p < 0.1 are kept, as in the
paper. Of features that no attack shifts it keeps a tenth by chance; the Benjamini-Hochberg procedure bounds the share
of these among what is kept.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import false_discovery_control, wilcoxon

from calipers.core.errors import InputError


def p_values(
    clean: Float[np.ndarray, "samples features"], adversarial: Float[np.ndarray, "samples features"]
) -> Float[np.ndarray, " features"]:
    """Of the two-sided test, normal approximation; 1 for features that are equal in all pairs.

    Raises InputError for fewer than two pairs or shapes that differ.
    """
    if clean.shape != adversarial.shape or len(clean) < 2:
        raise InputError(
            f"selection: clean features have shape {clean.shape}, adversarial ones {adversarial.shape}; accepted: "
            "pairs, two or more"
        )
    shifted = (clean != adversarial).any(0)
    found = np.ones(clean.shape[1])
    if shifted.any():
        pairs = adversarial[:, shifted] - clean[:, shifted]
        found[shifted] = wilcoxon(pairs, axis=0, method="asymptotic").pvalue
    return found


def selected(
    p: Float[np.ndarray, " features"], level: float = 0.1, *, false_discovery: bool = False
) -> Bool[np.ndarray, " features"]:
    """Which features are kept. level: of p, or with false_discovery of the share of false ones among them.

    Raises InputError for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError(f"selection: level {level:g}; accepted: 0 < level < 1")
    return (false_discovery_control(p) if false_discovery else p) < level
