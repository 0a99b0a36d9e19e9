"""The loss around a trained network: a plane through weight space.

Li, Xu, Taylor, Studer, Goldstein (2018), "Visualizing the Loss Landscape of Neural Nets",
https://arxiv.org/abs/1712.09913: filter normalization (section 4), and the directions of the
training path by principal components (section 7).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.plot._style import Floats, draw_path, filled_contours, own_or_new
from fastbp.validation import check_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def loss_surface(
    net: Any,
    x: Any,
    y: Any,
    *,
    loss: Any = "mse",
    path: Sequence[Any] | None = None,
    directions: str = "auto",
    span: float = 1.0,
    resolution: int = 31,
    levels: int = 16,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss on a plane through weight space, with the network at its origin.

    Without a path the plane is spanned by two random directions, filter-normalized: the part of a
    direction that belongs to one unit is as long as the weights that lead into that unit, and
    biases do not move. The two axes then mean the same for networks of any scale. With a path of
    training they are its first two principal components, each of length one, because a path looks
    like a point from random directions; the path is projected on the plane, its true distance
    from it is not seen.

    Parameters
    ----------
    net : Sequential
        The trained network; a copy is moved, the network itself is left alone.
    x : array, shape (n, n_inputs)
    y : array, shape (n, n_outputs), or (n,) class codes
    loss : str or loss object
        As in ``net.evaluate(x, y, loss=...)``.
    path : sequence, optional
        Snapshots of training: networks, pairs ``(weights, biases)``, or flat arrays (copies of
        ``net.engine.theta``, or all parameters layer by layer, W row by row and then b).
    directions : {"auto", "random", "pca"}
        "auto": "pca" with a path, "random" without.
    span : float
        Random directions: both axes go from ``-span`` to ``span``; at 1 a unit's weights have
        changed by their own length.
    resolution : int
        Points per axis: the loss is computed ``resolution**2`` times. For large data give a few
        thousand rows.
    levels : int
        Number of contour levels.
    seed : int
        Of the random directions.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If net has no weights, biases, set_weights and evaluate.
    ValueError
        If a snapshot does not fit the network, or an argument is not one of its choices.

    Examples
    --------
    >>> import fastbp as fb
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    >>> net = fb.Sequential([fb.Dense(4, "tanh"), fb.Dense(1)], n_inputs=1, seed=0)
    >>> ax = fb.plot.loss_surface(net, x, x**2, resolution=5)
    >>> ax.get_xlabel()
    'random direction 1 (filter-normalized)'
    """
    for name in ("weights", "biases", "set_weights", "evaluate"):
        if not hasattr(net, name):
            raise TypeError(f"net must be a Sequential, but {type(net).__name__} has no {name}")
    if directions not in ("auto", "random", "pca"):
        raise ValueError(f'directions must be "auto", "random" or "pca", got {directions!r}')
    if not span > 0:
        raise ValueError(f"span must be positive, got {span}")
    resolution, levels = check_count(resolution, "resolution", 2), check_count(levels, "levels", 2)
    moving = net.copy() if hasattr(net, "copy") else copy.deepcopy(net)
    center = _flat(net.weights, net.biases)
    steps = None if path is None else _steps(moving, path, center)
    if directions == "pca" and steps is None:
        raise ValueError('directions="pca" needs a path')
    pca = directions == "pca" or (directions == "auto" and steps is not None)

    random = [_random_direction(net, np.random.default_rng([seed, axis])) for axis in (0, 1)]
    if pca and steps is not None:
        plane, names = _principal(steps, random)
    else:
        plane, names = np.stack(random), [f"random direction {axis} (filter-normalized)" for axis in (1, 2)]
    spots: Floats | None = None if steps is None else _coordinates(plane, steps)

    if pca and spots is not None:
        low = np.minimum(spots.min(axis=0), 0.0)
        high = np.maximum(spots.max(axis=0), 0.0)
        margin = 0.25 * (high - low) + (0.05 * (high - low).max() or 1.0)
        low, high = low - margin, high + margin
    else:
        low, high = np.full(2, -float(span)), np.full(2, float(span))
        if spots is not None:
            low, high = np.minimum(low, 1.1 * spots.min(axis=0)), np.maximum(high, 1.1 * spots.max(axis=0))
    u, v = (np.linspace(low[axis], high[axis], resolution) for axis in (0, 1))
    values = np.empty((resolution, resolution))
    for row, column in np.ndindex(values.shape):
        _place(moving, center + u[column] * plane[0] + v[row] * plane[1])
        with np.errstate(all="ignore"):  # far away the loss may overflow: such cells are left gray
            values[row, column] = moving.evaluate(x, y, loss=loss)
    if not np.isfinite(values).any():
        raise ValueError("the loss is not finite anywhere on the plane; is the network trained?")

    ax = own_or_new(ax, (6.4, 4.8))
    filled_contours(ax, u, v, values, levels, "loss")
    if spots is not None:
        draw_path(ax, spots[:, 0], spots[:, 1], 0, f"path of training, {len(spots) - 1} steps")
        if np.abs(spots[-1]).max() > 0.02 * (high - low).max():
            ax.plot(
                0,
                0,
                "P",
                color="black",
                markeredgecolor="white",
                markersize=10,
                zorder=5,
                label="network",
                ls="",
            )
    else:
        ax.plot(
            0, 0, "*", color="black", markeredgecolor="white", markersize=15, label="network", linestyle=""
        )
    ax.legend()
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    return ax


