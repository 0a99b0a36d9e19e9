"""Gradient descent on a function of one or two variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.arrays import to_real
from fastbp.plot._style import (
    COLORS,
    Floats,
    check_labels,
    check_limits,
    draw_path,
    filled_contours,
    number,
    own_or_new,
)
from fastbp.validation import check_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Limits = tuple[float, float]


def descent_path(
    f: Callable[[Any], Any],
    *paths: Any,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
    xlim: Limits | None = None,
    ylim: Limits | None = None,
    tangents: int = 1,
    levels: int = 16,
    resolution: int | None = None,
) -> Axes:
    """Draw where gradient descent went, over the function it went down.

    A function of one variable is drawn as its curve with the steps on it, one of two variables as
    filled contours. Every path starts at a white dot and ends at a star. A path that diverges
    shows its first steps and leaves the picture.

    Parameters
    ----------
    f : callable
        The function descended: takes what `fastbp.gradient_descent` gives it (a float, or an array
        of shape (1,) or (2,)) and returns one number.
    *paths : result of `fastbp.gradient_descent`, or array of shape (k,), (k, 1) or (k, 2)
        One per start or learning rate; all of one dimension.
    labels : sequence of str, optional
        One per path. Default: where it starts, or its learning rate if all start together or it is
        alone, and the number of steps.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.
    xlim, ylim : tuple of float, optional
        The part of the plane to show. Default: around the paths.
    tangents : int
        One variable: how many points of each path, from the first on, show their tangent, which
        the step follows: f(x + e) is about f(x) + e f'(x).
    levels : int
        Two variables: number of contour levels.
    resolution : int, optional
        Points of ``f`` per axis. Default 400 for one variable, 100 (10 000 calls) for two.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is no path, a path has another shape or starts at no finite point, paths differ in
        dimension, or f returns more than one number.

    Examples
    --------
    >>> from fastbp import plot
    >>> ax = plot.descent_path(lambda x: x**2, [2.0, 1.0, 0.5, 0.25])
    >>> ax.get_legend().get_texts()[0].get_text()
    'from 2: 3 steps'
    >>> ax = plot.descent_path(lambda x: x[0]**2 + 3 * x[1]**2, [[2, 1], [1, 0.2], [0.5, 0]])
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('$x_1$', '$x_2$')
    """
    if not callable(f):
        raise TypeError(f"f must be callable, got {type(f).__name__}")
    if not paths:
        raise ValueError(
            "descent_path needs at least one path: a result of fastbp.gradient_descent, or an array"
        )
    check_count(tangents, "tangents", 0)
    points = [_points(path, index) for index, path in enumerate(paths)]
    dimensions = {path.shape[1] if path.ndim == 2 else 0 for path in points}
    if len({max(1, dimension) for dimension in dimensions}) > 1:
        raise ValueError(f"the paths differ in dimension: {[path.shape for path in points]}")
    names = check_labels(labels, len(points), "paths") if labels is not None else _names(paths, points)

    if 2 in dimensions:
        count = check_count(100 if resolution is None else resolution, "resolution", 2)
        ax = _plane(ax, f, points, names, xlim, ylim, check_count(levels, "levels", 2), count)
    else:
        ax = own_or_new(ax, (6.4, 4.4))
        vector = dimensions == {1}
        count = check_count(400 if resolution is None else resolution, "resolution", 2)
        _line(ax, f, [path.reshape(-1) for path in points], names, xlim, ylim, tangents, count, vector)
    return ax


def _points(path: Any, index: int) -> Floats:
    """The finite beginning of a path, (k,) or (k, d)."""
    points = np.asarray(to_real(getattr(path, "path", path), f"path {index}"), dtype=np.float64)
    if points.ndim not in (1, 2) or points.size == 0:
        raise ValueError(f"path {index} must have shape (k,) or (k, 2), got {points.shape}")
    if points.ndim == 2 and points.shape[1] > 2:
        raise ValueError(
            f"path {index} has {points.shape[1]} variables; descent_path draws one or two: "
            "give it two columns of the path and f as a function of these two"
        )
    finite = np.asarray(np.isfinite(points.reshape(len(points), -1)).all(axis=1))
    if not finite[0]:
        raise ValueError(f"path {index} starts at {points[0]}, which is not finite")
    return points if finite.all() else points[: int(np.argmin(finite))]


def _names(paths: Sequence[Any], points: list[Floats]) -> list[str]:
    """What tells the paths apart, their starts or else their learning rates, and the number of steps."""
    starts = [tuple(np.atleast_1d(path[0]).tolist()) for path in points]
    rates = [getattr(path, "learning_rate", None) for path in paths]
    by_start = len(paths) > 1 and len(set(starts)) == len(starts)
    by_rate = all(isinstance(rate, (int, float)) for rate in rates) and len(set(rates)) == len(rates)
    names = []
    for index, (path, start, rate) in enumerate(zip(points, starts, rates, strict=True)):
        if by_rate and not by_start:
            name = f"learning rate {number(float(rate or 0))}"
        elif by_start or len(paths) == 1:
            place = ", ".join(map(number, start))
            name = f"from {place}" if len(start) == 1 else f"from ({place})"
        else:
            name = f"path {index + 1}"
        names.append(f"{name}: {len(path) - 1} step{'s' * (len(path) != 2)}")
    return names


def _one_number(f: Callable[[Any], Any], x: Any) -> float:
    value = np.asarray(to_real(f(x), "the value of f"), dtype=np.float64)
    if value.size != 1:
        raise ValueError(f"f must return one number, but f({x}) has shape {value.shape}")
    return float(value.reshape(()))


def _range(values: list[Floats], keep: list[Floats]) -> Limits:
    """Limits along one axis: all of ``keep``, and of ``values`` what is not far outside of it."""
    low, high = float(min(map(np.min, keep))), float(max(map(np.max, keep)))
    reach = 1.5 * (high - low)
    near = np.concatenate(values)
    near = near[(near >= low - reach) & (near <= high + reach)]
    low, high = float(near.min()), float(near.max())
    margin = 0.15 * (high - low) or max(1.0, abs(low)) * 0.5
    return low - margin, high + margin


def _anchors(path: Floats, values: Floats) -> Floats:
    """Points of a path that must be seen: the first two, and all that are as low as the start."""
    seen = (values <= values[0]) | (np.arange(len(path)) < 2)
    return np.asarray(path[seen])


def _line(
    ax: Axes,
    f: Callable[[Any], Any],
    paths: list[Floats],
    names: list[str],
    xlim: Limits | None,
    ylim: Limits | None,
    tangents: int,
    resolution: int,
    vector: bool,
) -> None:
    def evaluate(x: Floats) -> Floats:
        with np.errstate(all="ignore"):  # the curve has a gap if f overflows or is not defined
            return np.array([_one_number(f, np.array([value]) if vector else float(value)) for value in x])

    heights = [evaluate(path) for path in paths]
    limits = _range(paths, [_anchors(path, value) for path, value in zip(paths, heights, strict=True)])
    low, high = limits if xlim is None else check_limits("xlim", xlim)
    grid = np.linspace(low, high, resolution)
    curve = evaluate(grid)
    ax.plot(grid, curve, color="0.45", linewidth=2.2, zorder=1)
    if ylim is None:
        seen = [value[(path >= low) & (path <= high)] for path, value in zip(paths, heights, strict=True)]
        shown = np.concatenate([curve, *seen])
        shown = shown[np.isfinite(shown)]
        if shown.size == 0:
            raise ValueError(f"f has no finite value between {low:g} and {high:g}")
        margin = 0.08 * float(np.ptp(shown)) or 0.5
        ylim = float(shown.min()) - margin, float(shown.max()) + margin
    ax.set_xlim(low, high)
    ax.set_ylim(*check_limits("ylim", ylim))
    for index, (path, value) in enumerate(zip(paths, heights, strict=True)):
        draw_path(ax, path, value, index, names[index])
        for x, height in list(zip(path, value, strict=True))[:tangents]:
            step = 1e-4 * (high - low)
            left, right = evaluate(np.array([x - step, x + step]))
            slope = (right - left) / (2 * step)
            # a quarter of the picture long on paper, for any slope
            length = 0.13 * (high - low) / np.hypot(1, slope * (high - low) / (ylim[1] - ylim[0]))
            reach = np.array([-length, length])
            ax.plot(
                x + reach,
                height + slope * reach,
                color=COLORS[index % len(COLORS)],
                linewidth=1.5,
                linestyle=(0, (1, 1)),
                zorder=2,
            )
    ax.set_xlabel("x")
    ax.set_ylabel("f(x)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend()


def _plane(
    ax: Any,
    f: Callable[[Any], Any],
    paths: list[Floats],
    names: list[str],
    xlim: Limits | None,
    ylim: Limits | None,
    levels: int,
    resolution: int,
) -> Axes:
    def evaluate(points: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return np.array([_one_number(f, point.copy()) for point in points])

    anchors = [_anchors(path, evaluate(path)) for path in paths]
    ranges = [
        _range([path[:, axis] for path in paths], [anchor[:, axis] for anchor in anchors]) for axis in (0, 1)
    ]
    centers, spans = np.mean(ranges, axis=1), np.diff(ranges, axis=1)[:, 0]
    square = 4 * spans.min() > spans.max()
    if square:  # steps are at right angles to contours only if both axes have one scale
        spans = np.maximum(spans, spans.max() / 1.6)
    (u_low, u_high), (v_low, v_high) = (
        (float(c - s / 2), float(c + s / 2)) if given is None else check_limits(name, given)
        for c, s, name, given in zip(centers, spans, ("xlim", "ylim"), (xlim, ylim), strict=True)
    )
    u, v = np.linspace(u_low, u_high, resolution), np.linspace(v_low, v_high, resolution)
    grid = np.stack(np.meshgrid(u, v), axis=-1)
    values = evaluate(grid.reshape(-1, 2)).reshape(resolution, resolution)
    if not np.isfinite(values).any():
        raise ValueError(f"f has no finite value for x_1 in {(u_low, u_high)}, x_2 in {(v_low, v_high)}")
    height = 5.2 * (v_high - v_low) / (u_high - u_low) if square else 4.2
    axes = own_or_new(ax, (6.4, float(np.clip(height + 0.6, 3.0, 6.4))))
    filled_contours(axes, u, v, values, levels, "f(x)")
    for index, path in enumerate(paths):
        draw_path(axes, path[:, 0], path[:, 1], index, names[index])
    axes.set_xlim(u_low, u_high)
    axes.set_ylim(v_low, v_high)
    if square:
        axes.set_aspect("equal")
    axes.set_xlabel("$x_1$")
    axes.set_ylabel("$x_2$")
    axes.legend()
    return axes
