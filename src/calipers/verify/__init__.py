"""Verifiers: proofs that no input of a set breaks the specification."""

from typing import TYPE_CHECKING, Any

from calipers.verify.bound import BoundVerifier
from calipers.verify.certify import Certifier
from calipers.verify.complete import Complete
from calipers.verify.grade import run_verifier
from calipers.verify.verifier import VERIFIERS, Limitable, Limits, RestrictedVerifier, Verifier

if TYPE_CHECKING:
    from calipers.verify.milp import Milp as Milp

__all__ = [
    "VERIFIERS",
    "BoundVerifier",
    "Certifier",
    "Complete",
    "Limitable",
    "Milp",
    "Limits",
    "RestrictedVerifier",
    "Verifier",
    "run_verifier",
]


@VERIFIERS.add("milp")
def _milp(limits: Limits) -> Verifier:
    """Milp, imported when it is asked for: its solver and scipy's matrices take a tenth of a second."""
    from calipers.verify.milp import Milp

    return Milp(limits)


def __getattr__(name: str) -> Any:
    if name != "Milp":
        raise AttributeError(f"module 'calipers.verify' has no attribute {name!r}")
    from calipers.verify.milp import Milp

    return Milp
