"""How much a run of the battery has tried, at its end."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.soundness.claims import Tally

_COUNTED = "soundness"


@pytest.fixture
def sound(record_property: Callable[[str, object], None]) -> Callable[[Tally], None]:
    """Adds a tally to the run's, and fails where a claim is wrong."""

    def judge(tally: Tally) -> None:
        counts = {"trials": tally.trials, "false": tally.false, "points": tally.points, "networks": tally.networks}
        record_property(_COUNTED, {**counts, "claims": tally.claims.total(), "wrong": tally.wrong.total()})
        assert not tally.wrong.total(), f"wrong claims\n{tally}"

    return judge


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    total: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, counts in getattr(report, "user_properties", ()):
                if name == _COUNTED:
                    total.update(counts)
    if total["trials"]:
        terminalreporter.write_line(
            f"soundness: {total['trials']:,} sets with a row on {total['networks']:,} networks, {total['false']:,} of "
            f"them known to be false; {total['points']:,} points; {total['claims']:,} claims, {total['wrong']:,} wrong"
        )
