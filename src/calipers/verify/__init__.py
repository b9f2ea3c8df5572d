"""Verifiers: proofs that no input of a set breaks the specification."""
