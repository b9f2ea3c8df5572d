"""Attacks: inputs of a set that break the specification."""

from calipers.attacks.attack import ATTACKS, Attack, run_attack
from calipers.attacks.monte_carlo import MonteCarlo
from calipers.attacks.pgd import FGSM, PGD

__all__ = ["ATTACKS", "FGSM", "PGD", "Attack", "MonteCarlo", "run_attack"]
