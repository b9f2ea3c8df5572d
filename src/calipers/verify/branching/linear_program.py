"""Multipliers of a subdomain without loose maxima: its row is linear there, so a linear program finds the best."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from calipers.bounds.propagation.backsubstitution import backsubstitute
from calipers.bounds.propagation.rows import Rows
from calipers.verify.branching.subdomains import Subdomains, Variables

# What breaking a split by 1 costs, in units of the row's largest coefficient: an empty subdomain proves itself by it.
_PENALTY = 1e4


def optimal(
    subdomains: Subdomains, variables: Variables
) -> tuple[Float[Tensor, "1 slots"], Float[Tensor, "1 *shape"]] | None:
    """Multipliers of one subdomain's splits, and the point where its row is lowest; None if the solver fails.

    Both are suggestions: the walk with these multipliers is the bound, and the network itself judges the point. Splits
    may be broken at a price, so the program always has a solution.
    """
    # The solver and its matrices are imported where they are needed: they take a good part of a second.
    from scipy.sparse import csr_array

    from calipers.solve.linear import minimise_linear
    from calipers.solve.program import Program

    assert len(subdomains) == 1
    objective, _ = _linear(subdomains, variables, None)
    conditions, offsets, slots = [], [], []
    for view in subdomains.root.views:
        halfspaces = subdomains.halfspaces[view.position]
        for k in range(len(halfspaces)):
            gradient, offset = _linear(subdomains, variables, (view.position, k))
            conditions.append(gradient)
            offsets.append(offset)
            slots.append(int(halfspaces.slot[k]))
    box = subdomains.root.input_set[subdomains.image].box()
    price = _PENALTY * max(float(np.abs(objective).max()), 1e-12)
    count = len(conditions)
    low, high = (side.flatten().cpu().double().numpy() for side in (box.lower, box.upper))
    matrix = np.hstack([np.stack(conditions), np.eye(count)]) if count else np.zeros((0, len(low)))
    program = Program(
        np.concatenate([low, np.zeros(count)]),
        np.concatenate([high, np.full(count, np.inf)]),
        np.zeros(len(low) + count, dtype=bool),
        csr_array(matrix),
        -np.array(offsets, dtype=float),
        np.full(count, np.inf),
    )
    found = minimise_linear(program, np.concatenate([objective, np.full(count, price)]))
    if found is None:
        return None
    multiplier = torch.zeros_like(variables.multiplier)
    if count:
        multiplier[0, slots] = torch.from_numpy(found.row_dual).to(multiplier).clamp_min(0)
    point = torch.from_numpy(found.point[: len(low)]).to(box.lower).reshape(box.lower.shape)
    return multiplier, box.project(point)


def _linear(
    subdomains: Subdomains, variables: Variables, condition: tuple[int, int] | None
) -> tuple[np.ndarray, float]:
    """The row of the subdomain, or one of its splits, as gradient and offset over the flat input."""
    root = subdomains.root
    graph = root.propagation.graph
    if condition is None:
        start = graph.output
        coefficient = root.specification.C[subdomains.image, subdomains.row]
        offset = root.specification.d[subdomains.image, subdomains.row]
    else:
        halfspaces = subdomains.halfspaces[condition[0]]
        start = halfspaces.view.source
        bounds = root.propagation.bounds[start]
        coefficient = torch.zeros_like(bounds.lower[:1].flatten(1))
        offset = coefficient.new_zeros(1)
        share = coefficient.new_zeros(len(halfspaces))
        share[condition[1]] = -1.0
        halfspaces.subtract(coefficient, offset, share, torch.zeros_like(coefficient))
    shape = graph.nodes[start].shape
    image = torch.zeros(1, dtype=torch.long, device=coefficient.device)
    rows = Rows(coefficient.reshape(1, 1, *shape), offset.reshape(1, 1, 1), image, None, shape)
    at_input = backsubstitute(graph, start, rows, subdomains.planes(variables), None)[0].dense()
    return at_input.coefficient.flatten().cpu().double().numpy(), float(at_input.constant)
