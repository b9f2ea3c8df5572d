"""Iterative attacks: a solver defines a step, the loop over steps is written here once."""

from typing import Protocol, TypeVar, runtime_checkable

State = TypeVar("State")


@runtime_checkable
class Solver(Protocol[State]):
    """`init`, `step` and `finish` of one run. States are values: a step returns a new one.

    Solvers whose instances drop out return a state without instances as it is.
    """

    def init(self) -> State: ...

    def step(self, state: State, k: int) -> State:
        """The state after step k = 0, 1, ..."""

    def finish(self, state: State) -> State:
        """Whatever is left to do with the last state, such as a query at the last iterate."""


def solve(solver: Solver[State], steps: int) -> State:
    """Run a solver and return its final state."""
    state = solver.init()
    for k in range(steps):
        state = solver.step(state, k)
    return solver.finish(state)
