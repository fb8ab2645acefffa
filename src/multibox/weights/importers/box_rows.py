"""The order in which a box predictor gives the four numbers of a box, where it is TensorFlow's."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

X_FIRST = (1, 0, 3, 2)
"""Where dx, dy, dw, dh stand among TensorFlow's and MindCV's dy, dx, dh, dw, and the other way round."""


def x_first(rows: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
    """The rows of a box predictor's weight or bias, dy, dx, dh, dw for every shape, as dx, dy, dw, dh."""
    return rows.reshape(-1, 4, *rows.shape[1:])[:, list(X_FIRST)].reshape(rows.shape)
