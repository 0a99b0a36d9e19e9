"""Predictions of a few rows from weights as others keep them: nothing is copied, and each weight is read once.

An engine has its parameters in a layout of its own. Who holds them as plain arrays copies them into it before each
call, which reads and writes all of them. For a few rows of a large network that takes longer than the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastbp.engine.layout import Layout
from fastbp.engine.memory import Array, aligned_zeros, flat, stride
from fastbp.engine.rows import Rows
from fastbp.kernels import activations, plain
from fastbp.kernels import plan as p

# A copy reads and writes each weight, then the prediction reads it. So many readings of all weights take less.
READINGS = 3


def pays(layout: Layout, rows: Rows) -> bool:
    """Whether `predict` takes less time for these rows than to copy the weights."""
    first, *others = [place.fan_in * place.fan_out for place in layout.places]
    read = rows.values.size * layout.places[0].fan_out + rows.n * sum(others)
    return read <= READINGS * (first + sum(others))


def fits(layout: Layout, weights: Sequence[Array], biases: Sequence[Array]) -> bool:
    """Whether `predict` can read these arrays as they are: shapes and dtype of the layout, C-contiguous, aligned."""
    wanted = [(place.fan_in, place.fan_out) for place in layout.places]
    return (
        [w.shape for w in weights] == wanted
        and [b.shape for b in biases] == [(fan_out,) for _, fan_out in wanted]
        and all(
            a.dtype == layout.dtype and a.flags.c_contiguous and a.flags.aligned for a in (*weights, *biases)
        )
    )


def predict(layout: Layout, weights: Sequence[Array], biases: Sequence[Array], rows: Rows) -> Array:
    """Return the outputs (n, n_outputs) of a network whose layers all have a bias.

    The numbers are those of `Engine.predict` for several rows, bit for bit.

    Parameters
    ----------
    layout : Layout
    weights, biases : sequence of ndarray
        That `fits`.
    rows : Rows
        Made for this layout.
    """
    n, size = rows.n, layout.dtype.itemsize
    a, distance = rows.values, layout.n_inputs
    for record, layer, w, b in zip(layout.records, layout.layers, weights, biases, strict=True):
        ld = stride(layer.units, size)
        z = aligned_zeros(n * ld, layout.dtype)
        code, narrow = activations.CODES[layer.activation], bool(record[p.TRANSPOSED])
        if rows.sparse and a is rows.values:
            plain.forward_sparse(a, rows.indices, rows.indptr, flat(w), flat(b), narrow, code, z, ld, n)
        else:
            alone = narrow and int(record[p.T]) < 0
            plain.forward(a, distance, flat(w), flat(b), alone, code, z, ld, n)
        a, distance = z, ld
    return np.ascontiguousarray(a.reshape(n, distance)[:, : layout.n_outputs])
