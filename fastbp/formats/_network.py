"""What every exporter sees of a model: its layers with their arrays, and what the outputs mean.

`describe` reads only public attributes, so that a model of any kind (Sequential, MLPClassifier, MLPRegressor) becomes
the same few tuples, and an exporter is one loop over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fastbp.layers import ACTIVATION_NAMES
from fastbp.notices import warn
from fastbp.tables.errors import InputError
from fastbp.tables.preprocessor import RECORD
from fastbp.validation import check_plain

__all__ = ["Affine", "Drop", "Network", "announce_preparation", "describe"]

Head = Literal["", "softmax", "sigmoid"]


@dataclass(frozen=True, slots=True)
class Affine:
    """f(x W + b): W (fan_in, fan_out) and b (fan_out,), C-contiguous copies or views of the model's dtype; f's name."""

    W: np.ndarray
    b: np.ndarray | None
    activation: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Dropout of this rate while training; nothing while predicting."""

    rate: float


@dataclass(frozen=True, slots=True)
class Network:
    """Layers in order, and the last step from outputs to probabilities: "softmax" or "sigmoid", "" without one."""

    layers: tuple[Affine | Drop, ...]
    head: Head
    dtype: np.dtype[Any]
    # Only of a classifier: its classes, and whether each output is a label of its own.
    classes: np.ndarray | None = None
    multilabel: bool = False

    @property
    def affine(self) -> Iterator[Affine]:
        """The layers that compute something while predicting."""
        return (layer for layer in self.layers if isinstance(layer, Affine))

    @property
    def sizes(self) -> list[int]:
        """Inputs, then the outputs of every layer."""
        weights = [layer.W for layer in self.affine]
        return [weights[0].shape[0], *(W.shape[1] for W in weights)]


def describe(model: Any, probabilities: bool | str = False) -> Network:
    """Return the layers of a model as arrays and names.

    Parameters
    ----------
    model : Sequential, or a fitted MLPClassifier or MLPRegressor
    probabilities : bool, "softmax" or "sigmoid"
        Whether the outputs are to become probabilities. True means what the classifier was trained with; for a
        Sequential, softmax over several outputs, sigmoid of a single one.

    Returns
    -------
    Network

    Raises
    ------
    TypeError
        `model` is none of these, or its class has a `predict` of its own.
    ValueError
        `probabilities` does not fit the model, or one of its activations is unknown.
    sklearn.exceptions.NotFittedError
        An estimator is not fitted.
    """
    if probabilities not in (False, True, "softmax", "sigmoid"):
        raise ValueError(f"probabilities must be True, False, 'softmax' or 'sigmoid', got {probabilities!r}")
    from fastbp.sequential import Sequential

    if isinstance(model, Sequential):
        check_plain(model, Sequential, ["predict"])
        announce_preparation(model, "the export of this model has no preprocessing in it: ")
        network = _of_sequential(model, probabilities)
    else:
        # scikit-learn takes a second to import: only when the model is no Sequential.
        from fastbp.estimators import MLPClassifier, MLPRegressor
        from fastbp.estimators.convert import PREDICTIONS

        if not isinstance(model, (MLPClassifier, MLPRegressor)):
            raise TypeError(
                "model must be a fastbp Sequential, MLPClassifier or MLPRegressor, "
                f"got {type(model).__module__}.{type(model).__qualname__}"
            )
        base = MLPClassifier if isinstance(model, MLPClassifier) else MLPRegressor
        check_plain(model, base, PREDICTIONS)
        network = _of_estimator(model, isinstance(model, MLPClassifier), probabilities)
    for layer in network.affine:
        if layer.activation not in ACTIVATION_NAMES:
            raise ValueError(
                f"cannot export the activation {layer.activation!r}: known are {', '.join(ACTIVATION_NAMES)}"
            )
    return network


def announce_preparation(model: Any, prefix: str) -> None:
    """Warn, if `fastbp train` made the model, that it takes prepared columns, and say how to prepare them."""
    if RECORD not in getattr(model, "metadata", {}):
        return
    from fastbp.tables import raw

    try:
        words = raw.description(raw.preprocessor_of(model))
    except InputError:
        return  # metadata of the user's own under that name
    warn(
        f"{prefix}made by `fastbp train`, it takes prepared columns, not raw ones: {words}. "
        "`from fastbp.tables.raw import predict`: predict(model, X) does both"
    )


def _affine(W: np.ndarray, b: np.ndarray | None, activation: str, dtype: np.dtype[Any]) -> Affine:
    # The engine's views may be strided; everything written to a file is not.
    bias = None if b is None else np.ascontiguousarray(b, dtype=dtype)
    return Affine(np.ascontiguousarray(W, dtype=dtype), bias, activation)


def _of_sequential(model: Any, probabilities: bool | str) -> Network:
    from fastbp.layers import Dense

    dtype = np.dtype(model.dtype)
    layers: list[Affine | Drop] = []
    arrays = zip(model.weights, model.biases, strict=True)
    for layer in model.layers:
        if isinstance(layer, Dense):
            layers.append(_affine(*next(arrays), layer.activation, dtype))
        else:
            layers.append(Drop(float(layer.rate)))
    head: Head = ""
    if probabilities:
        last = next(layer for layer in reversed(layers) if isinstance(layer, Affine))
        if last.activation != "identity":
            raise ValueError(
                f"probabilities={probabilities!r} needs a model whose last layer gives logits (activation 'identity'), "
                f"got {last.activation!r}"
            )
        if probabilities == "softmax" or (probabilities is True and last.W.shape[1] > 1):
            head = "softmax"
        else:
            head = "sigmoid"
    return Network(tuple(layers), head, dtype)


def _of_estimator(model: Any, classifier: bool, probabilities: bool | str) -> Network:
    from sklearn.utils.validation import check_is_fitted

    from fastbp.estimators.parameters import engine_activation

    check_is_fitted(model)
    # What predict computes in, given inputs of that dtype.
    dtype = np.dtype(model.dtype or np.result_type(*model.coefs_))
    hidden = len(model.coefs_) - 1
    names = [model.activation] * hidden if isinstance(model.activation, str) else list(model.activation)
    names = [engine_activation(name) for name in [*names, model.out_activation_]]
    heads: dict[str, Head] = {"softmax": "softmax", "sigmoid": "sigmoid"}
    trained: Head = heads.get(names[-1], "") if classifier else ""
    if isinstance(probabilities, str) and probabilities != trained:
        raise ValueError(
            f"probabilities={probabilities!r}, but this model was trained with {trained or 'none'!r}"
        )
    if probabilities and not classifier:
        raise ValueError("probabilities are for classifiers, got a regressor")
    if classifier:
        names[-1] = "identity"
    rates = list(np.broadcast_to(np.asarray(model.dropout, dtype=float), hidden))
    layers: list[Affine | Drop] = []
    for i, (W, b, name) in enumerate(zip(model.coefs_, model.intercepts_, names, strict=True)):
        layers.append(_affine(W, b, name, dtype))
        if i < hidden and rates[i] > 0:
            layers.append(Drop(float(rates[i])))
    if not classifier:
        return Network(tuple(layers), "", dtype)
    # scikit-learn's classifier keeps whether it saw several labels per row only in its binarizer.
    multilabel = model._label_binarizer.y_type_.startswith("multilabel")
    return Network(
        tuple(layers), trained if probabilities else "", dtype, np.asarray(model.classes_), multilabel
    )
