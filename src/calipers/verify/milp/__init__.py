"""Exact verification by mixed-integer linear programs."""

from calipers.verify.milp.encode import Encoding, encode
from calipers.verify.milp.verifier import Milp

__all__ = ["Encoding", "Milp", "encode"]
