"""Exact verification of tiny networks: one mixed-integer linear program per row of the specification."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from calipers.attacks import PGD, Attack
from calipers.bounds import FUSED, LinearBounds, WorkBudget
from calipers.bounds.precision import doubled
from calipers.bounds.propagation.linear import specification_bounds
from calipers.core.devices import moved
from calipers.core.problem import Problem, Specification
from calipers.core.results import Termination, VerificationResult
from calipers.core.sets import InputSet
from calipers.graph.graph import Graph
from calipers.graph.rewrite import with_maxima
from calipers.solve.highs import TOLERANCE
from calipers.solve.mixed import minimise
from calipers.verify.branching.result import SearchResult
from calipers.verify.milp.encode import encode, require
from calipers.verify.milp.tolerance import CHARGED, Scales, allowance
from calipers.verify.stages import Stages
from calipers.verify.verifier import Limits


@dataclass(frozen=True)
class Milp:
    """VERIFIED, FALSIFIED with a witness, or UNKNOWN when time is up or a minimum is too close to 0 to tell.

    limits: memory, and seconds per instance and in all. base: bounds the neurons; rows that it proves need no program.
    attack: finds most witnesses sooner than the solver.
    """

    limits: Limits = field(default_factory=Limits)
    base: LinearBounds = FUSED
    attack: Attack = field(default_factory=PGD)

    @property
    def name(self) -> str:
        return "milp"

    def limited(self, limits: Limits) -> "Milp":
        """See `Limitable`."""
        return replace(self, limits=limits)

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "memory_bytes": self.limits.budget.bytes,
            "timeout": self.limits.timeout,
            "base": self.base.name,
            "attack": {"name": self.attack.name, **self.attack.parameters},
            "tolerance": TOLERANCE,
            "charged": CHARGED,
        }

    def require(self, graph: Graph, input_set: InputSet) -> None:
        """Raise InputError for a network or a set that has no exact program."""
        require(with_maxima(graph), input_set)

    def verify(self, graph: Graph, problem: Problem, original: nn.Module | None = None) -> VerificationResult:
        """Raises InputError where `require` does."""
        graph = with_maxima(graph)
        require(graph, problem.input_set)
        stages = Stages(self.limits, (), self.base, (self.attack,), self._search)
        return stages.verify(self.name, graph, problem, original)

    def _search(self, graph: Graph, problem: Problem, rows: list[int], budget: WorkBudget) -> SearchResult:
        exact = moved(doubled(problem), "cpu")
        sets, asked = exact.input_set, exact.specification
        asked = Specification(asked.C[:, rows], asked.d[:, rows])
        propagation = self.base.propagate(graph.to(torch.float64, "cpu"), sets, budget)
        reached = asked.margins(propagation.graph.evaluate(sets.center))
        lower = dict.fromkeys(rows, -np.inf)
        if budget.left <= 0:
            return SearchResult(lower, None, 0, False)
        bounds = specification_bounds(propagation, sets, asked, budget)
        scales = Scales.of(propagation.graph, sets)
        encoding = encode(propagation.graph, scales.outwards(propagation.bounds), sets)
        needed = allowance(propagation.graph, sets, scales, propagation.bounds, encoding.program, asked)

        def point(variables: np.ndarray) -> Tensor:
            x = torch.from_numpy(encoding.inputs.at(variables)).to(problem.specification.d)
            return problem.input_set.project(x.reshape(problem.input_set.center.shape))

        def breaks(variables: np.ndarray) -> bool:
            return bool((problem.specification.margins(graph.evaluate(point(variables))) <= 0).any())

        nodes = 0
        for k in bounds.lower[0].argsort().tolist():
            row = encoding.outputs.row(asked.C[0, k].numpy(), float(asked.d[0, k]))
            enough = float(needed[0, k])
            found = minimise(encoding.program, row, enough, breaks, budget.left)
            nodes += found.nodes
            if found.point is not None:
                return SearchResult({}, point(found.point), nodes, False)
            if found.bound > float(reached[0, k]) + enough:
                # No bound can exceed what the row is known to reach: the solver has lost the network's own points.
                return SearchResult(lower, None, nodes, False, failed=True)
            lower[rows[k]] = np.inf if found.bound > enough else found.bound
            if found.termination is not Termination.COMPLETED:
                return SearchResult(lower, None, nodes, False, failed=found.termination is Termination.ERROR)
        return SearchResult(lower, None, nodes, True)
