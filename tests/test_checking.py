"""Checks that are remembered refuse what jaxtyping and beartype refuse, in whichever order it comes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float, Int, TypeCheckError
from torch import Tensor

from calipers.core.sets import Box
from tests.checking import always, checked_once


def refused(function: Any, *args: Any, **kwargs: Any) -> bool:
    try:
        function(*args, **kwargs)
    except (TypeCheckError, TypeError):
        return True
    return False


def picked(
    x: Float[Tensor, "batch *shape"],
    labels: Int[Tensor, " batch"],
    *more: float,
    way: Literal["a", "b"] = "a",
    **names: str,
) -> Float[Tensor, "batch"] | None:
    return None if way == "b" else x.sum() if more else x.reshape(len(x), -1).sum(1)


def collected(parts: list[Float[Tensor, " n"]], sizes: dict[str, int], last: tuple[int, ...] | Tensor) -> Iterator[int]:
    return iter(last) if isinstance(last, tuple) else last  # type: ignore[return-value]


def sized(count: int, x: Float[Tensor, "{count} 2"]) -> Float[np.ndarray, "{count}"]:
    return np.zeros(len(x) if count < 4 else 1)


TENSORS = st.sampled_from(
    [
        *(torch.zeros(shape) for shape in [(2,), (3,), (2, 2), (3, 2), (4, 2), (3, 4)]),
        *(torch.zeros(count, dtype=torch.long) for count in (2, 3)),
        torch.zeros(2, dtype=torch.float64),
    ]
)
ANYTHING = st.one_of(TENSORS, st.sampled_from([1, 1.5, "a", "b", None, np.zeros(2), True]))
CALLS = [
    (picked, st.tuples(TENSORS, TENSORS), st.fixed_dictionaries({}, optional={"way": ANYTHING, "name": ANYTHING})),
    (picked, st.tuples(TENSORS, TENSORS, ANYTHING), st.just({})),
    (
        collected,
        st.tuples(
            st.lists(TENSORS, max_size=2),
            st.one_of(ANYTHING, st.dictionaries(st.sampled_from(["a", "b", 1]), st.integers(0, 9), max_size=1)),
            st.one_of(ANYTHING, st.tuples(ANYTHING)),
        ),
        st.just({}),
    ),
    (sized, st.tuples(st.integers(2, 4), ANYTHING), st.just({})),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS, ids=["named", "more", "collections", "values"])
def test_what_is_refused_does_not_depend_on_what_passed_before(function: Any, args: Any, kwargs: Any) -> None:
    remembering, forgetful = checked_once(function), always(function)

    # beartype looks at one item of a list, drawn at random: 12 looks see both of two.
    looks = 12 if function is collected else 1

    @settings(max_examples=30)
    @given(args, kwargs)
    def check(positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        one, two = (any(refused(f, *positional, **named) for _ in range(looks)) for f in (forgetful, remembering))
        assert one == two

    check()


def test_a_function_within_a_function_is_checked_with_its_own_variables() -> None:
    def outer(shift: float) -> Any:
        def inner(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
            return x + shift if shift else x[:1]

        return checked_once(inner)

    assert outer(1.0)(torch.zeros(3)).tolist() == [1, 1, 1]
    assert outer(2.0)(torch.zeros(3)).tolist() == [2, 2, 2]
    with pytest.raises(TypeCheckError):
        outer(0.0)(torch.zeros(3))


def test_a_wrong_argument_is_refused_before_the_work_begins() -> None:
    done = []

    def work(x: Float[Tensor, "2"]) -> None:
        done.append(x)

    checked = checked_once(work)
    checked(torch.zeros(2))
    with pytest.raises(TypeCheckError):
        checked(torch.zeros(3))
    assert len(done) == 1


def test_errors_of_the_work_and_recursion_pass_through() -> None:
    def down(n: int) -> int:
        if n == 0:
            raise KeyError("bottom")
        return checked(n - 1)

    checked = checked_once(down)
    for _ in range(2):
        with pytest.raises(KeyError, match="bottom"):
            checked(3)


def test_dataclasses_are_checked_where_they_are_made() -> None:
    @dataclass(frozen=True)
    class Pair:
        one: Float[Tensor, " n"]
        two: Float[Tensor, " n"]

    checked = checked_once(Pair)
    assert checked(torch.zeros(2), two=torch.zeros(2)).one.shape == (2,)
    with pytest.raises(TypeCheckError):
        checked(torch.zeros(2), two=torch.zeros(3))


def test_the_program_under_test_is_checked() -> None:
    for _ in range(2):
        with pytest.raises(TypeCheckError):
            Box(torch.zeros(1, 2), "upper")  # type: ignore[arg-type]
