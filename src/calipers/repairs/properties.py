"""Repair of VNN-LIB properties: a change of one layer after which no input of a whole region is unsafe.

Counterexample-guided: inputs of the region that are unsafe, or nearly so, become linear rows on the layer's weights;
the least change that fulfils them all is solved for; unsafe inputs are searched again, by samples, by descent and by
the verifier, until it proves that there are none. The size of a change is what it does to the outputs on inputs of the
whole domain, so that the network stays what it was elsewhere. Nothing is claimed but what the verifier says of the
repaired network.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from calipers.core.errors import CalipersError, InputError
from calipers.core.seeds import generator
from calipers.core.tracker import Silent, Tracker
from calipers.graph.graph import Graph
from calipers.repairs.layers import Cut
from calipers.repairs.metric import Metric
from calipers.repairs.quadratic import Clash, Optimum, least_change
from calipers.repairs.rows import Rows, no_rows
from calipers.verify.vnnlib import Property
from calipers.verify.vnnlib.property import Case, Clause

# Sides of the boxes around an unsafe input that are searched too, as shares of the region's.
_NEAR = (0.1, 0.03, 0.01)
# Samples from which descents start, and their steps.
_DESCENDED, _STEPS = 300, 40

# Whether the network with these weights is proven safe, or an input that is not: from the weights.
Decide = Callable[[np.ndarray], "Verdicted"]


@dataclass(frozen=True, eq=False)
class Verdicted:
    """proven: on the whole region. unsafe: inputs that are not safe (n, *shape), if any were found."""

    proven: bool
    unsafe: Float[Tensor, "n *shape"]


@dataclass(frozen=True)
class PropertySettings:
    """margin: that rows get, as a share of how far outputs spread over the region; doubled where the verifier does not
    come to an end. samples: of the region and of the domain at once. added: rows per round. rounds: of the verifier.
    steps: of searching and solving between two calls of it.
    """

    margin: float = 0.1
    ridge: float = 1e-4
    samples: int = 100_000
    added: int = 100
    rounds: int = 12
    steps: int = 60
    seed: int = 0


@dataclass(frozen=True, eq=False)
class PropertyRepair:
    """weight: of the layer, with its bias. rows: that it fulfils. rounds: of the verifier. margin: of the rows."""

    weight: Float[np.ndarray, "outputs inputs"]
    rows: int
    rounds: int
    margin: float


def repair_property(
    cut: Cut,
    asked: Property,
    domain: tuple[Float[np.ndarray, " inputs"], Float[np.ndarray, " inputs"]],
    decide: Decide,
    settings: PropertySettings,
    tracker: Tracker | None = None,
) -> PropertyRepair:
    """Change the last layer of a network until `decide` proves the property.

    domain: the box of inputs on which the network shall stay as it was. Raises InputError for a property that speaks of
    no box, CalipersError with what remains open where the rounds do not suffice, or rows clash.
    """
    if not asked.cases:
        raise InputError(f"repair: {asked.note or 'the property asks about no inputs'}; accepted: one with inputs")
    return _Search(cut, asked, domain, settings, tracker or Silent()).run(decide)


class _Search:
    """One search; thrown away at its end."""

    def __init__(
        self,
        cut: Cut,
        asked: Property,
        domain: tuple[np.ndarray, np.ndarray],
        settings: PropertySettings,
        tracker: Tracker,
    ) -> None:
        self._cut, self._asked, self._settings, self._tracker = cut, asked, settings, tracker
        self._random = generator(settings.seed)
        everywhere = self._sampled(*domain, min(settings.samples, 20_000))
        self._metric = Metric.of(cut.inputs(everywhere), settings.ridge)
        self._rows = no_rows(*cut.weight.shape)
        self._solution: Optimum | None = None
        self._margin = 0.0
        # That the verifier has found so far, of other weights: where they are the margin is small.
        self._unsafe = np.zeros((0, asked.inputs))

    @property
    def _weight(self) -> np.ndarray:
        return self._cut.weight + (0.0 if self._solution is None else self._solution.change)

    def run(self, decide: Decide) -> PropertyRepair:
        share, spread = self._settings.margin, self._spread()
        seen = decide(self._weight)
        if seen.proven:
            raise InputError("repair: the property holds already; accepted: a network that violates it")
        for number in range(self._settings.rounds):
            self._ask(share * spread)
            self._settle(seen.unsafe, number)
            self._tracker.advance(f"proving, round {number + 1}, {len(self._rows)} rows", number)
            seen = decide(self._weight)
            if seen.proven:
                return PropertyRepair(self._weight, len(self._rows), number + 1, self._margin)
            # Without an unsafe input, margins are too small for a proof; with ever new ones, for what is between rows.
            if not len(seen.unsafe):
                share *= 3
            elif number >= 2:
                share *= 1.5
        found = f"{len(seen.unsafe)} unsafe inputs" if len(seen.unsafe) else "no unsafe input, but no proof either"
        raise CalipersError(
            f"repair: after {self._settings.rounds} rounds and {len(self._rows)} rows the verifier finds {found}; "
            "accepted: more --timeout, or a larger --margin"
        )

    def _ask(self, margin: float) -> None:
        """Another margin, of the rows that there are too."""
        self._rows = replace(self._rows, least=self._rows.least + (margin - self._margin))
        self._margin = margin
        if len(self._rows):
            # Its multipliers belong to the old margin.
            self._solution = None
            self._solve()

    def _solve(self) -> None:
        found = least_change(self._rows, self._metric, self._solution)
        if isinstance(found, Clash):
            raise CalipersError(
                f"repair: {len(found.rows)} inputs of the region ask for what this layer cannot give together, with a "
                f"margin of {self._margin:.3g}; accepted: a smaller --margin, or another layer"
            )
        self._solution = found

    def _settle(self, unsafe: Tensor, number: int) -> None:
        """Solve until neither the given inputs nor fresh samples miss the margin."""
        self._unsafe = np.concatenate([self._unsafe, unsafe.flatten(1).double().numpy()])
        for _ in range(self._settings.steps):
            more = self._missed(self._around(self._unsafe))
            if not len(more):
                return
            self._rows = self._rows.joined(more)
            self._solve()
            self._tracker.advance(f"round {number + 1}, solving, {len(self._rows)} rows", number)

    def _around(self, unsafe: np.ndarray) -> np.ndarray:
        """Unsafe inputs with others around them, ever nearer: where one is, there are more."""
        found = [unsafe]
        for case in self._asked.cases:
            inside = unsafe[((unsafe >= case.lower - 1e-6) & (unsafe <= case.upper + 1e-6)).all(1)]
            for share in _NEAR:
                step = share * (case.upper - case.lower)
                for x in inside:
                    lower, upper = np.maximum(x - step, case.lower), np.minimum(x + step, case.upper)
                    found.append(self._flat(lower, np.maximum(lower, upper), 1000))
        return np.concatenate(found)

    def _missed(self, pool: np.ndarray) -> Rows:
        """Rows of samples of every case that miss the margin most, spread over the region."""
        found = no_rows(*self._cut.weight.shape)
        for case in self._asked.cases:
            inside = pool[((pool >= case.lower - 1e-9) & (pool <= case.upper + 1e-9)).all(1)]
            fresh = self._flat(case.lower, case.upper, self._settings.samples // len(self._asked.cases))
            for clause in case.clauses:
                low = [self._descended(case, clause, x) for x in (inside, fresh) if len(x)]
                found = found.joined(self._rows_at(clause, np.concatenate([inside, fresh, *low])))
        return found

    def _descended(self, case: Case, clause: Clause, x: np.ndarray) -> np.ndarray:
        """From the samples that are nearest to unsafe, nearer: signed gradient steps within the box."""
        graph = self._cut.repaired(self._weight)
        rows, outer, bound = (torch.from_numpy(a).float() for a in (clause.outputs, clause.inputs, clause.bound))
        lower, upper = (torch.from_numpy(side).float() for side in (case.lower, case.upper))

        def value(points: Tensor) -> Tensor:
            outputs = graph.evaluate(points.reshape(-1, *graph.input_shape))
            return (outputs @ rows.T + points @ outer.T - bound).amax(1)

        with torch.no_grad():
            start = torch.from_numpy(x).float()
            point = start[torch.cat([value(part) for part in start.split(10_000)]).argsort()[:_DESCENDED]]
        best, least = point, value(point).detach()
        for step in range(_STEPS):
            point = point.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(value(point).sum(), point)
            size = 0.05 * 0.9**step * (upper - lower)
            point = torch.minimum(torch.maximum(point.detach() - size * gradient.sign(), lower), upper)
            now = value(point).detach()
            nearer = now < least
            best, least = torch.where(nearer[:, None], point, best), torch.where(nearer, now, least)
        return best.double().numpy()

    def _rows_at(self, clause: Clause, x: np.ndarray) -> Rows:
        """Of the inputs at which the best row of a clause misses half of the margin: that row, at some of them."""
        features = self._cut.inputs(self._shaped(x))
        values = x @ clause.inputs.T + features @ self._weight.T @ clause.outputs.T - clause.bound
        best = values.argmax(1)
        least = values[np.arange(len(x)), best]
        missed = np.flatnonzero(least < 0.5 * self._margin)
        chosen = missed[np.argsort(least[missed], kind="stable")]
        # The worst, and as many at random: others of the same corner say the same.
        half = self._settings.added // 2
        rest = chosen[half:]
        picked = rest[torch.randperm(len(rest), generator=self._random)[:half].numpy()]
        places = np.concatenate([chosen[:half], picked])
        rows = best[places]
        given = np.einsum("ni,ni->n", x[places], clause.inputs[rows]) - clause.bound[rows]
        now = features[places] @ self._cut.weight.T
        before = np.einsum("no,no->n", now, clause.outputs[rows]) + given
        numbers = np.arange(len(places)) + len(self._rows)
        return Rows(clause.outputs[rows], features[places], self._margin - before, numbers)

    def _spread(self) -> float:
        """How far outputs spread over the region: the mean standard deviation of one, over the cases."""
        spreads = []
        for case in self._asked.cases:
            x = self._shaped(self._flat(case.lower, case.upper, 2000))
            spreads.append(float((self._cut.inputs(x) @ self._cut.weight.T).std(0).mean()))
        return max(spreads)

    def _flat(self, lower: np.ndarray, upper: np.ndarray, count: int) -> np.ndarray:
        """Random inputs; half of them with each value at either end with probability 1/4: extremes lie there."""
        unit = torch.rand(count, len(lower), generator=self._random, dtype=torch.float64).numpy()
        ends = torch.rand(count // 2, len(lower), generator=self._random, dtype=torch.float64).numpy()
        unit[: count // 2][ends < 0.25] = 0.0
        unit[: count // 2][ends > 0.75] = 1.0
        return lower + unit * (upper - lower)

    def _sampled(self, lower: np.ndarray, upper: np.ndarray, count: int) -> Tensor:
        return self._shaped(self._flat(lower, upper, count))

    def _shaped(self, x: np.ndarray) -> Tensor:
        shape = self._cut.before.input_shape
        return torch.from_numpy(x).float().reshape(-1, *shape)


def agreement(
    before: Graph, after: Graph, domain: tuple[np.ndarray, np.ndarray], count: int, seed: int
) -> dict[str, float]:
    """Shares of uniformly random inputs of a domain on which two networks have the same least and the same largest
    output.
    """
    lower, upper = (torch.from_numpy(side).float() for side in domain)
    unit = torch.rand(count, len(lower), generator=generator(seed))
    x = (lower + unit * (upper - lower)).reshape(-1, *before.input_shape)
    with torch.no_grad():
        one = torch.cat([before.evaluate(part) for part in x.split(10_000)])
        two = torch.cat([after.evaluate(part) for part in x.split(10_000)])
    return {
        "least": float((one.argmin(1) == two.argmin(1)).float().mean()),
        "largest": float((one.argmax(1) == two.argmax(1)).float().mean()),
    }
