"""Attacks: inputs of a set that break the specification, and the nearest inputs that do."""

from calipers.attacks import adapters as _adapters  # noqa: F401  so that the libraries are known
from calipers.attacks.apgd import APGD
from calipers.attacks.attack import ATTACKS, Attack, attack_named, run_attack
from calipers.attacks.daa import DAA
from calipers.attacks.ddn import DDN
from calipers.attacks.deepfool import DeepFool
from calipers.attacks.feature import FeatureAdversary
from calipers.attacks.fmn import FMN
from calipers.attacks.geoda import GeoDA
from calipers.attacks.gradient_estimation import EstimatedPGD
from calipers.attacks.high_confidence import HighConfidence
from calipers.attacks.jsma import JSMA
from calipers.attacks.lbfgs import LBFGS
from calipers.attacks.mi_fgsm import MIFGSM
from calipers.attacks.minimum_norm import (
    MINIMUM_NORM_ATTACKS,
    MinimumNormAttack,
    at_epsilon,
    minimum_norm_attack_named,
    run_minimum_norm,
)
from calipers.attacks.monte_carlo import MonteCarlo
from calipers.attacks.nearest import Nearest
from calipers.attacks.one_pixel import OnePixel
from calipers.attacks.pdpgd import PDGD, PDPGD
from calipers.attacks.pgd import FGSM, PGD
from calipers.attacks.slide import SLIDE
from calipers.attacks.sparsefool import SparseFool
from calipers.attacks.transfer import Transfer

__all__ = [
    "APGD",
    "ATTACKS",
    "DAA",
    "DDN",
    "EstimatedPGD",
    "FGSM",
    "FeatureAdversary",
    "FMN",
    "GeoDA",
    "HighConfidence",
    "LBFGS",
    "JSMA",
    "MIFGSM",
    "MINIMUM_NORM_ATTACKS",
    "MonteCarlo",
    "PDGD",
    "PDPGD",
    "PGD",
    "SLIDE",
    "Attack",
    "DeepFool",
    "MinimumNormAttack",
    "Nearest",
    "Transfer",
    "OnePixel",
    "SparseFool",
    "at_epsilon",
    "attack_named",
    "minimum_norm_attack_named",
    "run_attack",
    "run_minimum_norm",
]
