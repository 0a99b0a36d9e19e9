"""The numbers of one forward and one backward pass and of the update, as the reference computes them."""

from __future__ import annotations

from dataclasses import dataclass

from fastbp import reference as ref
from fastbp.explaining.problem import Problem

__all__ = ["Passage", "go"]


@dataclass(frozen=True, slots=True)
class Passage:
    """Every number of a step of gradient descent on a batch; ``[l]`` is a layer, ``[r]`` a row, ``[j]`` a unit.

    Attributes
    ----------
    layers : list of `fastbp.reference.Layer`      Before the update.
    v_in, v_out : list of list of rows             ``v_in[l][r][j]`` enters the unit, ``v_out[l][r][j]`` leaves it.
    loss : float                                   Of the batch, penalties included.
    values : list of float                         The loss of each row.
    slopes : list of rows                          d loss / d y_hat of every output of every row.
    delta : list of list of rows                   d loss / d v_in.
    felt : list of rows                            d loss / d x: delta(0), the error felt by the inputs.
    gradients : list of (matrix, row or None)      d loss / d W and d loss / d b, penalties included.
    updated : list of `fastbp.reference.Layer`     After the update.
    """

    layers: list[ref.Layer]
    v_in: list[ref.Matrix]
    v_out: list[ref.Matrix]
    loss: float
    values: ref.Row
    slopes: ref.Matrix
    delta: list[ref.Matrix]
    felt: ref.Matrix
    gradients: list[ref.Gradient]
    updated: list[ref.Layer]

    @property
    def y_hat(self) -> ref.Matrix:
        """What leaves the last layer."""
        return self.v_out[-1]


def go(problem: Problem, layers: list[ref.Layer], lr: float) -> Passage:
    """Go forward and backward through a network, and take a step.

    Parameters
    ----------
    problem : Problem
        The rows and the loss.
    layers : list of `fastbp.reference.Layer`
        The network.
    lr : float
        Learning rate.

    >>> layers, x, y = ref.example()
    >>> passage = go(Problem(layers, [x], [y]), layers, lr=0.5)
    >>> round(passage.loss, 6), round(passage.delta[1][0][0], 6)
    (0.108094, -0.115669)
    """
    n = len(problem.x)
    passes = [ref.forward(layers, x) for x in problem.x]
    y_hat = [row[-1][1] for row in passes]
    values = problem.values(y_hat)
    slopes = [[slope / n for slope in row] for row in problem.slopes(y_hat)]
    deltas, felt = [], []
    for x, row, error in zip(problem.x, passes, slopes, strict=True):
        delta, _, error_x = ref.backward(layers, x, row, error)
        deltas.append(delta)
        felt.append(error_x)
    gradients, _ = ref.pullback(layers, problem.x, slopes)
    gradients = [(ref.penalized(layer, dW), db) for layer, (dW, db) in zip(layers, gradients, strict=True)]
    depths = range(len(layers))
    return Passage(
        layers,
        [[row[depth][0] for row in passes] for depth in depths],
        [[row[depth][1] for row in passes] for depth in depths],
        ref.penalty(layers) + sum(values) / n,
        values,
        slopes,
        [[delta[depth] for delta in deltas] for depth in depths],
        felt,
        gradients,
        [ref.updated(layer, dW, db, lr) for layer, (dW, db) in zip(layers, gradients, strict=True)],
    )
