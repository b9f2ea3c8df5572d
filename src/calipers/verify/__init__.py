"""Verifiers: proofs that no input of a set breaks the specification."""

from calipers.verify.bound import BoundVerifier
from calipers.verify.verifier import VERIFIERS, Verifier

__all__ = ["VERIFIERS", "BoundVerifier", "Verifier"]
