"""Branch and bound over the splits of ReLUs and maxpool windows, for one input set (Wang et al. 2021, beta-CROWN)."""

import math
from dataclasses import dataclass

from calipers.bounds.budget import WorkBudget
from calipers.verify.branching.journal import Journal
from calipers.verify.branching.open_list import branch_and_bound
from calipers.verify.branching.open_subdomains import Ascents, OpenSubdomains, SplitChoice
from calipers.verify.branching.pseudo_costs import PseudoCosts
from calipers.verify.branching.result import SearchResult
from calipers.verify.branching.subdomains import Root
from calipers.verify.branching.ties import TieWatch


@dataclass(frozen=True)
class Search:
    """How to search. root_steps, steps: walks per ascent at the root and after each split; rate: of the ascent.

    choices: how many splits of a subdomain are considered. trials: so often an output's splits are tried.
    """

    root_steps: int = 30
    steps: int = 2
    rate: float = 0.2
    choices: int = 8
    trials: int = 4

    def run(
        self,
        root: Root,
        rows: list[int],
        budget: WorkBudget,
        journal: Journal | None = None,
        costs: PseudoCosts | None = None,
        most: float = math.inf,
    ) -> SearchResult:
        """Prove that `rows` of the root's one specification are positive, or find an input where one is not.

        Bounds only rise, so a search that is out of time has proven what it has proven. journal: takes down every
        proven subdomain. costs: what earlier searches of the same maxima have learnt. most: subdomains to bound.
        """
        costs = PseudoCosts(root.places, root.device) if costs is None else costs
        ascents = Ascents(self.root_steps, self.steps, self.rate)
        subdomains = OpenSubdomains(root, rows, ascents, SplitChoice(self.choices, self.trials, costs), budget, journal)
        ties = TieWatch(root.propagation.graph, root.specification, budget)
        return branch_and_bound(subdomains, ties, budget, most)
