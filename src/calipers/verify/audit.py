"""Files of certificates put to the checker, against a model or against a VNN-LIB property."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from calipers.check import Certificate, Claim, DamagedCertificateError, Network, RejectedError
from calipers.check import check as recompute
from calipers.graph.from_onnx import load_onnx_network
from calipers.graph.from_torch import graph_of
from calipers.models.presented import examples, present
from calipers.verify.certify import network_of as checked_network
from calipers.verify.vnnlib import Property
from calipers.verify.vnnlib.reduction import reduce_property


@dataclass(frozen=True)
class AuditEntry:
    """What came of a file, or of a property. reason: what is proven, or why it is not."""

    name: str
    accepted: bool
    reason: str


def audit(files: Sequence[Path], model: nn.Module, advance: Callable[[str, int], None]) -> list[AuditEntry]:
    """Each certificate against the model that its claim speaks of."""

    @cache
    def network(shape: tuple[int, ...]) -> Network:
        zeros = torch.zeros(2, *shape)
        module, _ = present(model, zeros)
        return checked_network(graph_of(module, examples(module, zeros)))

    def network_of(claim: Claim) -> Network:
        if "case" in claim.about:
            raise RejectedError("its claim is about a VNN-LIB property, which was not given: --property FILE")
        return network(claim.center.shape)

    return [finding for finding, _ in _examined(files, network_of, advance)]


def audit_property(
    files: Sequence[Path],
    model: Path,
    asked: Path,
    advance: Callable[[str, int], None],
    output: str | None = None,
) -> list[AuditEntry]:
    """Whether certificates together prove that no input of the property is unsafe; the last finding says so.

    output: which one of the model's, of several.
    """
    wanted = Property.load(asked)
    reductions = reduce_property(load_onnx_network(model, output=output, inputs=wanted.inputs).graph, wanted)
    networks = [checked_network(reduction.graph) for reduction in reductions]
    by_digest = {network.digest: network for network in networks}

    def network_of(claim: Claim) -> Network:
        if claim.network not in by_digest:
            raise RejectedError("it speaks of another network or of another property")
        return by_digest[claim.network]

    examined = _examined(files, network_of, advance)
    proven = [claim for _, claim in examined if claim is not None]
    boxes = [
        (network.digest, case.lower, case.upper)
        for network, reduction in zip(networks, reductions, strict=True)
        for case in reduction.cases
    ]
    covered = sum(any(_encloses(claim, *box) for claim in proven) for box in boxes)
    reason = f"unsat is proven for {covered} of {len(boxes)} cases"
    return [*(finding for finding, _ in examined), AuditEntry(str(asked), covered == len(boxes), reason)]


def _examined(
    files: Sequence[Path], network_of: Callable[[Claim], Network], advance: Callable[[str, int], None]
) -> list[tuple[AuditEntry, Claim | None]]:
    """What came of each file, with its claim if it is accepted."""
    found: list[tuple[AuditEntry, Claim | None]] = []
    for done, file in enumerate(files):
        advance(file.name, done)
        try:
            certificate = Certificate.load(file)
            margin = recompute(certificate, network_of(certificate.claim))
        except (DamagedCertificateError, RejectedError) as error:
            found.append((AuditEntry(str(file), False, str(error)), None))
        else:
            reason = f"{describe(certificate.claim)}, margins >= {margin:.3g}"
            found.append((AuditEntry(str(file), True, reason), certificate.claim))
    advance("done", len(files))
    return found


def describe(claim: Claim) -> str:
    """The claim in words, from its numbers alone."""
    label = _label(claim)
    what = f"{len(claim.d)} rows positive" if label is None else f"class {label}"
    if claim.norm == "box":
        return f"{what} in a box of {claim.center.size} inputs"
    clipped = "" if claim.domain is None else f" in [{claim.domain[0]:g}, {claim.domain[1]:g}]"
    scale = np.unique(claim.scale)
    unit = "" if scale.tolist() == [1.0] else f" times {', '.join(f'{value:.4g}' for value in scale)}"
    return f"{what} in the {claim.norm} ball of radius {claim.radius:g}{unit}{clipped}"


def _label(claim: Claim) -> int | None:
    """The class that wins if the rows are exactly its differences to all others."""
    count = claim.C.shape[1]
    winner = int((claim.C == 1).sum(0).argmax())
    others = [i for i in range(count) if i != winner]
    expected = np.zeros((count - 1, count))
    expected[:, winner] = 1
    expected[np.arange(count - 1), others] = -1
    same = claim.C.shape == expected.shape and np.array_equal(claim.C, expected) and not claim.d.any()
    return winner if same else None


def _encloses(claim: Claim, network: str, lower: np.ndarray, upper: np.ndarray) -> bool:
    """Whether a claim speaks of all clauses, positive, on a box that holds this one."""
    clauses = np.array_equal(claim.C, np.eye(claim.C.shape[1])) and not claim.d.any()
    inside = claim.norm == "box" and claim.center.size == lower.size
    if not (claim.network == network and clauses and inside):
        return False
    return bool((claim.center.ravel() <= lower).all() and (claim.scale.ravel() >= upper).all())
