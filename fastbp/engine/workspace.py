"""Plan and buffers for one kind of kernel call. What is computed on are `Rows`, which are checked already."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import cast

import numpy as np

from fastbp.engine import teams
from fastbp.engine.layout import Layout
from fastbp.engine.memory import Array, aligned_zeros, stride
from fastbp.engine.rows import Rows
from fastbp.kernels import activations, losses, network
from fastbp.kernels import plan as p
from fastbp.kernels.machine import sync
from fastbp.kernels.machine.target import VECTOR_BYTES
from fastbp.kernels.machine.tile import TILE_ROWS, TILE_VECTORS
from fastbp.kernels.matmul import PACKED_BYTES, PACKED_ROWS
from fastbp.objectives import GIVEN, OBJECTIVE_NAMES, Objective
from fastbp.own import Loss

# A larger batch goes through in parts of so many rows, or of so many bytes.
PART_ROWS, PART_BYTES = 512, 1 << 19
FOREIGN_ROWS = 64  # rows of a call of the user's loss: each costs memory that is asked for and given back
NARROW_BYTES = 512  # all activations of a row: with less, the calls per block are a tenth of the work
EMPTY_ORDER = np.zeros(0, np.int64)
NO_RATES = np.zeros(1)


def _block_size(record: Array) -> int:
    """Return how many numbers the gradient of a layer's largest block takes, its bias included."""
    rows = int(record[p.FAN_OUT] if record[p.TRANSPOSED] else record[p.FAN_IN])
    return min(int(record[p.BLOCK_ROWS]), rows) * int(record[p.LDW]) + int(record[p.LD])


@functools.lru_cache(maxsize=256)
def _bytes_of_a_row(layout: Layout) -> int:
    """Return the bytes of all activations and deltas of a row."""
    widths = layout.n_inputs + sum(2 * layer.units for layer in layout.layers)
    return widths * layout.dtype.itemsize


@dataclass(frozen=True, slots=True, eq=False)
class Blueprint:
    """What workspaces of one kind share, worked out once."""

    row_block: int
    plan: Array
    grad_size: int


@functools.lru_cache(maxsize=256)
def _blueprint(
    layout: Layout,
    batch: int,
    part: int,
    objective: Objective | None,
    inputs: bool,
    gradient: bool,
    by_block: bool,
    threads: int,
) -> Blueprint:
    """Return the blueprint of a `Workspace` with these arguments."""
    size, n = layout.dtype.itemsize, len(layout.layers)
    plan = np.zeros(p.HEADER + n * p.RECORD, np.int64)
    hyper = plan.view(np.float64)  # the fields that are no integers
    records = plan[p.HEADER :].reshape(n, p.RECORD)
    records[...] = layout.records
    plan[p.N_LAYERS], plan[p.N_PARAMS], plan[p.BATCH] = n, layout.size, batch
    plan[p.N_BLOCKS], plan[p.N_OUT], plan[p.WANT_INPUTS] = layout.n_blocks, layout.n_outputs, inputs
    plan[p.PART] = part
    # The first row stays zero: sums without a bias start from it.
    offset = stride(max(layout.n_inputs, *(layer.units for layer in layout.layers)), size)
    # Few tall blocks if each has to read many weights, or if rows are narrow; else many, for the threads.
    tiles = 64 if layout.full_size * size > 2**20 else 16 if _bytes_of_a_row(layout) <= NARROW_BYTES else 4
    a_in, ld_in, d_in = offset, stride(layout.n_inputs, size), -1
    offset += part * ld_in
    if inputs:
        d_in = offset
        offset += part * ld_in
    for record, layer in zip(records, layout.layers, strict=True):
        record[p.A_IN], record[p.LD_IN], record[p.D_IN] = a_in, ld_in, d_in
        ld = stride(layer.units, size)
        record[p.LD], record[p.A] = ld, offset
        offset += part * ld
        record[p.Z] = -1
        if layer.activation in activations.NEEDS_Z:
            record[p.Z] = offset
            offset += part * ld
        record[p.D] = d_in = -1
        if objective is not None:
            record[p.D] = d_in = offset
            offset += part * ld
        a_in, ld_in = int(record[p.A]), ld
    if objective is None:
        records[:, p.D_IN] = -1
    # Negative if no weights are copied.
    plan[p.PANEL] = -1
    if layout.largest_matrix >= PACKED_BYTES and part >= PACKED_ROWS:
        widest = max(layout.n_inputs, *(layer.units for layer in layout.layers))
        plan[p.PANEL], plan[p.PANEL_SIZE] = offset, widest * TILE_VECTORS * VECTOR_BYTES // size
        offset += threads * int(plan[p.PANEL_SIZE])
    grad_size = layout.size if gradient else 0
    by_block = by_block and batch <= part
    if by_block:
        for record in records:
            record[p.IN_SLOT] = plan[p.SLOT]
            plan[p.SLOT] += _block_size(record)
        grad_size = threads * int(plan[p.SLOT])
    # Not where the gradient of a batch is a single sum; a single row's workspace may be on a stack.
    plan[p.PARTIAL] = offset
    if objective is not None and batch > 1 and (not by_block or part > p.SUM_ROWS):
        offset += threads * int(plan[p.SLOT]) if by_block else layout.size
    plan[p.WORK_SIZE] = offset
    for place, layer in zip(hyper[p.HEADER :].reshape(n, p.RECORD), layout.layers, strict=True):
        place[p.DROPOUT], place[p.L1], place[p.L2] = layer.dropout, layer.l1, 2.0 * layer.l2
    hyper[p.INPUT_DROPOUT] = layout.input_dropout
    place_objective(plan, hyper, objective or Objective(), layout.n_outputs)
    plan.flags.writeable = False
    return Blueprint(TILE_ROWS * tiles, plan, grad_size)


