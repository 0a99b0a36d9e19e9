"""The layout of parameters: made once per architecture and dtype, and never changed."""

import dataclasses

import numpy as np
import pytest

from fastbp.engine import Engine
from fastbp.engine.layout import layout_of
from fastbp.layers import Layer

LAYERS = [Layer(40, "relu"), Layer(1, use_bias=False)]


def test_one_layout_per_architecture():
    layout = layout_of(5, LAYERS, "float32")
    assert layout_of(5, tuple(LAYERS), np.float32) is layout
    assert Engine(5, LAYERS, "float32").layout is layout
    others = [
        layout_of(5, LAYERS, "float64"),
        layout_of(6, LAYERS, "float32"),
        layout_of(5, LAYERS[:1], "float32"),
        layout_of(5, LAYERS, "float32", 0.5),
    ]
    assert len({id(other) for other in [layout, *others]}) == 5


def test_it_cannot_be_changed():
    layout = layout_of(5, LAYERS, "float32")
    with pytest.raises(dataclasses.FrozenInstanceError):
        layout.size = 1
    with pytest.raises(ValueError, match="read-only"):
        layout.records[0, 0] = 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1, 1), (5, 40, 1), (3, 17, 9, 4), (200, 1), (64, 300, 7)])
def test_views_are_every_parameter_once(sizes, dtype):
    layers = [Layer(units, use_bias=k % 2 == 0) for k, units in enumerate(sizes[1:])]
    layout = layout_of(sizes[0], layers, dtype)
    flat = np.zeros(layout.size, dtype)
    weights, biases = layout.views(flat)
    assert [w.shape for w in weights] == list(zip(sizes, sizes[1:], strict=False))
    parts = [*weights, *(b for b in biases if b is not None)]
    for part in parts:
        part += 1.0
    assert set(flat.tolist()) <= {0.0, 1.0}
    assert flat.sum() == layout.n_parameters == sum(part.size for part in parts)
    assert layout.size <= layout.full_size


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, LAYERS, "float32"), ValueError, "n_inputs must be at least 1, got 0"),
        ((3, [], "float32"), ValueError, "at least one layer"),
        ((3, LAYERS, "float16"), TypeError, "dtype must be float32 or float64, got float16"),
        ((3, [Layer(0)], "float32"), ValueError, "layer 0 must have at least 1 unit, got 0"),
        ((3, [Layer(1, "swush")], "float32"), ValueError, "layer 0: unknown activation 'swush'; known are elu"),
        ((3, [Layer(1, dropout=1.0)], "float32"), ValueError, r"dropout of layer 0 must be in \[0, 1\), got 1.0"),
        ((3, LAYERS, "float32", -0.5), ValueError, r"input_dropout must be in \[0, 1\), got -0.5"),
    ],
)  # fmt: skip
def test_architectures_that_there_are_not(arguments, error, message):
    with pytest.raises(error, match=message):
        layout_of(*arguments)
