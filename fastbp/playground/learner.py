"""A network that learns two-dimensional rows, and what is to be seen of it: the numbers behind the tab Learning."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbp import objectives
from fastbp.layers import ACTIVATION_NAMES, Dense, Dropout
from fastbp.playground.fields import BATCH_SIZES, OPTIMIZERS, RATES, SEEDS, Field, batch_size, checked
from fastbp.playground.points import SHAPES, Points, make
from fastbp.sequential import Sequential
from fastbp.training import Trainer

__all__ = ["FIELDS", "GRID", "LOSSES", "MOST_EPOCHS", "THUMB", "Learner", "mixed", "network"]

Floats = NDArray[np.float64]

LOSSES = {
    "cross entropy": "binary_cross_entropy",
    "squared error": "mse",
    "half squared error": "half_squared_error",
    "absolute error": "mae",
}
"""Losses of two classes, which need one output. With more classes there is an output for each."""

_PENALTIES = ("0", "0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1")

FIELDS = {
    "data": Field("Data", SHAPES, "moons"),
    "points": Field("Rows", ("50", "100", "200", "500", "1000"), "200"),
    "noise": Field("Noise", ("0", "0.05", "0.1", "0.15", "0.2", "0.3", "0.5"), "0.15"),
    "layers": Field("Hidden layers", ("0", "1", "2", "3", "4"), "2"),
    "units": Field("Units per layer", tuple(map(str, range(1, 13))), "6"),
    "activation": Field("Activation", ACTIVATION_NAMES, "tanh"),
    "loss": Field("Loss", tuple(LOSSES), "cross entropy"),
    "optimizer": Field("Optimizer", tuple(OPTIMIZERS), "Adam"),
    "rate": Field("Learning rate", RATES, "0.01"),
    "batch": Field("Rows per step", tuple(BATCH_SIZES), "10 (mini-batch)"),
    "l1": Field("L1 penalty", _PENALTIES, "0"),
    "l2": Field("L2 penalty", _PENALTIES, "0"),
    "dropout": Field("Dropout", ("0", "0.1", "0.2", "0.3", "0.5", "0.8"), "0"),
    "seed": Field("Seed", SEEDS, "0"),
}

GRID = 64  # pixels of the decision boundary, each way
THUMB = 24  # of what a hidden unit sees
MOST_EPOCHS = 10_000
MOST_SHOWN = 400  # points of a loss curve


def network(values: Mapping[str, str], classes: int) -> tuple[Sequential, str]:
    """Return the network that was chosen, untrained, and the name of its loss.

    Parameters
    ----------
    values : dict of str      Of `FIELDS`.
    classes : int

    >>> net, loss = network(checked(FIELDS, {"units": "3"}), classes=2)
    >>> [W.shape for W in net.weights], loss
    ([(2, 3), (3, 3), (3, 1)], 'binary_cross_entropy')
    """
    entropy = values["loss"] == "cross entropy"
    penalties: dict[str, Any] = {"l1": float(values["l1"]), "l2": float(values["l2"])}
    layers: list[Dense | Dropout] = []
    for _ in range(int(values["layers"])):
        layers.append(Dense(int(values["units"]), values["activation"], **penalties))
        if values["dropout"] != "0":
            layers.append(Dropout(float(values["dropout"])))
    outputs = 1 if classes == 2 else classes
    layers.append(Dense(outputs, "identity" if entropy else "sigmoid", **penalties))
    loss = "cross_entropy" if entropy and classes > 2 else LOSSES[values["loss"]]
    return Sequential(layers, n_inputs=2, dtype="float64", seed=int(values["seed"])), loss


class Learner:
    """A network, its rows, and how far its training is.

    Parameters
    ----------
    values : dict of str          Options of `FIELDS`; those left out are the defaults.
    points : Points, optional     The rows, in place of the shape that `values` names.

    Attributes
    ----------
    values : dict of str
    points : Points
    net : fastbp.Sequential
    trainer : fastbp.Trainer
    steps : int                   Batches done.
    curves : dict                 Lists ``epoch``, ``training``, ``held_out``: the losses after each picture.
    trouble : str                 Why it stopped, or "".

    Raises
    ------
    ValueError                    An option that no field has.

    Examples
    --------
    >>> learner = Learner({"data": "circles"})
    >>> learner.run(epochs=60, seconds=60.0)
    >>> learner.accuracy()[0] > 0.9
    True
    """

    def __init__(self, values: Mapping[str, str] | None = None, points: Points | None = None) -> None:
        self.values = checked(FIELDS, values or {})
        seed = int(self.values["seed"])
        self.points = points or make(
            self.values["data"], int(self.values["points"]), float(self.values["noise"]), seed
        )
        n_classes = len(self.points.classes)
        self.net, self.loss = network(self.values, n_classes)
        self.objective = objectives.get(self.loss)
        self.optimizer = OPTIMIZERS[self.values["optimizer"]](float(self.values["rate"]))
        self.trainer = Trainer(self.net, self.loss, self.optimizer, seed=seed, n_threads=1)
        y: NDArray[Any] = self.points.y
        if self.loss != "cross_entropy":
            y = y[:, None].astype(float) if n_classes == 2 else np.eye(n_classes)[y]
        self._y = y
        self.learned, self.held_out = (
            np.flatnonzero(~self.points.held_out),
            np.flatnonzero(self.points.held_out),
        )
        self.extent = 1.12 * float(np.abs(self.points.x).max())
        self._rng = np.random.default_rng(seed)
        self._batch = batch_size(self.values["batch"], len(self.learned))
        self._x_epoch, self._y_epoch, self._next = self.points.x[:0], y[:0], 0
        self.steps = 0
        self.trouble = ""
        self.curves: dict[str, list[float]] = {"epoch": [], "training": [], "held_out": []}
        self.note()

    @property
    def epoch(self) -> float:
        """Passes over the rows that are learned from."""
        per_epoch = -(-len(self.learned) // self._batch)
        return self.steps / per_epoch

    def step(self) -> None:
        """Train on the next batch; in every epoch the rows come in a new order."""
        if self.trouble:
            return
        if self._next >= len(self._x_epoch):
            order = self._rng.permutation(self.learned)
            self._x_epoch, self._y_epoch, self._next = self.points.x[order], self._y[order], 0
        rows = slice(self._next, self._next + self._batch)
        loss = self.trainer.step(self._x_epoch[rows], self._y_epoch[rows])
        self._next = rows.stop
        self.steps += 1
        if not math.isfinite(loss):
            self.trouble = (
                f"diverged: the loss is no longer a finite number at step {self.steps}; "
                "try a smaller learning rate, then Reset"
            )
        elif self.epoch >= MOST_EPOCHS:
            self.trouble = f"{MOST_EPOCHS:,} epochs are enough; Reset starts again"

    def run(self, epochs: int, seconds: float) -> None:
        """Train until so many epochs are done or the time is over, and note the losses."""
        last, end = math.floor(self.epoch) + epochs, time.perf_counter() + seconds
        while self.epoch < last and not self.trouble and time.perf_counter() < end:
            self.step()
        self.note()

    def losses(self) -> tuple[float, float]:
        """Return the loss on the rows learned from and on those held out, penalties included, without dropout."""
        x = self.points.x
        training, held_out = (
            float(self.net.evaluate(x[rows], self._y[rows], self.loss, n_threads=1))
            for rows in (self.learned, self.held_out)
        )
        return training, held_out

    def accuracy(self) -> tuple[float, float]:
        """Return the share of rows whose class is the most likely one: of those learned from, and held out."""
        right = self.probabilities(self.points.x).argmax(axis=1) == self.points.y
        return float(right[self.learned].mean()), float(right[self.held_out].mean())

    def note(self) -> None:
        """Put the losses into the curves; long curves lose every second point."""
        for name, value in zip(self.curves, (self.epoch, *self.losses()), strict=True):
            self.curves[name].append(value)
        if len(self.curves["epoch"]) > MOST_SHOWN:
            for values in self.curves.values():
                del values[1:-1:2]

    def probabilities(self, x: Floats) -> Floats:
        """Return the share of each class, shape (n, classes); 1/classes each if the network has diverged."""
        outputs = self.net.predict(x, n_threads=1)
        if self.objective.classifies:
            outputs = objectives.probabilities(outputs, self.objective)
        if outputs.shape[1] == 1:
            outputs = np.hstack([1.0 - outputs, outputs])
        total = outputs.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = outputs / total
        return np.asarray(np.where(np.isfinite(shares), shares, 1.0 / shares.shape[1]))

    def boundary(self) -> Floats:
        """Return the shares of the classes over the plane, shape (GRID, GRID, classes), from the lower left."""
        return self.probabilities(self.plane(GRID)).reshape(GRID, GRID, -1)

    def hidden(self) -> list[Floats]:
        """Return what each hidden layer makes of the plane: (units, THUMB, THUMB), each unit divided by its largest."""
        pictures = []
        for a in self.net.engine.hidden(self.plane(THUMB))[:-1]:
            a = np.nan_to_num(a, posinf=0.0, neginf=0.0)
            largest = np.abs(a).max(axis=0)
            pictures.append((a / np.where(largest > 0, largest, 1.0)).T.reshape(-1, THUMB, THUMB))
        return pictures

    def plane(self, pixels: int) -> Floats:
        """Return the middles of the pixels of the picture, shape (pixels^2, 2), row by row from the lower left."""
        ticks = self.extent * ((np.arange(pixels) + 0.5) / pixels * 2.0 - 1.0)
        u, v = np.meshgrid(ticks, ticks)
        return np.column_stack([u.ravel(), v.ravel()])


def mixed(shares: Floats, colors: Floats) -> NDArray[np.uint32]:
    """Return pixels as Bokeh takes them: the colors of the classes, mixed by their shares.

    Parameters
    ----------
    shares : array of shape (height, width, classes)
    colors : array of shape (classes, 3)                From 0 to 255.

    >>> hex(mixed(np.ones((1, 1, 1)), np.array([[255.0, 128.0, 0.0]])).item())
    '0xff0080ff'
    """
    pixels = np.empty((*shares.shape[:2], 4), np.uint8)
    pixels[..., :3] = np.clip(shares @ colors + 0.5, 0, 255)
    pixels[..., 3] = 255
    return pixels.view("<u4")[..., 0].astype(np.uint32)
