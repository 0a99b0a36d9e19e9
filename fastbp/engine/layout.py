"""The places of a network's parameters in one flat buffer, worked out once per architecture and dtype.

Each layer's weights are rows padded to whole cache lines: W (fan_in, fan_out), or its transpose if that takes much less
room. The bias follows. Behind the parameters come copies of the weights in the other orientation, which the kernels
bring up to date themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbp.engine.memory import Array, stride
from fastbp.kernels import activations
from fastbp.kernels import plan as p
from fastbp.layers import ACTIVATION_NAMES, Layer

BLOCK_BYTES = 16384  # weights of one block: its gradient, state and parameters stay in the nearest caches
WIDE_BYTES = 16384  # blocks of longer rows are twice as high, since each block reads all deltas
TRANSPOSE_RATIO = 2  # W' is stored if that shrinks a layer's padded size by this factor
STACK_BYTES = 1 << 16  # a single row's workspace is on the stack, of which a thread may have only 128 kB


class Place(NamedTuple):
    """The place of one layer: offsets of its weights and its bias (-1: none), and the shape of the weights."""

    weights: int
    row: int
    bias: int
    fan_in: int
    fan_out: int
    transposed: int


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The layout of a network's parameters; `layout_of` makes it.

    Attributes
    ----------
    n_inputs, n_outputs : int
    layers : tuple of Layer
    dtype : numpy.dtype
        float32 or float64.
    input_dropout : float
    records : ndarray (layers, plan.RECORD), int64, read-only
        What the kernels must know of each layer; a `Workspace` adds the places of activations.
    size : int
        Numbers in theta, padding included.
    full_size : int
        The same with the transposed copies behind.
    n_blocks : int
        Blocks of weights, in all layers.
    n_parameters : int
        Weights and biases, padding not counted.
    flops_per_row : float
        Floating-point operations per row of forward, backward and weight gradient, without the inputs' delta.
    largest_matrix : int
        Bytes of the largest W, or of its transposed copy.
    places : tuple of Place
    on_stack : bool
        Whether the workspace of a single row fits on the stack of any thread.
    """

    n_inputs: int
    n_outputs: int
    layers: tuple[Layer, ...]
    dtype: np.dtype[Any]
    input_dropout: float
    records: Array
    size: int
    full_size: int
    n_blocks: int
    n_parameters: int
    flops_per_row: float
    largest_matrix: int
    places: tuple[Place, ...]
    on_stack: bool

    def views(self, flat: Array) -> tuple[list[Array], list[Array | None]]:
        """Return weights (fan_in, fan_out) and biases (fan_out,) as views into an array laid out as theta."""
        weights: list[Array] = []
        biases: list[Array | None] = []
        size = flat.itemsize
        for start, row, bias, fan_in, fan_out, transposed in self.places:
            strides = (size, row * size) if transposed else (row * size, size)
            weights.append(np.ndarray((fan_in, fan_out), flat.dtype, flat, start * size, strides))
            biases.append(flat[bias : bias + fan_out] if bias >= 0 else None)
        return weights, biases


def layout_of(n_inputs: int, layers: Sequence[Layer], dtype: Any, input_dropout: float = 0.0) -> Layout:
    """Return the layout of an architecture; the same one for the same arguments.

    Raises
    ------
    TypeError, ValueError
        An architecture or dtype that the kernels do not have.
    """
    resolved = np.dtype(dtype)
    if resolved not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype must be float32 or float64, got {resolved}")
    if n_inputs < 1:
        raise ValueError(f"n_inputs must be at least 1, got {n_inputs}")
    if not layers:
        raise ValueError("layers must hold at least one layer")
    return _layout_of(int(n_inputs), tuple(layers), resolved, float(input_dropout))