def place_objective(plan: Array, hyper: Array, objective: Objective, outputs: int) -> None:
    """Write what the kernels must know of the loss."""
    if objective == GIVEN:
        plan[p.LOSS] = losses.GIVEN
        return
    if objective.name not in losses.CODES:
        raise ValueError(f"unknown loss {objective.name!r}; known are {', '.join(OBJECTIVE_NAMES)}")
    plan[p.LOSS] = losses.CODES[objective.name]
    per_element = 1.0 if objective.adds_outputs else 1.0 / outputs
    hyper[p.VALUE_SCALE] = per_element / outputs if objective.mean_outputs else per_element
    hyper[p.SLOPE_SCALE] = per_element
    hyper[p.LOW], hyper[p.HIGH] = -np.inf, np.inf
    if objective.clip > 0.0:
        hyper[p.LOW], hyper[p.HIGH] = -np.log1p(-objective.clip), -np.log(objective.clip)
    hyper[p.PARAMETER] = objective.number
    hyper[p.FULL] = float(objective.full)


class Workspace:
    """Plan and buffers of a layout for batches of up to `batch` rows; allocated once, used for every call."""

    def __init__(
        self,
        layout: Layout,
        batch: int,
        objective: Objective | None = None,
        *,
        inputs: bool = False,
        gradient: bool = False,
        by_block: bool = False,
        threads: int = 1,
        waits: bool = False,
    ) -> None:
        """Allocate for calls on up to `threads` threads.

        `gradient` makes room for the whole gradient; `by_block`, if a batch is a single part, for one block per thread.
        If it `waits`, rows of the first layer's W may wait for their updates.
        """
        # The kernels know no loss of the user's: its slopes are given to them. Nor shall a blueprint keep it alive.
        if isinstance(objective, Loss):
            objective = GIVEN
        self.layout = layout
        self.batch = max(1, batch)
        self.threads = threads
        # Activations of a part of a large batch stay in the second cache, and memory does not grow with the batch.
        self.part = min(self.batch, max(PART_ROWS, PART_BYTES // _bytes_of_a_row(layout)))
        made = _blueprint(layout, self.batch, self.part, objective, inputs, gradient, by_block, threads)
        self.layers = len(layout.layers)
        self._row_block = made.row_block
        self.waits = waits
        waiting = layout.n_inputs if waits else 0
        made_job = p.make_job(self.layers, self.part, layout.n_blocks, threads, waiting)
        self.job, self.sync, self.plan, self.numbers = made_job
        self._behind = p.behind(self.job, waiting)
        self.plan[:] = made.plan
        self.hyper = self.plan.view(np.float64)  # the fields that are no integers
        # The same numbers: one of them is read in a third of the time.
        self.losses = cast("memoryview[float]", memoryview(self.numbers))
        self.losses[p.PRODUCT] = 1.0
        self.work = aligned_zeros(int(made.plan[p.WORK_SIZE]), layout.dtype)
        self.grad = aligned_zeros(made.grad_size, layout.dtype)
        self.out = self.grad[:0]
        self._asked: tuple[float, ...] = ()
        self._foreign = False

    def judge_by(self, address: int) -> None:
        """Take the loss at an address; see kernels/machine/foreign.py."""
        self.plan[p.LOSS], self.plan[p.JUDGE] = losses.FOREIGN, address
        self._foreign = True

    def total(self, mode: int, params: Array, rows: Rows, team: int = 1) -> float:
        """Return the weighted mean loss of all rows; in mode GRADIENT the gradient is left in `grad`."""
        if rows.mass == 0.0:
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        self.losses[p.LOSS_SUM] = 0.0
        self.call(mode, params, rows, begin=0, end=rows.n, team=team)
        return self.losses[p.LOSS_SUM]

    def stop(self) -> None:
        """Make the running call give up its batch before it updates anything; the next call works again."""
        self.sync[sync.STOP] = 1

    def begin_anew(self) -> None:
        """Forget that the last call has given up: a loss of the user's has failed."""
        self.sync[:] = 0

    def ask(self, question: tuple[float, ...]) -> None:
        """Write a question into the job, unless it stands there."""
        if question is not self._asked:
            p.ask(self.job, 0, *question)
            self._asked = question

    def question(
        self,
        mode: int,
        begin: int,
        end: int,
        *,
        mass: float,
        span: int = 0,
        layers: int = 0,
        seed: int = p.NO_DROPOUT,
        team: int = 1,
        alone: bool = True,
        sparse: bool = False,
        codes: bool = False,
        online: bool = False,
        waits: bool = False,
    ) -> tuple[float, ...]:
        """Return what a call asks the kernel for: the numbers that `ask` writes into the job."""
        # A row is computed alike in a block of any height, so every thread of a team can get a block.
        share = -(-min(self.part, end - begin) // (team * TILE_ROWS)) * TILE_ROWS
        height = max(TILE_ROWS, min(self._row_block, share))
        if self._foreign:
            # What the user's function makes of a row may depend on the rows beside it, by a bit.
            height = min(self._row_block, FOREIGN_ROWS)
        threads, dtype = 1 if alone else 2, self.layout.dtype
        return (
            mode,
            begin,
            end,
            span,
            layers or self.layers,
            seed,
            threads,
            height,
            network.address_for("sparse", dtype) if sparse else 0,
            codes,
            network.address_for("online", dtype) if online else 0,
            network.address_for("waits", dtype) if waits else 0,
            mass,
        )

    def call(
        self,
        mode: int,
        params: Array,
        rows: Rows,
        *,
        begin: int,
        end: int,
        span: int = 0,
        out: Array | None = None,
        order: Array = EMPTY_ORDER,
        rates: Array = NO_RATES,
        layers: int = 0,
        seed: int = p.NO_DROPOUT,
        online: bool = False,
        team: int = 1,
        apart: bool = False,
        by_weight: bool = False,
        waits: bool = False,
    ) -> int:
        """Run the kernel on rows [begin, end) of `order`, on up to `team` threads; return the number of rows done.

        While training, a batch counts in the sum of the losses by its rows, or `by_weight`. Without a `seed` there is
        no dropout. If it `waits` (and the workspace does), rows of W wait for a batch that names them. `apart` is for
        calls that may take long: they run in another thread, and this one goes on to receive signals.
        """
        if team > self.threads:
            raise ValueError(f"team must be at most the workspace's {self.threads} threads, got {team}")
        alone = team == 1 and not apart
        question = self.question(
            mode,
            begin,
            end,
            mass=float(by_weight) if mode == p.TRAIN else rows.mass,
            span=span,
            layers=layers,
            seed=seed,
            team=team,
            alone=alone,
            sparse=rows.sparse,
            codes=rows.codes,
            online=online,
            waits=waits,
        )
        self.ask(question)
        if waits:
            # A call that follows one that has given up begins within a window.
            self._behind[:] = begin // self.batch % p.WINDOW
        arguments = (
            self.job,
            params,
            self.grad,
            self.work,
            rows.values,
            rows.indices,
            rows.indptr,
            rows.y,
            rows.weights,
            order,
            rates,
            self.out if out is None else out,
        )
        if alone:
            return int(network.run(*arguments))
        self.sync[:] = 0
        try:
            return teams.together(lambda: int(network.run(*arguments)), team, self.stop, apart=apart)
        finally:
            self.sync[sync.STOP] = 0  # whatever is called next, on one thread too, begins without it
