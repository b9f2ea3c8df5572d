"""Named groups of attacks for a norm, from quick to thorough."""

from calipers.attacks.attack import ATTACKS
from calipers.attacks.minimum_norm import MINIMUM_NORM_ATTACKS
from calipers.attacks.monte_carlo import BASELINES
from calipers.core.distances import Distance
from calipers.core.norms import Norm

# strong is every attack of ours but random points, and is worked out from the registries.
GROUPS = {
    "fast": ("fgsm", "pgd", "slide"),
    "standard": ("fgsm", "pgd", "slide", "apgd", "nearest"),
    "strong": (),
}


def expand(names: tuple[str, ...], norm: Norm) -> tuple[str, ...]:
    """The names with groups replaced by those of their attacks that know the norm; each name once."""
    every = tuple(name for name in (*ATTACKS, *MINIMUM_NORM_ATTACKS) if name not in BASELINES)
    found: list[str] = []
    for name in names:
        found += [one for one in GROUPS[name] or every if _knows(one, norm)] if name in GROUPS else [name]
    return tuple(dict.fromkeys(found))


def _knows(name: str, norm: Norm) -> bool:
    if name in ATTACKS:
        return norm in ATTACKS[name].norms
    return Distance(norm) in MINIMUM_NORM_ATTACKS[name](100).distances
