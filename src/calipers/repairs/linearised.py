"""A change of a layer further in, after which margins at given inputs hold: by linearising what follows the layer.

Sequential linear-quadratic steps: margins are replaced by their gradients at the layer's outputs, the least change is
solved for, and a step towards it is taken that brings the sum of what is missing down. Nothing is claimed: the margins
are measured on the network itself.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from calipers.core.errors import CalipersError
from calipers.core.tracker import Part, Silent, Tracker
from calipers.graph.graph import Graph
from calipers.repairs.cutting_planes import Change, InfeasibleError
from calipers.repairs.objectives import Objective
from calipers.repairs.quadratic import Clash
from calipers.repairs.requirements import AtPoints
from calipers.repairs.rows import Rows

STEPS = 100
_HALVINGS = 12
# A margin within so many times what is asked for may fall below it in the next step.
_NEAR = 3.0


@dataclass(frozen=True, eq=False)
class _Seen:
    """Margins over other classes, infinite at the label, and their gradients at the layer's outputs."""

    margin: Float[np.ndarray, "samples classes"]
    gradient: Float[np.ndarray, "samples classes outputs"]


def least_change_further_in(
    after: Graph,
    weight: Float[np.ndarray, "outputs inputs"],
    asked: AtPoints,
    objective: Objective,
    tracker: Tracker | None = None,
) -> Change:
    """A change of a layer under which every margin at the network's outputs is at least half of what is asked.

    after: from the layer's outputs to the network's. asked: its features are the layer's inputs. Raises InfeasibleError
    where the linearised rows clash, and CalipersError where `STEPS` steps do not reach it.
    """
    tracker = tracker or Silent()
    after = after.to(torch.float64)
    change = np.zeros_like(weight)
    seen = _look(after, asked, weight)
    active = 0
    for number in range(STEPS):
        short = _short(seen, asked)
        tracker.advance(f"step {number + 1}, margins short by {short:.3g} in all", number)
        if seen.margin.min() >= asked.margin / 2:
            return Change(change, len(asked) * (seen.margin.shape[1] - 1), active, number)
        # Towards the least change of all; where that is too far for the gradients, the least step from here.
        for whole in (True, False):
            rows = _rows(seen, asked, change if whole else np.zeros_like(change))
            found = objective.least_change(rows, None, Part(tracker, number, f"step {number + 1}"))
            if isinstance(found, Clash):
                raise _clashing(rows, found)
            towards = found.change - change if whole else found.change
            active = len(found.active)
            better = _shortened(after, asked, weight, change, towards, short)
            if better is not None:
                break
        if better is None:
            raise CalipersError(
                f"repair: no step from here brings the margins nearer, which are short by {short:.3g} in all after "
                f"{number} steps; accepted: a smaller margin, or another layer"
            )
        change, seen = better
    raise CalipersError(f"repair: margins are short by {_short(seen, asked):.3g} in all after {STEPS} steps")


def _shortened(
    after: Graph, asked: AtPoints, weight: np.ndarray, change: np.ndarray, towards: np.ndarray, short: float
) -> tuple[np.ndarray, _Seen] | None:
    """The longest of ever shorter steps that brings down what is missing; None if none does."""
    for halving in range(_HALVINGS):
        tried = change + towards / 2**halving
        seen = _look(after, asked, weight + tried)
        if _short(seen, asked) < short:
            return tried, seen
    return None


def _clashing(rows: Rows, clash: Clash) -> InfeasibleError:
    which = sorted(set(rows.sample[clash.rows].tolist()))
    return InfeasibleError(
        f"repair: what is asked of samples {which} cannot hold together as far as this layer is linear; accepted: "
        "without one of them, a smaller margin, or another layer",
        which,
    )


def _short(seen: _Seen, asked: AtPoints) -> float:
    return float(np.maximum(asked.margin - seen.margin, 0).sum())


def _look(after: Graph, asked: AtPoints, weight: np.ndarray) -> _Seen:
    outputs = torch.from_numpy(asked.features @ weight.T).requires_grad_()
    logits = after.evaluate(outputs)
    labels = torch.from_numpy(asked.labels)
    margin = logits.gather(1, labels[:, None]) - logits
    gradient = torch.stack(
        [torch.autograd.grad(margin[:, k].sum(), outputs, retain_graph=True)[0] for k in range(margin.shape[1])], dim=1
    )
    found = margin.detach().clone().scatter_(1, labels[:, None], torch.inf)
    return _Seen(found.numpy(), gradient.numpy())


def _rows(seen: _Seen, asked: AtPoints, change: Float[np.ndarray, "outputs inputs"]) -> Rows:
    """The linearised margins, on the whole change."""
    at, other = np.nonzero(seen.margin < _NEAR * asked.margin)
    left, right = seen.gradient[at, other], asked.features[at]
    sample: Int[np.ndarray, " rows"] = asked.sample[at]
    rows = Rows(left, right, asked.margin - seen.margin[at, other], sample)
    return Rows(left, right, rows.least + rows.at(change), sample)
