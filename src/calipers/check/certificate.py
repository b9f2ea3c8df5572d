"""The evidence that a specification holds on a set: slopes, splits and multipliers, which a checker need not trust."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calipers.check.enclosure import Split
from calipers.check.layers import Array
from calipers.check.planes import Slopes
from calipers.check.tightened import Tightened

FORMAT = "calipers-certificate-4"
ARITHMETIC = (
    "claims about every evaluation in exact arithmetic, float64 or float32, in any order of summation; "
    "checked in float64, every rounding error bounded and charged"
)


class DamagedCertificateError(ValueError):
    """A file is no certificate, or not as it was written."""


@dataclass(frozen=True, eq=False)
class Halving:
    """One side of a cut through a box at one flat input; high: inputs >= cut, else <= cut."""

    axis: int
    cut: float
    high: bool


@dataclass(frozen=True, eq=False)
class Leaf:
    """rows: of the specification, proven on the part where the splits hold, with a multiplier >= 0 per split."""

    rows: tuple[int, ...]
    splits: tuple[Split, ...]
    multipliers: Array
    slopes: Mapping[int, Slopes]


@dataclass(frozen=True, eq=False)
class Part:
    """The set, or a box cut out of it by halvings. slopes: for the bounds of inner values that all leaves share.

    paired: whether the evidence needs bounds of differences of maxima's candidates, which take time to check.
    tightened: rows over inner nodes that need planes of their own.
    """

    halvings: tuple[Halving, ...]
    slopes: Mapping[int, Slopes]
    leaves: tuple[Leaf, ...]
    paired: bool = False
    tightened: tuple[Tightened, ...] = ()


@dataclass(frozen=True, eq=False)
class Claim:
    """C f(x) + d > 0 in every row for all x with ||(x - center) / scale||_norm <= radius in the domain.

    A box has norm "box" and its lower and upper sides in `center` and `scale`. network: digest of the network's
    numbers. about: what a person wants to know of it.
    """

    network: str
    norm: str
    center: Array
    scale: Array
    radius: float
    domain: tuple[float, float] | None
    C: Array
    d: Array
    about: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Certificate:
    """A claim and the parts that prove it. Positions are those of the checker's network."""

    claim: Claim
    parts: tuple[Part, ...]

    def packed(self) -> bytes:
        """The content of one compressed file."""
        arrays = _arrays(self)
        header = json.dumps(_header(self), sort_keys=True)
        arrays["header"] = np.frombuffer(header.encode(), dtype=np.uint8)
        arrays["digest"] = np.frombuffer(_digest(arrays).encode(), dtype=np.uint8)
        packed = io.BytesIO()
        np.savez_compressed(packed, allow_pickle=False, **arrays)
        return packed.getvalue()

    def save(self, path: Path) -> Path:
        """Write the file as it is; who has to fear kills writes `packed` whole."""
        path.write_bytes(self.packed())
        return path

    @classmethod
    def load(cls, path: Path) -> "Certificate":
        """Raises DamagedCertificateError if the file is none or was changed after it was written."""
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            written = arrays.pop("digest").tobytes().decode()
            if written != _digest(arrays):
                raise DamagedCertificateError(f"certificate {path}: its contents do not fit its digest")
            header = json.loads(arrays.pop("header").tobytes())
            if header["format"] != FORMAT:
                raise DamagedCertificateError(
                    f"certificate {path}: has format {header['format']!r}; accepted: {FORMAT!r}"
                )
            return _from(header, arrays)
        except DamagedCertificateError:
            raise
        except FileNotFoundError as error:
            raise DamagedCertificateError(f"certificate {path}: there is no such file") from error
        except Exception as error:  # zip, numpy and JSON each raise their own for a damaged file
            reason = error if zipfile.is_zipfile(path) else "it is no .npz file, or not a whole one"
            raise DamagedCertificateError(f"certificate {path}: cannot be read ({reason})") from error


def _digest(arrays: Mapping[str, Array]) -> str:
    seen = hashlib.sha256()
    for name in sorted(arrays):
        seen.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        seen.update(np.ascontiguousarray(arrays[name]).tobytes())
    return seen.hexdigest()


