"""Units in several processes of this machine, each with one thread."""

import contextlib
import os
import pickle
import signal
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from calipers.core.errors import CalipersError, InputError

U = TypeVar("U")
D = TypeVar("D")

# How often a unit may take its process with it before the run ends: once may be a killer from outside.
_TRIES = 3
_SPAWN = get_context("spawn")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ProcessDiedError(CalipersError):
    """A unit's process was ended from outside, several times."""


@dataclass(frozen=True)
class Processes:
    """`count` processes, made afresh (spawn). The unit of a process that is killed is done again by another.

    Raises InputError where the work cannot be sent to another process.
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"workers: {self.count}; accepted: 1 or more")

    def map(self, execute: Callable[[U], D], units: Sequence[U], started: Callable[[U], None]) -> Iterator[tuple[U, D]]:
        """See `Executor`."""
        work = _pickled(execute)
        waiting, deaths = deque(units), Counter[int]()
        crew = [_Hand(work) for _ in range(min(self.count, len(units)))]
        try:
            while waiting or any(hand.unit is not None for hand in crew):
                for hand in crew:
                    if hand.unit is None and waiting:
                        hand.unit = waiting.popleft()
                        started(hand.unit)
                        hand.begin()
                busy = {hand.wires: hand for hand in crew if hand.unit is not None}
                ready = wait([wire for wires in busy for wire in wires])
                for hand in [hand for wires, hand in busy.items() if set(wires) & set(ready)]:
                    unit, hand.unit = hand.unit, None
                    try:
                        answer = hand.answer()
                    except (EOFError, ConnectionError, pickle.UnpicklingError):
                        deaths[id(unit)] += 1
                        if deaths[id(unit)] == _TRIES:
                            raise _died(unit, hand) from None
                        waiting.appendleft(unit)
                        crew[crew.index(hand)] = _Hand(work)
                        continue
                    yield unit, answer
        finally:
            for hand in crew:
                hand.end()


class _Hand:
    """One process, and the unit that it is at."""

    def __init__(self, work: bytes) -> None:
        self.unit: Any = None
        self._wire, theirs = _SPAWN.Pipe()
        self._process: SpawnProcess = _SPAWN.Process(target=_serve, args=(theirs, work), daemon=True)
        with _one_thread():
            self._process.start()
        theirs.close()

    @property
    def wires(self) -> tuple[Any, ...]:
        """What shows that there is an answer, or that there will be none."""
        return self._wire, self._process.sentinel

    @property
    def exit_code(self) -> int | None:
        self._process.join(1)
        return self._process.exitcode

    def begin(self) -> None:
        """Send the unit; a process that is dead already shows when it is asked for the answer."""
        with contextlib.suppress(ConnectionError):
            self._wire.send(self.unit)

    def answer(self) -> Any:
        """What came out. Raises what the work raised, and EOFError or ConnectionError if the process died."""
        if not self._wire.poll():
            raise EOFError
        failed, result = self._wire.recv()
        if failed:
            raise result
        return result

    def end(self) -> None:
        """Stop at once."""
        self._wire.close()
        self._process.kill()
        self._process.join()


def _serve(wire: Connection, work: bytes) -> None:
    """What a process does: units, until nobody sends any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent stops the others
    execute = pickle.loads(work)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            unit = wire.recv()
            try:
                answer = (False, execute(unit))
            except Exception as error:  # whatever it is, it is raised where the answer is awaited
                answer = (True, _sendable(error))
            wire.send(answer)


def _sendable(error: Exception) -> Exception:
    """The error itself, with where it happened; in words alone if it cannot be pickled."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception as hindrance:  # an error may hold anything
        return RuntimeError(f"{error!r} (which cannot be sent on: {hindrance})")
    return error


def _pickled(do: Callable[..., Any]) -> bytes:
    try:
        return pickle.dumps(do)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
        raise InputError(
            f"workers: this work cannot be sent to another process ({error}); accepted: one worker, or a model that "
            "can be pickled: by name, from a file, or a module whose class stands in a module of its own"
        ) from error


def _died(unit: Any, hand: _Hand) -> ProcessDiedError:
    code = hand.exit_code
    if code is None or code >= 0:
        how, why = f"ended with status {code}", "a script has to start its work under `if __name__ == '__main__':`"
    else:
        how, why = f"was killed by signal {-code}", "if memory ran out, give fewer --workers or less --memory"
    kept = "Finished work is kept; repeat with --resume"
    return ProcessDiedError(f"{unit.name}: its process {how}, {_TRIES} times; {why}. {kept}")


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that start inside read these when they import their libraries."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
