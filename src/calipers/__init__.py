"""How robust is a neural-network classifier? Measured from both sides: attacks from above, proofs from below."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from calipers.api import attack as attack
    from calipers.api import compare as compare
    from calipers.api import load_model as load_model
    from calipers.api import measure as measure
    from calipers.api import repair as repair
    from calipers.core.resources import Resources as Resources
    from calipers.core.threat import ThreatModel as ThreatModel
    from calipers.data.loading import load_dataset as load_dataset
    from calipers.models.normalise import Normalise as Normalise

_PUBLIC = {
    "attack": "calipers.api",
    "compare": "calipers.api",
    "measure": "calipers.api",
    "repair": "calipers.api",
    "Resources": "calipers.core.resources",
    "ThreatModel": "calipers.core.threat",
    "load_dataset": "calipers.data.loading",
    "load_model": "calipers.api",
    "Normalise": "calipers.models.normalise",
}
__all__ = [
    "Normalise",
    "Resources",
    "ThreatModel",
    "attack",
    "compare",
    "load_dataset",
    "load_model",
    "measure",
    "repair",
]


def __getattr__(name: str) -> Any:
    """Import the public names when they are first asked for, so that `calipers --help` does not wait for torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'calipers' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
