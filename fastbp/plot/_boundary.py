"""What a classifier of two features predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbp.arrays import refuse_masked, to_real
from fastbp.plot._style import (
    COLORS,
    MARKERS,
    NEGATIVE,
    POSITIVE,
    Floats,
    check_labels,
    colorbar,
    diverging,
    own_or_new,
)
from fastbp.reference import ACTIVATIONS
from fastbp.validation import check_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def decision_boundary(
    model: Any,
    X: Any,
    y: Any,
    *,
    labels: Sequence[str] | None = None,
    output: str = "auto",
    resolution: int = 200,
    ax: Axes | None = None,
) -> Axes:
    """Draw the classes a model sees in the plane, shaded by probability, with the data.

    Parameters
    ----------
    model : classifier or Sequential
        A fitted classifier (``predict_proba``, or else ``predict``), or a network with one output
        (two classes) or one output per class.
    X : array or data frame, shape (n, 2)
        A data frame's column names become the axis labels.
    y : array, shape (n,), or one-hot (n, n_classes)
        For a network of several outputs the codes 0 ... n_classes - 1; else any two values, the
        greater of which is the class the output stands for.
    labels : sequence of str, optional
        Names of the classes, in their sorted order.
    output : {"auto", "logits", "probabilities", "signs"}
        What a network's outputs are. "auto" looks at the last activation: sigmoid gives
        probabilities, tanh signs (-1 and 1), everything else logits, as the losses
        ``binary_cross_entropy`` and ``cross_entropy`` take them. A linear output trained with
        ``mse`` towards 0 and 1 is "probabilities".
    resolution : int
        Points per axis.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If the model has neither ``predict_proba`` nor ``predict``, or X holds no numbers.
    ValueError
        If X does not have two columns, y does not have as many rows or holds a class that the model does
        not know, or an argument is not one of its choices.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import plot
    >>> class Right:
    ...     classes_ = np.array(["left", "right"])
    ...     def predict_proba(self, X):
    ...         p = 1 / (1 + np.exp(-X[:, 0]))
    ...         return np.stack([1 - p, p], axis=1)
    >>> y = ["left", "left", "right"]
    >>> ax = plot.decision_boundary(Right(), [[-1, 0], [-2, 1], [1, 0]], y)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['left', 'right']
    """
    if not (hasattr(model, "predict_proba") or hasattr(model, "predict")):
        raise TypeError(f"model must have predict_proba or predict, but {type(model).__name__} has neither")
    if output not in ("auto", "logits", "probabilities", "signs"):
        raise ValueError(f'output must be "auto", "logits", "probabilities" or "signs", got {output!r}')
    check_count(resolution, "resolution", 2)
    points = np.asarray(to_real(X, "X"), dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"X must have shape (n, 2), a model of two features, got {points.shape}")
    if len(points) == 0 or not np.isfinite(points).all():
        raise ValueError("X must have at least one row and only finite values")

    margin = 0.12 * np.ptp(points, axis=0)
    margin[margin == 0] = 1.0
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    u, v = (np.linspace(low[axis], high[axis], resolution) for axis in (0, 1))
    grid = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
    # the data are predicted in the same call, which tells which of them are on the wrong side
    probabilities, classes = _probabilities(model, _like(X, np.concatenate([grid, points]), model), output)
    codes, classes = _codes(y, len(points), classes, probabilities.shape[1])
    names = list(map(_name, classes)) if labels is None else check_labels(labels, len(classes), "classes")
    right = probabilities[len(grid) :].argmax(axis=1) == codes
    field = probabilities[: len(grid)].reshape(resolution, resolution, -1)

    ax = own_or_new(ax, (6.4, 4.8))
    if len(names) == 2:
        _two(ax, u, v, field[:, :, 1], names)
    else:
        _many(ax, u, v, field)
    _scatter(ax, points, codes, right, names)
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    columns = [str(name) for name in getattr(X, "columns", ("$x_1$", "$x_2$"))]
    ax.set_xlabel(columns[0])
    ax.set_ylabel(columns[1])
    return ax


def _like(X: Any, points: Floats, model: Any) -> Any:
    """``points`` as the model had X: with the same column names, or in the network's dtype."""
    if hasattr(X, "columns"):
        return type(X)({name: points[:, column] for column, name in enumerate(X.columns)})
    dtype = getattr(model, "dtype", None) if hasattr(model, "weights") else None
    return np.ascontiguousarray(points, dtype=np.float64 if dtype is None else np.dtype(dtype))


