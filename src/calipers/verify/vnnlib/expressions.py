"""Parenthesised text to nested groups that know their places: the outer form of SMT-LIB and VNN-LIB."""

import re
from typing import NamedTuple

# Comments, quoted names and texts, parentheses, and words; a word may end in indices, which may hold blanks.
_SKIPPED = re.compile(r"(?:\s+|;[^\n]*)*")
_TOKEN = re.compile(
    _SKIPPED.pattern + r"(?:([()])|(\|[^|]*\||\"(?:[^\"]|\"\")*\"|\[[^\]]*\]|[^\s()\[\];\"|]+(?:\[[^\]]*\])?)|\Z)"
)


class Fault(Exception):  # noqa: N818  # not an error by itself: the reader turns it into one that names the line
    """What is wrong with a text, and the offset of the place."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at


class Word(NamedTuple):
    """A word and its offset in the text."""

    text: str
    at: int


class Group(NamedTuple):
    """What stands between two parentheses, and the offset of the first."""

    items: "list[Expression]"
    at: int

    @property
    def head(self) -> str:
        """The word in front, empty if there is none."""
        first = self.items[0] if self.items else None
        return first.text if isinstance(first, Word) else ""


Expression = Word | Group


def read_groups(text: str) -> list[Group]:
    """The groups of a text, one after the other. Raises Fault where parentheses do not match."""
    groups: list[Group] = []
    open_: list[Group] = []
    end = 0
    for found in _TOKEN.finditer(text):
        if found.start() != end:
            break
        end = found.end()
        if (word := found[2]) is not None:
            if not open_:
                raise Fault(found.start(2), f"{word!r} stands outside parentheses")
            # Blanks in indices say nothing: X[0, 1] is X[0,1].
            open_[-1].items.append(Word("".join(word.split()) if word[-1] == "]" else word, found.start(2)))
        elif found[1] == "(":
            open_.append(Group([], found.start(1)))
        elif found[1] == ")":
            if not open_:
                raise Fault(found.start(1), "')' closes nothing")
            group = open_.pop()
            (open_[-1].items if open_ else groups).append(group)
    if end != len(text):
        at = _SKIPPED.match(text, end).end()  # type: ignore[union-attr]  # it matches nothing, too
        raise Fault(at, f"{text[at]!r} has no partner")
    if open_:
        raise Fault(open_[0].at, "'(' is never closed")
    return groups


def shown(expression: Expression) -> str:
    """An expression as text, cut where it is long."""
    if isinstance(expression, Word):
        text = expression.text
    else:
        text = f"({' '.join(shown(item) for item in expression.items[:4])}{' ...' * (len(expression.items) > 4)})"
    return text if len(text) <= 60 else f"{text[:57]}..."
