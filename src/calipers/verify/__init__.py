"""Verifiers: proofs that no input of a set breaks the specification."""

from calipers.verify.bound import BoundVerifier
from calipers.verify.certify import Certifier
from calipers.verify.complete import Complete
from calipers.verify.grade import run_verifier
from calipers.verify.milp import Milp
from calipers.verify.verifier import VERIFIERS, Resources, Selective, Verifier

__all__ = [
    "VERIFIERS",
    "BoundVerifier",
    "Certifier",
    "Complete",
    "Milp",
    "Resources",
    "Selective",
    "Verifier",
    "run_verifier",
]
