"""The pieces of a `Sequential`: `Dense` and `Dropout`. They describe a model; the engine holds its numbers.

`plan_layers` turns them into `Layer` entries, which is what an engine is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastbp.formats._schema as schema
from fastbp import initializers
from fastbp.reference import ACTIVATIONS
from fastbp.spellings.activations import NAMES
from fastbp.spellings.names import with_names
from fastbp.validation import check_count, check_number

__all__ = [
    "ACTIVATION_NAMES",
    "Dense",
    "Dropout",
    "Layer",
    "check_arrays",
    "layer_from_config",
    "plan_layers",
]

ACTIVATION_NAMES = tuple(sorted(ACTIVATIONS))


@dataclass(frozen=True, slots=True)
class Dense:
    """Fully connected layer: ``a = f(x W + b)`` with W of shape (fan_in, units).

    Parameters
    ----------
    units : int
        Number of outputs, >= 1.
    activation : str
        f. There is no softmax: the last layer gives logits and the loss ``cross_entropy`` contains it. Names that
        other libraries have for the same function are taken, in any case ("swish", "LeakyReLU", "logistic"); the layer
        keeps ours. One of
        {activations}
    use_bias : bool
        Whether b exists; it starts at zero.
    initializer : str or Initializer
        Where W starts, for example ``"he_normal"`` or ``"normal(0.02)"``; see `fastbp.initializers`.
    l1, l2 : float
        Penalty ``l1 sum|W| + l2 sum W^2`` added to the loss (Keras' convention: no factor 1/2; b is not
        penalized).

    >>> Dense(64, "relu", l2=1e-4).units
    64
    """

    __module__ = "fastbp"

    units: int
    activation: str = "identity"
    use_bias: bool = field(default=True, kw_only=True)
    initializer: str | initializers.Initializer = field(default="glorot_uniform", kw_only=True)
    l1: float = field(default=0.0, kw_only=True)
    l2: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        """Check every argument, so that the error comes from the line that made the layer."""
        # object.__setattr__ is the way to normalize a field of a frozen dataclass (NumPy integers become int).
        object.__setattr__(self, "units", check_count(self.units, "Dense: units"))
        given = "identity" if self.activation is None else self.activation
        object.__setattr__(self, "activation", NAMES.check(given, "Dense: activation"))
        if not isinstance(self.use_bias, bool):
            raise TypeError(f"Dense: use_bias must be True or False, got {self.use_bias!r}")
        object.__setattr__(self, "initializer", str(initializers.get(self.initializer)))
        object.__setattr__(self, "l1", check_number(self.l1, "Dense: l1", 0.0))
        object.__setattr__(self, "l2", check_number(self.l2, "Dense: l2", 0.0))

    def to_config(self) -> dict[str, Any]:
        """Return the layer as a dict of JSON types; `layer_from_config` reads it back.

        >>> layer_from_config(Dense(3, "tanh").to_config())
        Dense(units=3, activation='tanh', use_bias=True, initializer='glorot_uniform', l1=0.0, l2=0.0)
        """
        return {
            "class": "Dense",
            "units": self.units,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "initializer": str(self.initializer),
            "l1": self.l1,
            "l2": self.l2,
        }


Dense.__doc__ = with_names(Dense.__doc__, {"activations": ACTIVATION_NAMES})


@dataclass(frozen=True, slots=True)
class Dropout:
    """Inverted dropout of the values that pass here, in training only (Srivastava et al., 2014).

    Each value becomes 0 with probability `rate` and is divided by ``1 - rate`` otherwise, so that its mean is
    unchanged and prediction needs no correction. As the first layer it drops inputs; as the last one it is
    refused.

    Parameters
    ----------
    rate : float
        In [0, 1).

    >>> Dropout(0.5)
    Dropout(rate=0.5)
    """

    __module__ = "fastbp"

    rate: float

    def __post_init__(self) -> None:
        """Check the rate."""
        object.__setattr__(self, "rate", check_number(self.rate, "Dropout: rate", 0.0, 1.0, open_high=True))

    def to_config(self) -> dict[str, Any]:
        """Return the layer as a dict of JSON types."""
        return {"class": "Dropout", "rate": self.rate}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as the engine takes it: a = f(x W + b), the penalty l1 sum |W| + l2 sum W^2, dropout of a."""

    units: int
    activation: str = "identity"
    use_bias: bool = True
    l1: float = 0.0
    l2: float = 0.0
    dropout: float = 0.0


def layer_from_config(config: dict[str, Any]) -> Dense | Dropout:
    """Make a layer from the dict that its `to_config` gave.

    >>> layer_from_config({"class": "Dropout", "rate": 0.1})
    Dropout(rate=0.1)
    """
    arguments = dict(config)
    kind = arguments.pop("class", None)
    if kind == "Dense":
        return Dense(**arguments)
    if kind == "Dropout":
        return Dropout(**arguments)
    raise ValueError(f"layer class must be 'Dense' or 'Dropout', got {kind!r}")


def plan_layers(layers: Sequence[Dense | Dropout]) -> tuple[list[Layer], float]:
    """Fold the dropouts into the layers before them: the engine's layers, and the dropout of the inputs.

    Two dropouts in a row are one: a value survives both with probability ``(1 - r1)(1 - r2)``.
    """
    units: list[Dense] = []
    rates = [0.0]
    for index, layer in enumerate(layers):
        if isinstance(layer, Dense):
            units.append(layer)
            rates.append(0.0)
        elif isinstance(layer, Dropout):
            rates[-1] = 1.0 - (1.0 - rates[-1]) * (1.0 - layer.rate) if rates[-1] else layer.rate
        else:
            raise TypeError(
                f"layer {index} must be a Dense or a Dropout, got {layer!r} ({type(layer).__name__})"
            )
    if not units:
        raise ValueError(f"a model needs at least one Dense layer, got {list(layers)!r}")
    if isinstance(layers[-1], Dropout):
        raise ValueError(
            f"layer {len(layers) - 1} (Dropout) comes last: it would drop the model's outputs, not features"
        )
    planned = [
        Layer(
            units=layer.units,
            activation=layer.activation,
            use_bias=layer.use_bias,
            l1=layer.l1,
            l2=layer.l2,
            dropout=rate,
        )
        for layer, rate in zip(units, rates[1:], strict=True)
    ]
    return planned, rates[0]


def check_arrays(sizes: Sequence[Any], weights: Any, biases: Any, dtype: Any) -> None:
    """Raise a ValueError unless the arrays are the parameters of a network of these sizes, all of one dtype."""
    for size in sizes:
        schema.integer(1)(size, "the size of a layer")
    schema.one_of("float32", "float64")(dtype, "the dtype")
    if not len(weights) == len(biases) == len(sizes) - 1 > 0:
        raise ValueError(f"{len(sizes) - 1} layers, but {len(weights)} weights and {len(biases)} biases")
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        for array, shape, name in ((W, (sizes[i], sizes[i + 1]), "weights"), (b, (sizes[i + 1],), "biases")):
            if array is None and name == "biases":
                continue
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
                found = (
                    f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                )
                raise ValueError(f"the {name} of layer {i} must be {dtype} {shape}, got {found}")
