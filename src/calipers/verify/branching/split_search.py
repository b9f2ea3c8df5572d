"""The search over splits of maxima, with tighter bounds of inner neurons where it does not do without."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from calipers.bounds import PAIRED, LinearBounds, WorkBudget
from calipers.core.problem import Problem
from calipers.graph.graph import Graph
from calipers.verify.branching.beta_crown import Search
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.pseudo_costs import PseudoCosts
from calipers.verify.branching.result import SearchResult
from calipers.verify.branching.subdomains import Root
from calipers.verify.branching.tighten import Tightening


@dataclass(frozen=True)
class SplitSearch:
    """base: bounds inner neurons first. tightening: bounds them again. search: goes first without, then with it."""

    base: LinearBounds = PAIRED
    tightening: Tightening = field(default_factory=Tightening)
    search: Search = field(default_factory=Search)

    @property
    def parameters(self) -> dict[str, Any]:
        return {"base": self.base.name, "tightening": asdict(self.tightening), "search": asdict(self.search)}

    def run(
        self, graph: Graph, problem: Problem, rows: list[int], budget: WorkBudget, journal: Journal | None = None
    ) -> SearchResult:
        """Search the given rows of one instance. journal: takes down the evidence, as one part."""
        propagation = self.base.propagate(graph, problem.input_set, budget)
        root = Root.of(propagation, problem.input_set, problem.specification)
        costs, walks = PseudoCosts(root.places, root.device), self.tightening.walks(root)
        # To search for as long as tightening takes costs at most about twice what the better of the two would have.
        most = walks / self.search.steps if walks else math.inf
        found = self.search.run(root, rows, budget, journal, costs, most)
        if found.witness is None and found.open and walks and budget.left > 0:
            note = None
            if journal is not None:
                journal.forget(found.open)
                note = journal.tightened
            propagation = self.tightening.run(self.base, root, budget, note)
            tighter = Root.of(propagation, problem.input_set, problem.specification)
            found = found.then(self.search.run(tighter, found.open, budget, journal, costs))
        if journal is not None:
            journal.parts.append(journal.whole(propagation, paired=self.base.paired))
        return found