def _header(certificate: Certificate) -> dict[str, Any]:
    claim = certificate.claim
    return {
        "format": FORMAT,
        "arithmetic": ARITHMETIC,
        "network": claim.network,
        "norm": claim.norm,
        "radius": claim.radius,
        "domain": claim.domain,
        "about": dict(claim.about),
        "parts": [
            {
                "halvings": [[h.axis, h.cut, h.high] for h in part.halvings],
                "paired": part.paired,
                "tightened": [[t.position, sorted(t.row)] for t in part.tightened],
                "leaves": [
                    {
                        "rows": leaf.rows,
                        "splits": [[s.position, s.output, s.kept, s.dropped] for s in leaf.splits],
                        "multipliers": leaf.multipliers.tolist(),
                    }
                    for leaf in part.leaves
                ],
            }
            for part in certificate.parts
        ],
    }


def _arrays(certificate: Certificate) -> dict[str, Array]:
    """Slopes of all parts and of all leaves, stacked by position: parts first."""
    claim = certificate.claim
    arrays = {"center": claim.center, "scale": claim.scale, "C": claim.C, "d": claim.d}
    held = [part.slopes for part in certificate.parts]
    held += [leaf.slopes for part in certificate.parts for leaf in part.leaves]
    for position in held[0]:
        arrays[f"below.{position}"] = np.stack([slopes[position].below for slopes in held]).astype(np.float32)
        arrays[f"above.{position}"] = np.stack([slopes[position].above for slopes in held]).astype(np.float32)
    for number, part in enumerate(certificate.parts):
        for k, tightened in enumerate(part.tightened):
            name = f"tightened.{number}.{k}"
            arrays |= {f"{name}.plus": tightened.plus, f"{name}.minus": tightened.minus}
            for position, weight in tightened.weight.items():
                arrays[f"{name}.row.{position}"] = tightened.row[position].astype(np.int32)
                arrays[f"{name}.place.{position}"] = tightened.place[position].astype(np.int32)
                arrays[f"{name}.weight.{position}"] = weight.astype(np.float32)
    return arrays


def _from(header: dict[str, Any], arrays: dict[str, Array]) -> Certificate:
    claim = Claim(
        header["network"],
        header["norm"],
        arrays["center"],
        arrays["scale"],
        float(header["radius"]),
        None if header["domain"] is None else (float(header["domain"][0]), float(header["domain"][1])),
        arrays["C"],
        arrays["d"],
        header["about"],
    )
    positions = [int(name.split(".")[1]) for name in arrays if name.startswith("below.")]
    below = {p: arrays[f"below.{p}"].astype(np.float64) for p in positions}
    above = {p: arrays[f"above.{p}"].astype(np.float64) for p in positions}

    def slopes(k: int) -> dict[int, Slopes]:
        return {p: Slopes(below[p][k], above[p][k]) for p in positions}

    parts = []
    k = len(header["parts"])
    for number, part in enumerate(header["parts"]):
        leaves = []
        for leaf in part["leaves"]:
            splits = tuple(Split(*(int(v) for v in split)) for split in leaf["splits"])
            leaves.append(Leaf(tuple(leaf["rows"]), splits, np.array(leaf["multipliers"], dtype=np.float64), slopes(k)))
            k += 1
        halvings = tuple(Halving(int(axis), float(cut), bool(high)) for axis, cut, high in part["halvings"])
        tightened = tuple(
            _tightened(f"tightened.{number}.{k}", int(position), [int(p) for p in before], arrays)
            for k, (position, before) in enumerate(part["tightened"])
        )
        parts.append(Part(halvings, slopes(number), tuple(leaves), bool(part["paired"]), tightened))
    return Certificate(claim, tuple(parts))


def _tightened(name: str, position: int, before: list[int], arrays: dict[str, Array]) -> Tightened:
    row, place = ({p: arrays[f"{name}.{field}.{p}"].astype(np.int64) for p in before} for field in ("row", "place"))
    weight = {p: arrays[f"{name}.weight.{p}"].astype(np.float64) for p in before}
    return Tightened(position, arrays[f"{name}.plus"], arrays[f"{name}.minus"], row, place, weight)
