"""Repair of a VNN-LIB property of an ONNX network, from files to files."""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest

from calipers.core.digests import digest_module
from calipers.core.errors import CalipersError, InputError
from calipers.core.tables import Row
from calipers.core.tracker import Silent, Tracker
from calipers.evaluate.repair.apply import save_onnx
from calipers.graph.from_onnx import load_onnx_network
from calipers.graph.graph import GraphModule
from calipers.models.card import current_versions
from calipers.repairs.layers import chosen_layer, cut_at
from calipers.repairs.patch import Patch, PatchCard, delta_of, patched
from calipers.repairs.properties import PropertySettings, Verdicted, agreement, repair_property
from calipers.verify import Limits
from calipers.verify.vnnlib import Property, SatOutcome, decide
from calipers.verify.vnnlib.certify import certify

# Random inputs on which two networks are compared.
COMPARED = 100_000


@dataclass(frozen=True)
class PropertyFiles:
    """network, property_: what is repaired. patch: card to write; the repaired network and the certificate go beside
    it, with the endings .onnx and .npz.
    """

    network: Path
    property_: Path
    patch: Path

    @property
    def repaired(self) -> Path:
        return self.patch.with_suffix(".onnx")

    @property
    def certificate(self) -> Path:
        return self.patch.with_suffix(".npz")


@dataclass(frozen=True)
class PropertyRepaired:
    """outcome: of the decision on the repaired file. agreement: shares of random inputs of the domain on which the
    least, and the largest, output is the same one as before. numbers: all of it, JSON-ready.
    """

    outcome: SatOutcome
    agreement: dict[str, float]
    numbers: dict[str, Any]

    def rows(self) -> list[Row]:
        """In the project's shape."""
        found = []
        for which, share in self.agreement.items():
            interval = binomtest(round(share * COMPARED), COMPARED).proportion_ci(0.95, method="wilson")
            bounds = float(interval.low), float(interval.high)
            found.append(Row(f"agreement:{which}", share, COMPARED, "fraction", None, *bounds))
        proven = float(self.outcome is SatOutcome.UNSAT)
        found.append(Row("proven", proven, 1, "fraction"))
        found.append(Row("repair time", self.numbers["seconds"], 1, "s"))
        return found


def repair_property_files(
    files: PropertyFiles,
    layer: str | None,
    domain: tuple[float, float] | None,
    settings: PropertySettings,
    limits: Limits,
    tracker: Tracker | None = None,
) -> PropertyRepaired:
    """Repair, write the repaired network, decide the property of that file, and write certificates and the patch.

    domain: of every input, where the network shall stay as it was; None: from the least to the largest bound of any
    input of the property. limits.timeout: of one decision. Raises InputError for an inner layer and for files that
    would be overwritten, CalipersError where the repair does not succeed.
    """
    start = time.monotonic()
    if files.patch.suffix != ".json":
        raise InputError(f"--patch {files.patch}: the ending is {files.patch.suffix!r}; accepted: .json, a card")
    if files.repaired.exists() and files.repaired.samefile(files.network):
        raise InputError(f"--patch {files.patch}: {files.repaired} is the network itself; accepted: another name")
    asked = Property.load(files.property_)
    network = load_onnx_network(files.network, inputs=asked.inputs)
    model = GraphModule(network.graph).eval()
    cut = cut_at(network.graph, chosen_layer(model, network.graph, layer))
    if cut.after is not None:
        raise InputError(
            f"repair: properties are repaired in the last layer, {cut.layer.name} is none; leave out --layer"
        )
    everywhere = _domain(asked, domain)

    with TemporaryDirectory() as folder:

        def decided(weight: np.ndarray) -> Verdicted:
            """Of the network as it would be deployed."""
            delta, draft = delta_of(model, cut.state(weight)), Path(folder) / "draft.onnx"
            save_onnx(delta, model, patched(model, delta), files.network, draft)
            answer = decide(load_onnx_network(draft, inputs=asked.inputs), asked, limits)
            shape = network.graph.input_shape
            unsafe = [] if answer.unsafe is None else [torch.from_numpy(answer.unsafe.x).reshape(1, *shape)]
            return Verdicted(answer.outcome is SatOutcome.UNSAT, torch.cat([torch.zeros(0, *shape), *unsafe]))

        found = repair_property(cut, asked, everywhere, decided, settings, tracker or Silent())
    delta = delta_of(model, cut.state(found.weight))
    after = patched(model, delta).eval()
    assert isinstance(after, GraphModule)
    save_onnx(delta, model, after, files.network, files.repaired)
    written = load_onnx_network(files.repaired, inputs=asked.inputs)
    answer = decide(written, asked, limits)
    if answer.outcome is not SatOutcome.UNSAT:
        raise CalipersError(
            f"repair: {files.repaired} was written, but its property is {answer.outcome} "
            f"({answer.reason or 'no proof'}); no patch was written; accepted: more --timeout"
        )
    evidence = certify(written.graph, asked, limits, files.certificate)
    certificates = [path.name for path in evidence if path is not None]
    same = agreement(network.graph, after.graph, everywhere, COMPARED, settings.seed)
    change = found.weight - cut.weight
    numbers = {
        "outcome": str(answer.outcome),
        "rows": found.rows,
        "rounds": found.rounds,
        "margin": found.margin,
        "size": float(np.linalg.norm(change) / np.linalg.norm(cut.weight)),
        "agreement": same,
        "compared": COMPARED,
        "domain": [side.tolist() for side in everywhere],
        "seconds": time.monotonic() - start,
        "cases": len(evidence),
        "certificates": certificates,
    }
    card = PatchCard(
        model=str(files.network),
        before=digest_module(model),
        after=digest_module(after),
        layer=cut.layer.name,
        delta=files.patch.with_suffix(".safetensors").name,
        settings={"property": str(files.property_), **vars(settings)},
        numbers=numbers,
        certificates=certificates,
        versions=current_versions(),
    )
    Patch(delta, card).save(files.patch)
    return PropertyRepaired(answer.outcome, same, numbers)


def _domain(asked: Property, given: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    if given is None:
        low = min(float(case.lower.min()) for case in asked.cases) if asked.cases else 0.0
        high = max(float(case.upper.max()) for case in asked.cases) if asked.cases else 0.0
    else:
        low, high = given
    if not low < high:
        raise InputError(f"repair: the domain runs from {low:g} to {high:g}; accepted: --domain LOW,HIGH")
    return np.full(asked.inputs, low), np.full(asked.inputs, high)
