import threading

from calipers.evaluate.progress import Lines, Pace, busy, duration, track


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def told(total: int | None) -> tuple[Lines, Clock, list[str]]:
    clock, said = Clock(), list[str]()
    return Lines(said.append, total, clock), clock, said


def test_quick_work_says_nothing() -> None:
    lines, clock, said = told(10)
    for done in range(10):
        clock.now += 0.1
        lines.advance("pgd", done)
        lines.beat()
    assert said == []


def test_a_long_step_gives_a_sign_of_life_at_once_and_then_every_30_seconds() -> None:
    lines, clock, said = told(10)
    lines.advance("combined at 0.1", 0)
    for _ in range(100):
        clock.now += 1
        lines.beat()
    assert said[0] == "0/10 combined at 0.1, 2 s so far"
    assert said[1] == "0/10 combined at 0.1, 32 s so far"
    assert len(said) == 4


def test_steps_are_told_of_every_10_seconds_with_an_estimate_in_proportion() -> None:
    lines, clock, said = told(8)
    lines.advance("pgd", 0)
    for done in range(1, 8):
        clock.now += 12
        lines.advance("pgd", done)
    assert said[:2] == ["1/8 pgd, 12 s so far, about 84 s left", "2/8 pgd, 24 s so far, about 72 s left"]


def test_the_estimate_does_not_freeze_and_leaves_out_what_was_done_before() -> None:
    pace = Pace(10)
    assert pace.left(5.0) is None
    pace.reach(4)
    assert pace.left(5.0) is None
    pace.reach(6)
    assert pace.left(10.0) == 20.0
    assert pace.left(11.0) == 22.0
    pace.reach(10)
    assert pace.left(30.0) == 0.0


def test_the_heart_stops_with_the_work() -> None:
    before = threading.active_count()
    with busy("thinking"), track(3) as tracker:
        tracker.advance("pgd", 1)
    assert threading.active_count() == before


def test_durations_in_the_unit_of_their_size() -> None:
    durations = [duration(seconds) for seconds in (0.4, 119.0, 121.0, 9000.0)]
    assert durations == ["0 s", "119 s", "2 min", "2.5 h"]
