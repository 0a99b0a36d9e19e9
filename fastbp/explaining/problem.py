"""What is explained: a network and one sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastbp import reference as ref

__all__ = ["Problem", "layers_of"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A network and one sample.

    Attributes
    ----------
    layers : list of `fastbp.reference.Layer`
    x, y : list of float       The sample: one number per input, and one per output.
    source : str               Where the weights come from, in words.
    notes : list of str        What a reader should know of them.
    """

    layers: list[ref.Layer]
    x: ref.Row
    y: ref.Row
    source: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def sizes(self) -> list[int]:
        """Inputs, then the units of each layer."""
        return [len(self.layers[0].W), *(len(layer.W[0]) for layer in self.layers)]

    def loss(self, layers: list[ref.Layer]) -> float:
        """The loss of the sample with other weights."""
        return ref.LOSSES["half_squared_error"].value(ref.forward(layers, self.x)[-1][1], self.y)


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
