"""The worked example of the reference, computed with machine code that nobody on this machine has compiled.

A platform wheel brings compiled kernels. Before they are used, the loss and the gradient of the 3-2-1 network must be
those that the specification gives.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastbp import reference
from fastbp.engine.gradients import new_gradients
from fastbp.engine.layout import layout_of
from fastbp.engine.memory import aligned_zeros
from fastbp.engine.rows import NO_INDEX, NO_WEIGHTS
from fastbp.engine.workspace import EMPTY_ORDER, NO_RATES, Workspace
from fastbp.kernels import plan as p
from fastbp.layers import Layer
from fastbp.objectives import Objective

LOSS = "half_squared_error"
# Many units in the last place, and far below what a wrong instruction would do.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def fault(dtype: str, run: Callable[..., object]) -> str | None:
    """Return what is wrong with the numbers of a compiled `network.run` for a dtype, or None."""
    network, inputs, targets = reference.example()
    value, wanted, _ = reference.value_and_grad(network, [inputs], [targets], LOSS)
    layers = [Layer(len(layer.W[0]), layer.activation, use_bias=False) for layer in network]
    layout = layout_of(len(inputs), layers, dtype)
    params, grads = aligned_zeros(layout.full_size, layout.dtype), new_gradients(layout)
    for view, layer in zip(layout.views(params)[0], network, strict=True):
        view[...] = layer.W
    workspace = Workspace(layout, 1, Objective(LOSS))
    workspace.ask(workspace.question(p.GRADIENT, 0, 1, mass=1.0))
    x, y = np.array(inputs, layout.dtype), np.array(targets, layout.dtype)
    run(
        workspace.job,
        params,
        grads.theta,
        workspace.work,
        x,
        NO_INDEX,
        NO_INDEX,
        y,
        NO_WEIGHTS,
        EMPTY_ORDER,
        NO_RATES,
        workspace.out,
    )
    tolerance = TOLERANCE[dtype]
    if not np.isclose(workspace.losses[p.LOSS_SUM], value, rtol=tolerance, atol=0.0):
        return f"the loss of the 3-2-1 example is {workspace.losses[p.LOSS_SUM]:.9g}, expected {value:.9g} ({dtype})"
    for number, (found, (W, _)) in enumerate(zip(grads.weights, wanted, strict=True)):
        if not np.allclose(found, W, rtol=tolerance, atol=tolerance):
            return f"the gradient of layer {number} of the 3-2-1 example is wrong ({dtype})"
    return None
