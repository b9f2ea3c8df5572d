"""Names for the command line and recipes. Library code passes objects."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from calipers.core.errors import InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """name -> entry, with suggestions for an unknown name and an error for a double one."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """Decorator that registers an entry under `name`."""

        def register(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return register

    def __getitem__(self, name: str) -> T:
        if name in self._entries:
            return self._entries[name]
        raise unknown(self.kind, name, self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among the known ones, with those that are spelled alike."""
    names = sorted(known)
    lowered = {one.lower(): one for one in names}
    close = [lowered[one] for one in difflib.get_close_matches(str(name).lower(), lowered, n=3)]
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return InputError(f"{kind} {name!r} is unknown; {hint}known: {', '.join(names)}")
