"""Certificates that a property is unsatisfiable: one for each of its cases."""

from pathlib import Path

from calipers.core.files import write_whole
from calipers.graph.graph import Graph
from calipers.verify.certify import Certifier
from calipers.verify.verifier import Limits
from calipers.verify.vnnlib.property import Property
from calipers.verify.vnnlib.reduction import reduce_property


def certify(graph: Graph, asked: Property, limits: Limits, path: Path) -> list[Path | None]:
    """Written files, `path` first, then -1, -2, ... before its suffix; None for a case without evidence in time."""
    written: list[Path | None] = []
    for reduction in reduce_property(graph, asked):
        for i in range(len(reduction.problem)):
            name = path if not written else path.with_stem(f"{path.stem}-{len(written)}")
            certificate = Certifier(limits).certify(reduction.graph, reduction.problem[i : i + 1], {"case": i})
            if certificate is not None:
                write_whole(name, certificate.packed())
            written.append(None if certificate is None else name)
    return written
