"""Many trainings at once, by `fastbp.fit_many`: the numbers behind the tab Starting points and batch sizes.

Two problems are shown. A network of two weights, y = w2 tanh(w1 x), has a loss that can be drawn: two minima, since the
signs of both weights may be changed together, and where a training starts decides which one it finds. The shapes of
`points` are learned by larger networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastbp.layers import ACTIVATION_NAMES, Dense
from fastbp.many import Stack, fit_many
from fastbp.playground.fields import OPTIMIZERS, RATES, SEEDS, Field, batch_size, checked
from fastbp.playground.points import SHAPES, Points, make
from fastbp.sequential import Sequential

__all__ = [
    "FIELDS",
    "GRID",
    "REACH",
    "TWO_WEIGHTS",
    "Group",
    "Outcome",
    "landscape",
    "run",
    "two_weight_rows",
]

Floats = NDArray[np.float64]

TWO_WEIGHTS = "two weights"
COMPARED = {
    "all": ("all rows (batch)",),
    "10": ("10 (mini-batch)",),
    "1": ("1 (stochastic)",),
    "all, 10 and 1": ("all rows (batch)", "10 (mini-batch)", "1 (stochastic)"),
}

FIELDS = {
    "problem": Field("Problem", (TWO_WEIGHTS, *SHAPES), TWO_WEIGHTS),
    "runs": Field("Runs", ("10", "20", "50", "100"), "50"),
    "compare": Field("Rows per step", tuple(COMPARED), "all, 10 and 1"),
    "units": Field("Hidden units", ("1", "2", "3", "4", "6", "8", "12"), "3"),
    "activation": Field("Activation", ACTIVATION_NAMES, "tanh"),
    "optimizer": Field("Optimizer", tuple(OPTIMIZERS), "SGD"),
    "rate": Field("Learning rate", RATES, "0.1"),
    "epochs": Field("Epochs", ("1", "2", "5", "10", "20", "50", "100"), "20"),
    "seed": Field("Seed", SEEDS, "0"),
}

RUNAWAY = 10.0  # times the loss of its first epoch: a run that ends above it has diverged
REACH = 3.0  # the weights of the landscape, from -REACH to REACH
GRID = 91  # points of the landscape, each way
VOTES = 40  # pixels of the picture of all decisions, each way
ROWS = 200  # of a shape


@dataclass(frozen=True, slots=True)
class Group:
    """The runs with one batch size.

    Attributes
    ----------
    batch : str                             Of `BATCH_SIZES`.
    start, end : array (runs, parameters)   Where each run starts and ends; NaN where one diverged.
    losses : array (runs, epochs)           Mean loss of each epoch, NaN after divergence.
    final : array (runs,)                   Loss on all rows at the end; NaN if it diverged.
    seconds : float                         Of the one call of `fit_many`.
    """

    batch: str
    start: Floats
    end: Floats
    losses: Floats
    final: Floats
    seconds: float

    @property
    def diverged(self) -> int:
        """How many runs diverged: they broke off, or end far above the loss of their first epoch."""
        return int((~(self.final <= RUNAWAY * self.losses[:, 0])).sum())


@dataclass(slots=True)
class Outcome:
    """What all runs came to.

    Attributes
    ----------
    values : dict of str
    groups : list of Group
    points : Points or None       None for the two weights.
    votes : array or None         Share of all runs that decide for class 1, (VOTES, VOTES), from the lower left.
    extent : float                The picture reaches from -extent to extent.
    """

    values: dict[str, str]
    groups: list[Group] = field(default_factory=list)
    points: Points | None = None
    votes: Floats | None = None
    extent: float = REACH


def two_weight_rows() -> tuple[Floats, Floats]:
    """Return 40 rows of y = 1.6 tanh(1.3 x), with some noise: x and y of shape (40, 1)."""
    x = np.linspace(-2.0, 2.0, 40)[:, None]
    return x, 1.6 * np.tanh(1.3 * x) + 0.1 * np.random.default_rng(0).standard_normal(x.shape)


def two_weights(activation: str) -> Sequential:
    """Return y = w2 f(w1 x)."""
    layers = [Dense(1, activation, use_bias=False), Dense(1, use_bias=False)]
    return Sequential(layers, n_inputs=1, dtype="float64")


def landscape(activation: str) -> Floats:
    """Return the mean squared error over the plane of the two weights, shape (GRID, GRID): a row per w2.

    >>> values = landscape("tanh")
    >>> bool(np.allclose(values, values[::-1, ::-1]))  # both signs changed: the same network
    True
    """
    x, y = two_weight_rows()
    ticks = np.linspace(-REACH, REACH, GRID)
    # One unit for each w1: its output does not depend on w2.
    units = Sequential([Dense(GRID, activation, use_bias=False)], n_inputs=1, dtype="float64")
    units.weights[0][...] = ticks
    errors = ticks[:, None, None] * units.predict(x).T - y[:, 0]
    return np.asarray(np.mean(errors**2, axis=2))


def run(values: Mapping[str, str], stopped: Callable[[], bool] = lambda: False) -> Outcome | None:
    """Train all runs: one call of `fastbp.fit_many` per batch size, from the same starts.

    Parameters
    ----------
    values : dict of str      Options of `FIELDS`; those left out are the defaults.
    stopped : callable        Asked before each call whether the result is still wanted.

    Returns
    -------
    Outcome, or None if it is no longer wanted

    Warns
    -----
    UserWarning               Of runs that diverge, as `fit_many` does.

    >>> outcome = run({"runs": "10", "compare": "all"})
    >>> outcome.groups[0].end.shape, outcome.groups[0].losses.shape
    ((10, 2), (10, 20))
    """
    chosen = checked(FIELDS, values)
    n, seed, rate = int(chosen["runs"]), int(chosen["seed"]), float(chosen["rate"])
    optimizer = OPTIMIZERS[chosen["optimizer"]](rate)
    outcome = Outcome(chosen)
    if chosen["problem"] == TWO_WEIGHTS:
        x, y = two_weight_rows()
        net, loss = two_weights(chosen["activation"]), "mse"
        start = np.random.default_rng(seed).uniform(-0.9 * REACH, 0.9 * REACH, (n, 2))
    else:
        points = outcome.points = make(chosen["problem"], ROWS, 0.1, 0)
        outcome.extent = 1.12 * float(np.abs(points.x).max())
        x, y = points.x, points.y[:, None].astype(float)
        layers = [Dense(int(chosen["units"]), chosen["activation"]), Dense(1)]
        net, loss = Sequential(layers, n_inputs=2, dtype="float64"), "binary_cross_entropy"
        start = Stack(net, n, seed).theta
    stacks = []
    for batch in COMPARED[chosen["compare"]]:
        if stopped():
            return None
        stack = Stack(net, n, seed)
        stack.theta[...] = start
        begin = time.perf_counter()
        fit_many(
            stack,
            x,
            y,
            loss=loss,
            optimizer=optimizer,
            epochs=int(chosen["epochs"]),
            batch_size=batch_size(batch, len(x)),
            seed=list(range(1000 * seed, 1000 * seed + n)),
        )
        outcome.groups.append(_group(batch, start, stack, (x, y, loss), time.perf_counter() - begin))
        stacks.append(stack)
    if outcome.points is not None:
        outcome.votes = _votes(stacks, outcome.extent)
    return outcome


def _group(
    batch: str, start: Floats, stack: Stack, data: tuple[Floats, Floats, str], seconds: float
) -> Group:
    x, y, loss = data
    wrong = np.array([history.error is not None for history in stack.histories])
    epochs = max(len(history) for history in stack.histories)
    losses = np.full((len(stack), epochs), np.nan)
    for row, history in zip(losses, stack.histories, strict=True):
        row[: len(history)] = history.loss
    losses[~np.isfinite(losses)] = np.nan
    end = np.where(wrong[:, None], np.nan, stack.theta)
    final = np.array([net.evaluate(x, y, loss, n_threads=1) for net in stack])
    return Group(batch, start, end, losses, np.where(wrong, np.nan, final), seconds)


def _votes(stacks: list[Stack], extent: float) -> Floats:
    ticks = extent * ((np.arange(VOTES) + 0.5) / VOTES * 2.0 - 1.0)
    u, v = np.meshgrid(ticks, ticks)
    plane = np.column_stack([u.ravel(), v.ravel()])
    votes = np.concatenate([stack.predict(plane)[..., 0] > 0 for stack in stacks])
    return np.asarray(votes.mean(axis=0)).reshape(VOTES, VOTES)
