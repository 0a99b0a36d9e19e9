"""What `fastbp explain` explains: a network from options or a file, and one sample."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastbp import reference as ref
from fastbp.tables.errors import InputError

__all__ = ["Problem", "read"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is explained."""

    layers: list[ref.Layer]
    x: ref.Row
    y: ref.Row
    source: str
    notes: list[str]

    @property
    def sizes(self) -> list[int]:
        """Inputs, then the units of each layer."""
        return [len(self.layers[0].W), *(len(layer.W[0]) for layer in self.layers)]

    def loss(self, layers: list[ref.Layer]) -> float:
        """The loss of the sample with other weights."""
        return ref.LOSSES["half_squared_error"].value(ref.forward(layers, self.x)[-1][1], self.y)


def read(arguments: argparse.Namespace) -> Problem:
    """Make the network and the sample of what was typed.

    Raises
    ------
    InputError
        Options or the contents of a file that do not fit together.
    fastbp.formats.FormatError, OSError
        The file of a model cannot be read.

    >>> options = dict.fromkeys(("sizes", "activation", "bias", "seed", "weights", "input", "target"))
    >>> read(argparse.Namespace(**options)).sizes
    [3, 2, 1]
    """
    document: dict[str, Any] = {}
    notes: list[str] = []
    if arguments.weights is not None:
        for option in ("sizes", "seed"):
            if getattr(arguments, option) is not None:
                raise InputError(f"--weights brings the network: leave out --{option}")
        if arguments.bias:
            raise InputError("--weights brings the biases: leave out --bias")
        path = Path(arguments.weights)
        if path.suffix == ".json":
            document = _read_json(path)
            layers = _layers_of_json(document, arguments.activation, path)
        else:
            if arguments.activation is not None:
                raise InputError("a saved model knows its activations: leave out --activation")
            layers, notes = _layers_of_model(path)
        source = f"Weights from {path}"
    else:
        layers, source = _layers_of_options(arguments)
    example = ref.example()
    sizes = [len(layers[0].W), *(len(layer.W[0]) for layer in layers)]
    x = arguments.input if arguments.input is not None else document.get("input")
    y = arguments.target if arguments.target is not None else document.get("target")
    if x is None:
        x = [example[1][i % 3] for i in range(sizes[0])]
    if y is None:
        y = [float(k == 0) for k in range(sizes[-1])]
    for name, values, size, kind in (("input", x, sizes[0], "inputs"), ("target", y, sizes[-1], "outputs")):
        if not _is_row(values) or len(values) != size:
            found = f"{len(values)} numbers" if _is_row(values) else repr(values)[:40]
            raise InputError(f"{name}: the network has {size} {kind}, got {found}")
    return Problem(layers, [float(v) for v in x], [float(v) for v in y], source, notes)


def _layers_of_options(arguments: argparse.Namespace) -> tuple[list[ref.Layer], str]:
    sizes = arguments.sizes or [3, 2, 1]
    if len(sizes) < 2:
        raise InputError(f"--sizes needs the inputs and at least one layer, as in 3,2,1; got {sizes[0]}")
    names = _per_layer(arguments.activation or ["sigmoid"], len(sizes) - 1)
    if sizes == [3, 2, 1] and arguments.seed is None:
        layers = [
            layer._replace(b=[0.0] * len(layer.W[0]) if arguments.bias else None)
            for layer in ref.example()[0]
        ]
        source = "The tutorial's sizes, with round numbers"
    else:
        from fastbp.layers import Dense
        from fastbp.sequential import Sequential

        seed = arguments.seed or 0
        dense = [Dense(n, use_bias=arguments.bias) for n in sizes[1:]]
        net = Sequential(dense, n_inputs=sizes[0], dtype="float64", seed=seed)
        pairs = zip(net.weights, net.biases, strict=True)
        layers = [ref.Layer(W.tolist(), None if b is None else b.tolist()) for W, b in pairs]
        source = f"Random weights, seed {seed}"
    return [layer._replace(activation=name) for layer, name in zip(layers, names, strict=True)], source


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bad UTF-8 included
        raise InputError(f"{path}: not JSON: {error}") from None
    if (
        not isinstance(document, dict)
        or not isinstance(document.get("weights"), list)
        or not document["weights"]
    ):
        raise InputError(f'{path}: expected an object with "weights", a list of matrices')
    return document


def _layers_of_json(document: dict[str, Any], given: list[str] | None, path: Path) -> list[ref.Layer]:
    weights = document["weights"]
    biases = document.get("biases") or [None] * len(weights)
    names = document.get("activations", document.get("activation"))
    if names is not None and given is not None:
        raise InputError(f"{path} names the activations: leave out --activation")
    names = names or given or ["sigmoid"]
    names = _per_layer([names] if isinstance(names, str) else names, len(weights))
    if not isinstance(biases, list) or len(biases) != len(weights):
        raise InputError(f'{path}: "biases" must be a list of {len(weights)}, rows or null, one per matrix')
    layers: list[ref.Layer] = []
    for depth, (W, b, name) in enumerate(zip(weights, biases, names, strict=True)):
        good = isinstance(W, list) and W and all(_is_row(row) and row and len(row) == len(W[0]) for row in W)
        if not good:
            raise InputError(f"{path}: weights[{depth}] must be a list of rows of equally many numbers")
        if layers and len(W) != len(layers[-1].W[0]):
            have, want = len(W), len(layers[-1].W[0])
            raise InputError(
                f"{path}: weights[{depth}] has {have} rows, but the layer before has {want} units"
            )
        if b is not None and not (_is_row(b) and len(b) == len(W[0])):
            raise InputError(f"{path}: biases[{depth}] must be null or {len(W[0])} numbers")
        layers.append(
            ref.Layer(
                [[float(w) for w in row] for row in W], None if b is None else [float(v) for v in b], name
            )
        )
    return layers


def _layers_of_model(path: Path) -> tuple[list[ref.Layer], list[str]]:
    from fastbp.formats import load

    model: Any = load(path)
    notes = []
    if hasattr(model, "coefs_"):
        names = {"logistic": "sigmoid", "softmax": "identity"}
        hidden = (
            [model.activation] * (len(model.coefs_) - 1)
            if isinstance(model.activation, str)
            else model.activation
        )
        activations = [names.get(name, name) for name in [*hidden, model.out_activation_]]
        if model.out_activation_ == "softmax":
            notes.append("The outputs are the logits: softmax is no function of one unit.")
        weights, biases = model.coefs_, model.intercepts_
    elif hasattr(model, "engine"):
        activations = [layer.activation for layer in model.engine.layers]
        weights, biases = model.weights, model.biases
        if any(layer.dropout or layer.l1 or layer.l2 for layer in model.engine.layers):
            notes.append("Dropout and penalties of the model are left out.")
    else:
        raise InputError(f"{path}: the model in it is not fitted")
    triples = zip(weights, biases, activations, strict=True)
    return [
        ref.Layer(W.tolist(), None if b is None else b.tolist(), str(name)) for W, b, name in triples
    ], notes


def _per_layer(names: Any, n: int) -> list[str]:
    if not isinstance(names, list) or not all(
        isinstance(name, str) and name in ref.ACTIVATIONS for name in names
    ):
        raise InputError(f"activation must be of {', '.join(ref.ACTIVATIONS)}, got {names!r}")
    if len(names) not in (1, n):
        raise InputError(f"activation: expected one name or {n}, one per layer, got {len(names)}")
    return names * n if len(names) == 1 else names


def _is_row(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )
