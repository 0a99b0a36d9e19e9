"""An explanation as JSON: every number with all its digits. Its weights can be read back."""

from __future__ import annotations

import math
from typing import Any

from fastbp import reference as ref
from fastbp.explaining.entries import SIGNS
from fastbp.explaining.steps import Explanation
from fastbp.spellings.activations import NAMES

__all__ = ["is_row", "layers_in", "per_layer", "write"]


def write(explanation: Explanation, agreement: dict[str, float]) -> dict[str, Any]:
    """Return an explanation as a dict of JSON types.

    Parameters
    ----------
    explanation : Explanation
    agreement : dict of str to float
        How far the kernels' numbers are from it.
    """
    problem = explanation.problem
    return {
        "sizes": problem.sizes,
        "activations": [layer.activation for layer in problem.layers],
        "weights": [layer.W for layer in problem.layers],
        "biases": [layer.b for layer in problem.layers],
        "input": problem.x[0] if problem.is_sample else problem.x,
        "target": problem.y[0] if problem.is_sample else problem.y,
        "learning_rate": explanation.lr,
        "source": problem.source,
        "notes": [*problem.notes, SIGNS[explanation.sign]],
        "steps": [
            [{"part": e.part, "name": e.name, "formula": e.formula, "value": e.value} for e in entries]
            for entries in explanation.steps
        ],
        "loss_after": problem.loss(explanation.layers),
        "kernels": {"dtype": "float64", "largest_difference": agreement},
    }


def layers_in(document: dict[str, Any], activations: list[str] | None = None) -> list[ref.Layer]:
    """Return the layers that a document describes by ``weights``, ``biases`` and ``activations``.

    Parameters
    ----------
    document : dict
        JSON types. Without ``biases`` the layers have none.
    activations : list of str, optional
        One name or one per layer, for a document that names none; without both, sigmoid.

    Raises
    ------
    ValueError
        The document does not describe a network; the message names the part.

    >>> layers_in({"weights": [[[1, 2]]], "activations": ["relu"]})
    [Layer(W=[[1.0, 2.0]], b=None, activation='relu', l1=0.0, l2=0.0)]
    """
    weights = document.get("weights")
    if not isinstance(weights, list) or not weights:
        raise ValueError('expected an object with "weights", a list of matrices')
    biases = document.get("biases") or [None] * len(weights)
    if not isinstance(biases, list) or len(biases) != len(weights):
        raise ValueError(f'"biases" must be a list of {len(weights)}, rows or null, one per matrix')
    names = document.get("activations", document.get("activation")) or activations or ["sigmoid"]
    names = per_layer([names] if isinstance(names, str) else names, len(weights))
    layers: list[ref.Layer] = []
    for depth, (W, b, name) in enumerate(zip(weights, biases, names, strict=True)):
        good = isinstance(W, list) and W and all(is_row(row) and row and len(row) == len(W[0]) for row in W)
        if not good:
            raise ValueError(f"weights[{depth}] must be a list of rows of equally many numbers")
        if layers and len(W) != len(layers[-1].W[0]):
            have, want = len(W), len(layers[-1].W[0])
            raise ValueError(f"weights[{depth}] has {have} rows, but the layer before has {want} units")
        if b is not None and not (is_row(b) and len(b) == len(W[0])):
            raise ValueError(f"biases[{depth}] must be null or {len(W[0])} numbers")
        bias = None if b is None else [float(v) for v in b]
        layers.append(ref.Layer([[float(w) for w in row] for row in W], bias, name))
    return layers


def per_layer(names: Any, n: int) -> list[str]:
    """Return n names of activations, from n of them or from one for all layers.

    Raises
    ------
    ValueError
        A name is unknown, or they are of another number.

    >>> per_layer(["tanh"], 2)
    ['tanh', 'tanh']
    """
    if not isinstance(names, list):
        raise ValueError(f"activation must be a name or a list of names, got {names!r:.80}")
    found = [NAMES.check(name, "activation") for name in names]
    if len(found) not in (1, n):
        raise ValueError(f"activation: expected one name or {n}, one per layer, got {len(found)}")
    return found * n if len(found) == 1 else found


def is_row(values: Any) -> bool:
    """Whether JSON gave a list of finite numbers.

    >>> is_row([1, 2.5]), is_row([True]), is_row("12")
    (True, False, False)
    """
    return isinstance(values, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )
