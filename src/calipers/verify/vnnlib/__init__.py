"""VNN-LIB: properties of ONNX networks as files, and the answers that VNN-COMP expects."""

from calipers.verify.vnnlib.decide import Answer, SatOutcome, Unsafe, decide, decide_with_evidence
from calipers.verify.vnnlib.instances import Instance, Score, load_instances, score
from calipers.verify.vnnlib.property import Property

__all__ = [
    "Answer",
    "Instance",
    "SatOutcome",
    "Property",
    "Score",
    "Unsafe",
    "decide",
    "decide_with_evidence",
    "load_instances",
    "score",
]
