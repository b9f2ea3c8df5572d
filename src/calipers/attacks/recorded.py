"""What an attack ran with, for the record."""

from dataclasses import asdict
from typing import Any


class Recorded:
    """A frozen dataclass whose fields decide all its queries, and so are all its parameters."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Its fields, by name."""
        return asdict(self)  # type: ignore[call-overload]
