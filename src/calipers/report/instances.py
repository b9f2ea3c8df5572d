"""The score on a family of VNN-LIB instances, for the terminal and for machines."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from calipers.core.rates import Rate
from calipers.core.tables import Row, to_json
from calipers.evaluate.robustness.metrics import rate
from calipers.report.wording import seconds
from calipers.verify.vnnlib import Score

_STYLES = {"unsat": "cyan", "sat": "yellow", "error": "bold red"}


def score_table(scores: Sequence[Score]) -> Table:
    """One line per instance, and what they add up to."""
    decided = sum(score.decided for score in scores)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column("network", footer=f"{decided} of {len(scores)} decided", overflow="fold")
    table.add_column("property", overflow="fold")
    table.add_column("answer", footer=_counts(scores))
    table.add_column("expected", footer=f"{sum(score.contradicts for score in scores)} contradictions")
    spent = [score.answer.seconds for score in scores if score.answer is not None]
    table.add_column("time", justify="right", no_wrap=True, footer=seconds(sum(spent, 0.0)))
    for score in scores:
        answer, instance = score.answer, score.instance
        expected = "" if instance.expected is None else instance.expected.value
        table.add_row(
            Text(instance.onnx.name),
            Text(instance.vnnlib.name),
            Text(
                " ".join(filter(None, (score.word, score.error, score.note and f"({score.note})"))),
                style=_STYLES.get(score.word, "bold"),
            ),
            Text(expected, style="bold red" if score.contradicts else "dim"),
            "" if answer is None else seconds(answer.seconds),
        )
    return table


def score_json(scores: Sequence[Score], command: str) -> dict[str, Any]:
    """The share decided with its interval, then every instance."""
    total = sum((score.answer.seconds for score in scores if score.answer is not None), 0.0)
    decided = rate("decided", None, sum(score.decided for score in scores), len(scores), seconds=total)
    return _json(command, [_row(decided)], scores)


def answer_json(score: Score, command: str) -> dict[str, Any]:
    """One instance alone."""
    return _json(command, [], [score])


def _json(command: str, first: list[Row], scores: Sequence[Score]) -> dict[str, Any]:
    """Rows as they are, then one per instance, which also says what its answer is."""
    warnings = [f"{score.instance.name}: {score.note}" for score in scores if score.note]
    table = to_json(command, [*first, *map(_instance, scores)], None, warnings)
    said = (*({} for _ in first), *map(_said, scores))
    return {**table, "rows": [row | more for row, more in zip(table["rows"], said, strict=True)]}


def _instance(score: Score) -> Row:
    spent = None if score.answer is None else score.answer.seconds
    return _row(rate(score.instance.name, None, int(score.decided), 1, seconds=spent))


def _said(score: Score) -> dict[str, Any]:
    """The answer in VNN-COMP's words, and the counterexample as flat lists, where it is at hand."""
    expected, unsafe = score.instance.expected, None if score.answer is None else score.answer.unsafe
    return {
        "outcome": score.word,
        "expected": None if expected is None else expected.value,
        "error": score.error,
        "note": score.note,
        "counterexample": None if unsafe is None else {"inputs": unsafe.x.tolist(), "outputs": unsafe.y.tolist()},
    }


def _row(one: Rate) -> Row:
    return Row.of_rate(one.name, one, "", "")


def _counts(scores: Sequence[Score]) -> str:
    words = [score.word for score in scores]
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
