"""Arrays for property tests, with what trips numerical code: zeros, ties, tiny and large values."""

import torch
from hypothesis import strategies as st
from torch import Tensor

VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 1e-8, -1e-8, 1e4]),
    st.floats(-3, 3, allow_nan=False, width=32),
)


def tensors(*shape: int) -> st.SearchStrategy[Tensor]:
    """float64 tensors of one shape."""
    count = int(torch.tensor(shape).prod())
    lists = st.lists(VALUES, min_size=count, max_size=count)
    return lists.map(lambda values: torch.tensor(values, dtype=torch.float64).reshape(shape))


def rows() -> st.SearchStrategy[Tensor]:
    """1 to 3 rows of 1 to 6 values."""
    return st.tuples(st.integers(1, 3), st.integers(1, 6)).flatmap(lambda shape: tensors(*shape))
