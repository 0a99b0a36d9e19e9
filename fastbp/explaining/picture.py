"""An explanation as a picture: the network forward, with what leaves each unit, and backward, with its delta."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastbp.explaining.entries import DOWNHILL
from fastbp.explaining.steps import Explanation
from fastbp.plot._diagram import Diagram
from fastbp.plot._style import Floats, require_matplotlib
from fastbp.validation import check_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["picture"]


def picture(explanation: Explanation, max_units: int = 10) -> Figure:
    """Draw the first step of an explanation, of its first row, side by side.

    Parameters
    ----------
    explanation : Explanation
    max_units : int
        Layers with more units are drawn in part.
    """
    check_count(max_units, "max_units", 2)
    require_matplotlib()
    from matplotlib.figure import Figure

    problem, passage = explanation.problem, explanation.passages[0]
    layers = passage.layers
    weights = [np.array(layer.W) for layer in layers]
    biases = [None if layer.b is None else np.array(layer.b) for layer in layers]
    no_biases: list[Floats | None] = [None] * len(layers)
    turn = -1.0 if explanation.sign == DOWNHILL else 1.0
    forward = [np.array(rows[0]) for rows in (problem.x, *passage.v_out)]
    backward = [turn * np.array(rows[0]) + 0.0 for rows in (passage.felt, *passage.delta)]
    names = [layer.activation for layer in layers]

    rows = min(max(problem.sizes), max_units)
    figure = Figure(figsize=(14.0, float(np.clip(1.0 + 1.1 * rows, 4.4, 8.0))), layout="constrained")
    axes = figure.subplots(1, 2)
    of = "" if problem.is_sample else f", row 1 of {len(problem.x)}"
    for ax, title, edges, bias, values, what, label in (
        (axes[0], f"forward: what leaves each unit{of}", weights, biases, forward, "weight", "v_out"),
        (
            axes[1],
            f"backward: delta of each unit{of}",
            [np.array(dW) for dW, _ in passage.gradients],
            no_biases,
            backward,
            "gradient",
            f"delta, {explanation.sign}",
        ),
    ):
        ax.set_title(title)
        drawing = Diagram(edges, bias, max_units)
        drawing.place(ax, None, None, colorbar=True)
        drawing.captions(ax, names, None, None)
        drawing.edges(ax, what)
        drawing.nodes(ax, values, label)
    return figure