def _coordinates(plane: Floats, steps: Floats) -> Floats:
    """Coordinates of the point of the plane nearest to each step, (k, 2). Directions may be oblique."""
    return np.asarray(np.linalg.lstsq(plane.T, steps.T, rcond=None)[0].T, dtype=np.float64)


def _flat(weights: Sequence[Any], biases: Sequence[Any]) -> Floats:
    """All parameters, layer by layer: W row by row, then b."""
    parts = []
    for W, b in zip(weights, biases, strict=True):
        parts.append(np.asarray(W, dtype=np.float64).ravel())
        if b is not None:
            parts.append(np.asarray(b, dtype=np.float64).ravel())
    return np.concatenate(parts)


def _place(net: Any, theta: Floats) -> None:
    """Set the parameters of ``net`` from a flat array in the order of `_flat`."""
    weights: list[Floats] = []
    biases: list[Floats | None] = []
    start = 0
    for W, b in zip(net.weights, net.biases, strict=True):
        weights.append(theta[start : start + W.size].reshape(W.shape).astype(W.dtype))
        start += W.size
        biases.append(None if b is None else theta[start : start + b.size].astype(b.dtype))
        start += 0 if b is None else b.size
    net.set_weights(weights, biases)


def _steps(moving: Any, path: Sequence[Any], center: Floats) -> Floats:
    """Snapshots minus the trained network, (k, P)."""
    rows = []
    for index, snapshot in enumerate(path):
        if hasattr(snapshot, "weights") and hasattr(snapshot, "biases"):
            row = _flat(snapshot.weights, snapshot.biases)
        elif isinstance(snapshot, (tuple, list)) and len(snapshot) == 2 and not np.isscalar(snapshot[0]):
            row = _flat(*snapshot)
        else:
            row = np.asarray(snapshot, dtype=np.float64).ravel()
            theta = getattr(getattr(moving, "engine", None), "theta", None)
            if theta is not None and row.size == theta.size:
                theta[...] = row
                row = _flat(moving.weights, moving.biases)
        if row.size != center.size:
            raise ValueError(f"snapshot {index} of path has {row.size} parameters, but net has {center.size}")
        if not np.isfinite(row).all():
            raise ValueError(f"snapshot {index} of path is not finite")
        rows.append(row - center)
    if len(rows) < 2:
        raise ValueError(f"path needs at least two snapshots, got {len(rows)}")
    return np.stack(rows)


def _random_direction(net: Any, rng: np.random.Generator) -> Floats:
    """A random direction in weight space, filter-normalized.

    d_j <- d_j |w_j| / |d_j| for the weights w_j into each unit j, a column of W; zero for biases
    (Li et al. 2018, section 4).
    """
    directions, still = [], []
    for W, b in zip(net.weights, net.biases, strict=True):
        direction = rng.standard_normal(W.shape)
        direction *= np.linalg.norm(W, axis=0) / np.linalg.norm(direction, axis=0)
        directions.append(direction)
        still.append(None if b is None else np.zeros(b.shape))
    return _flat(directions, still)


def _principal(steps: Floats, spare: list[Floats]) -> tuple[Floats, list[str]]:
    """First two principal components of the path, (2, P), and their names.

    A path on a line has but one, and one that stands still none: a random direction, made
    orthogonal, takes the place.
    """
    centered = steps - steps.mean(axis=0)
    _, sizes, components = np.linalg.svd(centered, full_matrices=False)
    total = float((sizes**2).sum())
    plane: list[Floats] = []
    names = []
    for axis in (0, 1):
        if axis < len(sizes) and sizes[axis] > 1e-7 * max(sizes[0], np.finfo(float).tiny):
            direction = components[axis] * (
                -1.0 if components[axis] @ steps[0] > 0 else 1.0
            )  # starts at the left
            names.append(
                f"principal direction {axis + 1} ({number_percent(sizes[axis] ** 2 / total)} of the path)"
            )
        else:
            direction = spare[axis].copy()
            for other in plane:
                direction -= (direction @ other) * other
            names.append("random direction")
        plane.append(direction / np.linalg.norm(direction))
    return np.stack(plane), names


def number_percent(share: float) -> str:
    """Write a share as a percentage: one decimal if the whole number would say 0 or 100."""
    percent = 100 * share
    return f"{percent:.1f} %" if percent < 1 or 99 < percent < 99.95 else f"{percent:.0f} %"
