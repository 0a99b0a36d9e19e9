"""What is explained: a network, one sample or a batch of them, and a loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbp import reference as ref
from fastbp.objectives import Objective
from fastbp.own import Loss

__all__ = ["EXAMPLE", "Problem", "layers_of", "made"]

EXAMPLE = [3, 2, 1]  # the sizes of the tutorial's network


@dataclass(frozen=True, slots=True)
class Problem:
    """A network, the rows of a batch, and a loss.

    Attributes
    ----------
    layers : list of `fastbp.reference.Layer`
    x, y : list of rows        One number per input, and one per output; class codes are one-hot rows.
    source : str               Where the weights come from, in words.
    notes : list of str        What a reader should know of them.
    objective : Objective      The loss; the mean over the rows is minimized.
    """

    layers: list[ref.Layer]
    x: ref.Matrix
    y: ref.Matrix
    source: str = ""
    notes: list[str] = field(default_factory=list)
    objective: Objective = Objective("half_squared_error")

    @property
    def sizes(self) -> list[int]:
        """Inputs, then the units of each layer."""
        return [len(self.layers[0].W), *(len(layer.W[0]) for layer in self.layers)]

    @property
    def is_sample(self) -> bool:
        """Whether there is one row: then vectors are columns, as in the tutorial."""
        return len(self.x) == 1

    def loss(self, layers: list[ref.Layer]) -> float:
        """The loss with other weights: the mean over the rows, and the penalties."""
        outputs = [ref.forward(layers, x)[-1][1] for x in self.x]
        return ref.penalty(layers) + sum(self.values(outputs)) / len(self.x)

    def values(self, outputs: ref.Matrix) -> ref.Row:
        """The loss of each row."""
        objective = self.objective
        if isinstance(objective, Loss):
            return [float(v) for v in objective.values(np.array(self.y), np.array(outputs))]
        loss = ref.LOSSES[objective.name]
        pairs = zip(outputs, self.y, strict=True)
        return [loss.value(y_hat, y, objective.parameter) for y_hat, y in pairs]

    def slopes(self, outputs: ref.Matrix) -> ref.Matrix:
        """How the loss of each row changes with each of its outputs."""
        objective = self.objective
        if isinstance(objective, Loss):
            slopes = objective.slopes(np.array(self.y), np.array(outputs))
            return [[float(slope) for slope in row] for row in slopes]
        loss = ref.LOSSES[objective.name]
        pairs = zip(outputs, self.y, strict=True)
        return [loss.delta(y_hat, y, objective.parameter) for y_hat, y in pairs]


def layers_of(model: Any) -> tuple[list[ref.Layer], list[str]]:
    """Return the layers of a model as the reference has them, and notes on what is left out.

    Parameters
    ----------
    model : Sequential, or a fitted MLPClassifier or MLPRegressor

    Raises
    ------
    TypeError
        `model` is none of these.
    sklearn.exceptions.NotFittedError
        An estimator is not fitted.

    >>> from fastbp.layers import Dense
    >>> from fastbp.sequential import Sequential
    >>> layers, notes = layers_of(Sequential([Dense(1, "tanh", initializer="zeros")], n_inputs=2))
    >>> layers
    [Layer(W=[[0.0], [0.0]], b=[0.0], activation='tanh', l1=0.0, l2=0.0)]
    """
    from fastbp.formats._network import Drop, describe

    network = describe(model)
    if network.classes is not None:
        network = describe(model, True)
    layers = [
        ref.Layer(layer.W.tolist(), None if layer.b is None else layer.b.tolist(), layer.activation)
        for layer in network.affine
    ]
    notes = []
    if network.head == "sigmoid":
        layers[-1] = layers[-1]._replace(activation="sigmoid")
    elif network.head == "softmax":
        notes.append("The outputs are the logits: softmax is no function of one unit.")
    penalties = any(
        getattr(layer, "l1", 0) or getattr(layer, "l2", 0) for layer in getattr(model, "layers", ())
    )
    if penalties or any(isinstance(layer, Drop) for layer in network.layers):
        notes.append("Dropout and penalties of the model are left out.")
    return layers, notes


def made(
    sizes: list[int], activations: list[str], *, bias: bool = False, seed: int | None = None
) -> tuple[list[ref.Layer], str]:
    """Make a network: the tutorial's, or one with random weights. Return its layers, and where they come from.

    Parameters
    ----------
    sizes : list of int              Inputs, then the units of each layer.
    activations : list of str        One per layer.
    bias : bool                      Whether units have biases, 0 at first.
    seed : int or None
        Of the weights, which are those of a `Sequential`. None: round numbers for the sizes of the tutorial, else 0.

    >>> made([3, 2, 1], ["sigmoid", "sigmoid"])[0] == ref.example()[0]
    True
    """
    if sizes == EXAMPLE and seed is None:
        layers = [layer._replace(b=[0.0] * len(layer.W[0]) if bias else None) for layer in ref.example()[0]]
        source = "The tutorial's sizes, with round numbers"
    else:
        from fastbp.layers import Dense
        from fastbp.sequential import Sequential

        seed = seed or 0
        dense = [Dense(n, use_bias=bias) for n in sizes[1:]]
        layers, _ = layers_of(Sequential(dense, n_inputs=sizes[0], dtype="float64", seed=seed))
        source = f"Random weights, seed {seed}"
    return [layer._replace(activation=name) for layer, name in zip(layers, activations, strict=True)], source
