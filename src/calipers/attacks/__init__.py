"""Attacks: inputs of a set that break the specification."""

from calipers.attacks.attack import ATTACKS, Attack, run_attack
from calipers.attacks.pgd import FGSM, PGD

__all__ = ["ATTACKS", "Attack", "FGSM", "PGD", "run_attack"]
