"""What finished parts of a repair leave for the next ones, as files beside the patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from calipers.core.files import write_whole
from calipers.repairs.failing import Samples


@dataclass(frozen=True)
class Workspace:
    """folder: of the files."""

    folder: Path

    @classmethod
    def beside(cls, patch: Path) -> "Workspace":
        """The one of a patch."""
        return cls(patch.with_suffix(".parts"))

    @property
    def certificates(self) -> Path:
        return self.folder / "certificates"

    def keep(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Write tensors, whole or not at all."""
        kept = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write_whole(self.folder / f"{name}.safetensors", safetensors.torch.save(kept))

    def kept(self, name: str) -> dict[str, Tensor]:
        """What `keep` wrote."""
        return safetensors.torch.load((self.folder / f"{name}.safetensors").read_bytes())

    def keep_samples(self, name: str, samples: Samples) -> None:
        """Write samples."""
        tensors = {"x": samples.x, "labels": samples.labels, "number": torch.tensor(samples.number, dtype=torch.int64)}
        self.keep(name, tensors if samples.origin is None else {**tensors, "origin": samples.origin})

    def samples(self, name: str) -> Samples:
        """What `keep_samples` wrote."""
        found = self.kept(name)
        return Samples(found["x"], found["labels"], tuple(found["number"].tolist()), found.get("origin"))

    def has(self, names: Sequence[str]) -> bool:
        """Whether all of these were written."""
        return all((self.folder / f"{name}.safetensors").is_file() for name in names)
