"""A small independent checker of certificates: numpy only, and no code of the rooms whose claims it judges."""

from calipers.check.certificate import Certificate, Claim, DamagedCertificateError, Halving, Leaf, Part
from calipers.check.checker import RejectedError, check, check_part
from calipers.check.enclosure import Split
from calipers.check.network import Network
from calipers.check.planes import Slopes
from calipers.check.tightened import Tightened

__all__ = [
    "Certificate",
    "Claim",
    "DamagedCertificateError",
    "Halving",
    "Leaf",
    "Network",
    "Part",
    "RejectedError",
    "Slopes",
    "Split",
    "Tightened",
    "check",
    "check_part",
]
