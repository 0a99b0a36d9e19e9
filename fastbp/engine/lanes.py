"""Many small networks side by side, a model per lane of a vector: the door to `fastbp.kernels.many`.

`shape_of` says which networks can be trained so, `pays` when that is faster. What they share is in a `Plan`; `Lanes`
are some of them, with what is each one's own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp.engine.layout import Layout
from fastbp.engine.memory import Array, aligned_zeros
from fastbp.engine.session import place_rule
from fastbp.engine.workspace import place_objective
from fastbp.kernels import activations, many, optimizers
from fastbp.kernels import plan as p
from fastbp.kernels.machine.target import VECTOR_BYTES
from fastbp.layers import Layer
from fastbp.objectives import Objective
from fastbp.optimizers import Rule

# Of the parameters of a group: with more, they and the gradient and the state leave the second cache.
MOST_BYTES = 2**18
# Arrays of a group lie whole pages apart, or so many vectors more at least. The machine compares loads with stores by
# the last 12 bits of their addresses: with a vector more, loads of one array would wait for stores into another.
PAGE, APART = 4096, 16
# The workspace of the rows of a part stays in the first one.
PART_BYTES, LEAST_ROWS = 16384, 8
# Rows of a group are kept turned if the order takes each of them so many times, unless they need more bytes.
OFTEN, KEPT_BYTES = 2, 2**26
# What a model takes, about, in seconds: one by one for a fit, a step and a row, and for a row of its lane, besides the
# arithmetic; and that, in floating-point operations a second for each lane of a vector. A faster core does all of it
# faster (docs/decisions/a-model-per-lane.rst).
FIT, STEP, ROW, LANE_ROW = 2e-4, 8e-7, 2.5e-8, 1e-8
ALONE_SPEED, LANE_SPEED = 4.7e9, 3.4e9
# How many numbers a second a core computes, about; for the length of a call.
SPEED = 2e10


@dataclass(frozen=True, slots=True)
class Shape:
    """An architecture, whatever its penalties: networks of one shape can share their vectors."""

    n_inputs: int
    layers: tuple[tuple[int, str, bool], ...]
    dtype: np.dtype[Any]

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return self.layers[-1][0]

    @property
    def size(self) -> int:
        """Number of parameters."""
        fan_in = (self.n_inputs, *(units for units, _, _ in self.layers))
        return sum((i + bias) * o for i, (o, _, bias) in zip(fan_in, self.layers, strict=False))


def lanes_of(dtype: np.dtype[Any]) -> int:
    """Return how many models share a vector."""
    return int(VECTOR_BYTES) // dtype.itemsize


@functools.lru_cache(maxsize=256)
def shape_of(layout: Layout) -> Shape | None:
    """Return the shape of networks that can be trained side by side: not too large, and without dropout; else None."""
    if layout.n_parameters * VECTOR_BYTES > MOST_BYTES or layout.input_dropout:
        return None
    if any(layer.dropout for layer in layout.layers):
        return None
    layers = tuple((layer.units, layer.activation, layer.use_bias) for layer in layout.layers)
    return Shape(layout.n_inputs, layers, layout.dtype)


def pays(layout: Layout, batch_size: int, rows: int) -> bool:
    """Whether models that are trained on so many rows each, counted in every epoch, are faster side by side."""
    lanes = lanes_of(layout.dtype)
    work = rows * layout.flops_per_row / lanes
    alone = FIT + rows / batch_size * STEP + rows * ROW + work / ALONE_SPEED
    return rows * LANE_ROW + work / LANE_SPEED < alone


class Plan:
    """What all groups of models of one shape, loss, rule and batch size share."""

    def __init__(self, shape: Shape, objective: Objective, rule: Rule, batch_size: int) -> None:
        self.shape, self.rule = shape, rule
        self.side = side = lanes_of(shape.dtype)
        self.slots = optimizers.SLOTS[rule.kernel]
        n = len(shape.layers)
        self.words = plan = np.zeros(p.HEADER + n * p.RECORD, np.int64)
        self.hyper = hyper = plan.view(np.float64)
        records = plan[p.HEADER :].reshape(n, p.RECORD)
        # Rows of the input are padded to whole vectors, unless one holds two or more of them.
        padded = -(-shape.n_inputs // side) * side
        turned = shape.n_inputs if 2 * shape.n_inputs <= side else padded
        widths = [turned, *(o * (3 if name in activations.NEEDS_Z else 2) for o, name, _ in shape.layers)]
        row_bytes = sum(widths) * VECTOR_BYTES
        part = min(batch_size, max(LEAST_ROWS, PART_BYTES // row_bytes))
        plan[p.N_LAYERS], plan[p.N_OUT], plan[p.BATCH], plan[p.PART] = n, shape.outputs, batch_size, part
        beyond = shape.size % (PAGE // VECTOR_BYTES)
        self.distance = shape.size + (APART - beyond if 0 < beyond < APART else 0)
        plan[p.N_PARAMS] = self.distance * side
        # Vector 0 stays zero. Rows that are turned take as many vectors as a padded row, and reach one further.
        plan[p.PARTIAL], plan[p.SLOT], plan[p.PANEL] = 1, 2, 2 + optimizers.N_COEFFICIENTS
        place = int(plan[p.PANEL]) + padded + 1
        fan_in, a_in, ld_in, d_in, w = shape.n_inputs, place, turned, -1, 0
        place += part * turned + side  # whole squares are written
        for record, (o, name, bias) in zip(records, shape.layers, strict=True):
            record[p.FAN_IN], record[p.FAN_OUT], record[p.ACTIVATION] = fan_in, o, activations.CODES[name]
            record[p.W], record[p.B] = w, w + fan_in * o if bias else -1
            w += (fan_in + bias) * o
            record[p.A_IN], record[p.LD_IN], record[p.D_IN] = a_in, ld_in, d_in
            record[p.A], record[p.D], record[p.Z] = place, place + part * o, -1
            place += 2 * part * o
            if name in activations.NEEDS_Z:
                record[p.Z] = place
                place += part * o
            fan_in, a_in, ld_in, d_in = o, int(record[p.A]), o, int(record[p.D])
        self.work_size = place * side
        place_objective(plan, hyper, objective, shape.outputs)
        place_rule(plan, hyper, rule, shape.dtype)


class Lanes:
    """Models side by side, with their state of the optimizer.

    Parameters
    ----------
    plan : Plan
    theta : ndarray (models, parameters)
        Of each model, W row by row and then b of each layer; copied.
    layers : list of tuple of Layer, optional
        Of each model, for its penalties; left out: none.
    """

    def __init__(self, plan: Plan, theta: Array, layers: list[tuple[Layer, ...]] | None = None) -> None:
        self._plan, side, shape = plan, plan.side, plan.shape
        self.models, size = theta.shape
        self.groups = groups = -(-self.models // side)
        # The last group is filled up with copies of its last model.
        self._member = np.minimum(np.arange(groups * side), self.models - 1)
        self._size, self.step, self._momenta = size, 0, 1.0
        self._params = aligned_zeros(groups * plan.distance * side, shape.dtype)
        self._lanes(self._params)[...] = theta[self._member].reshape(groups, side, size).transpose(0, 2, 1)
        self._state = aligned_zeros(groups * len(plan.slots) * plan.distance * side, shape.dtype)
        self._grad = aligned_zeros(size * side, shape.dtype)
        self._work = aligned_zeros(plan.work_size, shape.dtype)
        self._factors = self._penalties(layers)

    def _lanes(self, flat: Array) -> Array:
        """Return a view (groups, parameters, lanes) of numbers of all models."""
        return flat.reshape(self.groups, self._plan.distance, self._plan.side)[:, : self._size]

    def _penalties(self, layers: list[tuple[Layer, ...]] | None) -> Array:
        """Return l1, l2 and 1 of each layer of each model, then those of biases; the plan learns which there are."""
        plan, n = self._plan, len(self._plan.shape.layers)
        factors = aligned_zeros(self.groups * (n + 1) * 3 * plan.side, plan.shape.dtype)
        view = factors.reshape(self.groups, n + 1, 3, plan.side)
        view[:, :, 2] = 1.0
        if layers is not None:
            for kind, value in ((0, "l1"), (1, "l2")):
                given = np.array([[getattr(layer, value) * (1.0 + kind) for layer in own] for own in layers])
                of_lane = given[self._member].reshape(self.groups, plan.side, n)
                view[:, :n, kind] = of_lane.transpose(0, 2, 1)
                penalized = plan.hyper[p.HEADER :].reshape(n, p.RECORD)[:, (p.L1, p.L2)[kind]]
                penalized[...] = given.any(axis=0)
        return factors

    @property
    def theta(self) -> Array:
        """The parameters, (models, parameters): a copy."""
        return self._lanes(self._params).transpose(0, 2, 1).reshape(-1, self._size)[: self.models]

    def begin(self, rates: Array) -> None:
        """Set what the state starts with, given each model's first learning rate."""
        plan = self._plan
        state = self._state.reshape(self.groups, len(plan.slots), plan.distance, plan.side)
        for k, name in enumerate(plan.slots):
            if name == "sum":
                state[:, k] = plan.rule.initial_accumulator
            elif name == "step_size":
                state[:, k] = rates[self._member].reshape(self.groups, 1, plan.side)

    def passes_in_a_call(self, n: int, flops_per_row: float, seconds: float) -> int:
        """Return how many passes over n rows of each model take so many seconds, about; at least 1."""
        work = self.groups * self._plan.side * n * (flops_per_row + 50.0)
        return max(1, min(p.MOST_PASSES, int(seconds * SPEED / work)))

    def _kept(self, order: Array) -> tuple[int, int]:
        """Return the first row of the data to be kept turned, and how many; the workspace gets room for them."""
        plan, shape = self._plan, self._plan.shape
        lowest = int(order.min())
        rows = int(order.max()) - lowest + 1
        room = rows * (shape.n_inputs + shape.outputs) * plan.side
        if OFTEN * rows > order.size or room * shape.dtype.itemsize > KEPT_BYTES:
            return 0, 0
        if self._work.size < plan.work_size + room:
            self._work = aligned_zeros(plan.work_size + room, shape.dtype)
        return lowest, rows

    def train(self, x: Array, y: Array, codes: bool, order: Array, base: Array, rates: Array) -> Array:
        """Train, in place, for some passes; return the sums of loss times rows, (models, passes).

        Parameters
        ----------
        x, y : flat, as `Rows` keeps them
        codes : bool
            Whether `y` holds class codes.
        order : int64 (passes, n), or (passes, n, models) if each model has its own
            Row numbers; not checked.
        base : int64 (models,)
            Is added to the row numbers of each model.
        rates : float64 (models,), or (steps, models)
        """
        plan, side, groups = self._plan, self._plan.side, self.groups
        passes, n = order.shape[:2]
        own = order.ndim == 3
        if own:
            lanes = order[:, :, self._member].reshape(passes, n, groups, side)
            order = lanes.transpose(2, 0, 1, 3)
        of_lane = base[self._member].reshape(groups, side)
        same = not own and bool((of_lane == of_lane[:, :1]).all())
        steps = passes * -(-n // int(plan.words[p.BATCH]))
        units = steps * optimizers.N_COEFFICIENTS
        numbers = np.zeros(1 + units + groups * passes * side)
        numbers[0] = self._momenta
        # What all models see alike has nothing to be turned, and orders of each one's own do not meet again.
        lowest, kept = (0, 0) if own or same else self._kept(order)
        task = {
            "groups": groups,
            "passes": passes,
            "n_rows": n,
            "own": own,
            "same": same,
            "codes": codes,
            "steps": self.step,
            "kept": kept,
            "lowest": lowest,
        }
        asked = np.array([task[name] for name in many.TASK.fields], np.int64)
        self._momenta = many.train(
            np.concatenate([asked, plan.words, np.zeros(int(plan.words[p.PART]) * side, np.int64)]),
            self._params,
            self._state,
            self._grad,
            self._work,
            x,
            y,
            np.ascontiguousarray(order).reshape(-1),
            of_lane.reshape(-1),
            np.ascontiguousarray(rates[..., self._member], plan.shape.dtype).reshape(-1),
            self._factors,
            numbers,
        )
        self.step += steps
        sums = numbers[1 + units :].reshape(groups, passes, side)
        return sums.transpose(0, 2, 1).reshape(-1, passes)[: self.models]