@functools.lru_cache(maxsize=256)
def _layout_of(
    n_inputs: int, layers: tuple[Layer, ...], dtype: np.dtype[Any], input_dropout: float
) -> Layout:
    _check_rate("input_dropout", input_dropout)
    for number, layer in enumerate(layers):
        if layer.units < 1:
            raise ValueError(f"layer {number} must have at least 1 unit, got {layer.units}")
        if layer.activation not in ACTIVATION_NAMES:
            raise ValueError(
                f"layer {number}: unknown activation {layer.activation!r}; known are {', '.join(ACTIVATION_NAMES)}"
            )
        _check_rate(f"dropout of layer {number}", layer.dropout)
    itemsize = dtype.itemsize
    records = np.zeros((len(layers), p.RECORD), np.int64)
    size, n_blocks = _place_parameters(records, n_inputs, layers, itemsize)
    full_size = _place_copies(records, size, itemsize)
    records.flags.writeable = False
    # Plain numbers: reading them out of the records takes longer than a small network's gradient.
    places = tuple(
        Place._make(int(v) for v in record[[p.W, p.LDW, p.B, p.FAN_IN, p.FAN_OUT, p.TRANSPOSED]])
        for record in records
    )
    first, *rest = [place.fan_in * place.fan_out for place in places]
    units = 2 * n_inputs + 4 * sum(layer.units for layer in layers)
    return Layout(
        n_inputs=n_inputs,
        n_outputs=int(layers[-1].units),
        layers=layers,
        dtype=dtype,
        input_dropout=input_dropout,
        records=records,
        size=size,
        full_size=full_size,
        n_blocks=n_blocks,
        n_parameters=first + sum(rest) + sum(place.fan_out for place in places if place.bias >= 0),
        flops_per_row=4.0 * first + 6.0 * sum(rest),
        largest_matrix=max(int(record[p.LDW]) * int(record[p.LDT]) for record in records) * itemsize,
        places=places,
        on_stack=units * itemsize < STACK_BYTES,
    )


@functools.lru_cache(maxsize=256)
def positions(layout: Layout) -> Array:
    """Return the place of each parameter in a flat buffer: W of layer 0 row by row, its b, W of layer 1 ..."""
    weights, biases = layout.views(np.arange(layout.size))
    parts = [view.ravel() for pair in zip(weights, biases, strict=True) for view in pair if view is not None]
    where = np.concatenate(parts)
    where.flags.writeable = False
    return where


def _place_parameters(
    records: Array, n_inputs: int, layers: Sequence[Layer], itemsize: int
) -> tuple[int, int]:
    """Give weights and biases their places, cut the weights into blocks; return the size of theta and the blocks."""
    offset = block = 0
    fan_in = n_inputs
    for record, layer in zip(records, layers, strict=True):
        fan_out = layer.units
        plain = fan_in * stride(fan_out, itemsize)
        turned = fan_out * stride(fan_in, itemsize)
        transposed = plain > TRANSPOSE_RATIO * turned
        rows, columns = (fan_out, fan_in) if transposed else (fan_in, fan_out)
        record[p.FAN_IN], record[p.FAN_OUT], record[p.TRANSPOSED] = fan_in, fan_out, transposed
        record[p.W], record[p.LDW] = offset, stride(columns, itemsize)
        offset += rows * int(record[p.LDW])
        record[p.B] = offset if layer.use_bias else -1
        offset += stride(fan_out, itemsize) if layer.use_bias else 0
        record[p.ACTIVATION] = activations.CODES[layer.activation]
        # Multiples of 48 rows suit tiles of 6 and of 8 rows and squares of 4, 8 and 16.
        row_bytes = int(record[p.LDW]) * itemsize
        height = 48 * max(2 if row_bytes >= WIDE_BYTES else 1, BLOCK_BYTES // (48 * row_bytes))
        record[p.BLOCK_ROWS], record[p.FIRST_BLOCK] = height, block
        record[p.BLOCKS] = -(-rows // height)
        block += int(record[p.BLOCKS])
        fan_in = fan_out
    return offset, block


def _place_copies(records: Array, offset: int, itemsize: int) -> int:
    """Give the transposed copies their places from `offset` on; return the offset behind them."""
    for number, record in enumerate(records):
        rows = int(record[p.FAN_OUT] if record[p.TRANSPOSED] else record[p.FAN_IN])
        if number > 0 and rows == 1 and record[p.TRANSPOSED]:
            # One output: both products read the one row of W' as it is, so no copy is needed.
            record[p.T] = -1
            continue
        record[p.T], record[p.LDT] = offset, stride(rows, itemsize)
        offset += int(record[p.LDW]) * int(record[p.LDT])
    return offset


def _check_rate(name: str, rate: float) -> None:
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"{name} must be in [0, 1), got {rate}")
