"""What a proximal operator is: the extension point of the proximal attacks."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class ProximalOperator(Protocol):
    """The proximal operator of a function f, per sample: argmin_z mu f(z) + ||z - u||^2 / 2 (thesis, equation 5.4)."""

    @property
    def convex(self) -> bool:
        """Whether f is convex."""

    def value(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        """f(u)."""

    def __call__(self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        """The minimiser; one of them where there are several. mu >= 0; u itself where mu is 0."""


@runtime_checkable
class MetricOperator(ProximalOperator, Protocol):
    """An operator with a closed form in diagonal metrics too."""

    def in_metric(
        self, u: Float[Tensor, "batch *shape"], mu: Float[Tensor, " batch"], psi: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, "batch *shape"]:
        """argmin_z mu f(z) + sum_i psi_i (z_i - u_i)^2 / 2, for psi > 0."""
