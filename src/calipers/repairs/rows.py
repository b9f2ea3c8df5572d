"""What a repair has to reach: linear constraints on the change of one affine layer."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Rows:
    """Constraints <left_r, G right_r> >= least_r on a change G (outputs, inputs) of an affine layer.

    A margin w_y . v - w_k . v at the features v has left = e_y - e_k and right = v; for a layer further in, left is
    the gradient of the margin at the layer's outputs. A layer with a bias has a last input of 1. sample: which of the
    user's samples a row belongs to.
    """

    left: Float[np.ndarray, "rows outputs"]
    right: Float[np.ndarray, "rows inputs"]
    least: Float[np.ndarray, " rows"]
    sample: Int[np.ndarray, " rows"]

    def __len__(self) -> int:
        return len(self.least)

    def __getitem__(self, index: np.ndarray) -> "Rows":
        return Rows(self.left[index], self.right[index], self.least[index], self.sample[index])

    def joined(self, other: "Rows") -> "Rows":
        """The rows of both, one after the other."""
        return Rows(
            np.concatenate([self.left, other.left]),
            np.concatenate([self.right, other.right]),
            np.concatenate([self.least, other.least]),
            np.concatenate([self.sample, other.sample]),
        )

    def at(self, change: Float[np.ndarray, "outputs inputs"]) -> Float[np.ndarray, " rows"]:
        """<left, G right> of every row."""
        return np.einsum("ro,ro->r", self.left, self.right @ change.T)

    def missing(self, change: Float[np.ndarray, "outputs inputs"]) -> Float[np.ndarray, " rows"]:
        """By how much each row falls short; at most 0 where it holds."""
        return self.least - self.at(change)


def no_rows(outputs: int, inputs: int) -> Rows:
    """Nothing to reach."""
    return Rows(np.zeros((0, outputs)), np.zeros((0, inputs)), np.zeros(0), np.zeros(0, dtype=np.int64))