def _probabilities(model: Any, X: Any, output: str) -> tuple[Floats, NDArray[Any] | None]:
    """Probability of each class (n, n_classes), and the classes if the model knows them."""
    classes = getattr(model, "classes_", None)
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(X), dtype=np.float64), classes
    raw = np.asarray(model.predict(X))
    if classes is not None:  # a classifier without probabilities: regions of one color
        return np.asarray(raw[:, None] == np.asarray(classes)[None, :], dtype=np.float64), classes
    if not hasattr(model, "weights"):
        raise ValueError(
            f"model must be a fitted classifier or a network, but {type(model).__name__} has no classes_"
        )
    raw = np.asarray(raw, dtype=np.float64).reshape(len(raw), -1)
    if output == "auto":
        dense = [layer for layer in model.layers if hasattr(layer, "activation")]
        output = _meaning(dense[-1].activation)
    if output == "signs":
        raw = (raw + 1) / 2
    if raw.shape[1] == 1:
        p = np.exp(-np.logaddexp(0, -raw)) if output == "logits" else np.clip(raw, 0, 1)
        return np.concatenate([1 - p, p], axis=1), None
    if output == "logits":
        raw = np.exp(raw - raw.max(axis=1, keepdims=True))
    raw = np.maximum(raw, 0) + 1e-12  # outputs that are no distribution: their shares
    return np.asarray(raw / raw.sum(axis=1, keepdims=True)), None


def _meaning(activation: str) -> str:
    """What outputs are that this activation has made: it goes from 0 to 1, or from -1 to 1, or beyond."""
    f = ACTIVATIONS[activation].f
    ends = round(f(-700.0)), round(min(f(700.0), 2.0))
    return {(0, 1): "probabilities", (-1, 1): "signs"}.get(ends, "logits")


def _codes(y: Any, n: int, classes: NDArray[Any] | None, count: int) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Class codes of y, (n,), and the classes."""
    refuse_masked(y, "y")
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    elif y.ndim == 2 and y.shape[1] == count:
        y = y.argmax(axis=1) if classes is None else np.asarray(classes)[y.argmax(axis=1)]
    if y.shape != (n,):
        raise ValueError(f"y must have shape ({n},), one class per row of X, got {y.shape}")
    if classes is None:
        found = np.unique(y)
        classes = np.arange(count)
        if count == 2 and len(found) == 2:
            classes = found
    classes = np.asarray(classes)
    matches = y[:, None] == classes[None, :]
    unknown = ~matches.any(axis=1)
    if unknown.any():
        values = ", ".join(map(str, np.unique(y[unknown])[:5]))
        raise ValueError(f"y has values that are none of the model's classes {list(classes)}: {values}")
    return matches.argmax(axis=1), classes


def _name(value: Any) -> str:
    """Name of a class: a bare number says too little."""
    if isinstance(value, (float, np.floating)):
        return f"class {value:g}"
    return f"class {value}" if isinstance(value, (int, np.integer, np.bool_)) else str(value)


def _class_color(index: int, count: int) -> str:
    return (NEGATIVE, POSITIVE)[index] if count == 2 else COLORS[index % len(COLORS)]


def _two(ax: Axes, u: Floats, v: Floats, p: Floats, names: list[str]) -> None:
    filled = ax.contourf(u, v, p, levels=np.linspace(0, 1, 11), cmap=diverging(), vmin=-0.25, vmax=1.25)
    if p.min() < 0.5 < p.max():
        ax.contour(u, v, p, levels=[0.5], colors="black", linewidths=1.8)
    bar = colorbar(ax, filled, ticks=[0, 0.25, 0.5, 0.75, 1], label=f"probability of {names[1]}")
    bar.ax.axhline(0.5, color="black", linewidth=1.8)


def _many(ax: Axes, u: Floats, v: Floats, field: Floats) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb

    count = field.shape[2]
    best = field.argmax(axis=2)
    top = np.take_along_axis(field, best[:, :, None], axis=2)
    paper = np.ones(3)
    ink = np.array([to_rgb(_class_color(index, count)) for index in range(count)])
    strength = 0.06 + 0.39 * (top * count - 1) / (count - 1)  # from 1 / count, a guess, to 1, certain
    image = paper + strength * (ink[best] - paper)
    extent = (u[0], u[-1], v[0], v[-1])
    ax.imshow(
        np.clip(image, 0, 1), extent=extent, origin="lower", aspect="auto", interpolation="bilinear", zorder=0
    )
    for index in range(count):
        lead = field[:, :, index] - np.delete(field, index, axis=2).max(axis=2)
        if lead.min() < 0 < lead.max():
            ax.contour(u, v, lead, levels=[0], colors="black", linewidths=1.5)
    shades = LinearSegmentedColormap.from_list("fastbp_certainty", ["#f2f2f2", "#8c8c8c"])
    colorbar(ax, ScalarMappable(Normalize(1 / count, 1), shades), label="probability of the predicted class")


def _scatter(
    ax: Axes, points: Floats, codes: NDArray[np.intp], right: NDArray[np.bool_], names: list[str]
) -> None:
    size = float(np.clip(4500 / len(points), 12, 42))
    for index, name in enumerate(names):
        mine = codes == index
        ax.scatter(
            points[mine, 0],
            points[mine, 1],
            s=size,
            color=_class_color(index, len(names)),
            marker=MARKERS[index % len(MARKERS)],
            edgecolors="white",
            linewidths=0.7,
            label=name,
            zorder=3,
        )
    wrong = int((~right).sum())
    if wrong:
        ax.scatter(
            points[~right, 0],
            points[~right, 1],
            s=2.6 * size,
            facecolors="none",
            edgecolors="black",
            linewidths=1.1,
            label=f"misclassified ({wrong} of {len(points)})",
            zorder=4,
        )
    ax.legend(framealpha=0.9)
