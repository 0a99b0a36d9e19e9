"""Plan and buffers for one kind of kernel call. What is computed on are `Rows`, which are checked already."""

from __future__ import annotations

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
from fastbp.objectives import OBJECTIVE_NAMES, Objective

# A larger batch goes through in parts of so many rows, or of so many bytes.
PART_ROWS, PART_BYTES = 512, 1 << 19
NARROW_BYTES = 512  # all activations of a row: with less, the calls per block are a tenth of the work
EMPTY_ORDER = np.zeros(0, np.int64)
_NO_RATES = np.zeros(1)


def _block_size(record: Array) -> int:
    """Return how many numbers the gradient of a layer's largest block takes, its bias included."""
    rows = int(record[p.FAN_OUT] if record[p.TRANSPOSED] else record[p.FAN_IN])
    return min(int(record[p.BLOCK_ROWS]), rows) * int(record[p.LDW]) + int(record[p.LD])


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
    ) -> None:
        """Allocate for calls on up to `threads` threads.

        `gradient` makes room for the whole gradient; `by_block`, if a batch is a single part, for one block per thread.
        """
        self.layout = layout
        self.batch = max(1, batch)
        self.threads = threads
        self.objective = objective or Objective()
        size = layout.dtype.itemsize
        n = len(layout.layers)
        # Activations of a part of a large batch stay in the second cache, and memory does not grow with the batch.
        widths = layout.n_inputs + sum(2 * layer.units for layer in layout.layers)
        self.part = min(self.batch, max(PART_ROWS, PART_BYTES // (widths * size)))
        self._job, self.sync, self.plan, self.numbers = p.make_job(n, self.part, layout.n_blocks)
        self.hyper = self.plan.view(np.float64)  # the fields that are no integers
        self.records = self.plan[p.HEADER :].reshape(n, p.RECORD)
        self.records[...] = layout.records
        plan = self.plan
        plan[p.N_LAYERS], plan[p.N_PARAMS], plan[p.BATCH] = n, layout.size, self.batch
        plan[p.N_BLOCKS], plan[p.N_OUT], plan[p.WANT_INPUTS] = layout.n_blocks, layout.n_outputs, inputs
        # The first row stays zero: sums without a bias start from it.
        offset = stride(max(layout.n_inputs, *(layer.units for layer in layout.layers)), size)
        # Few tall blocks if each has to read many weights, or if rows are narrow; else many, for the threads.
        tiles = 64 if layout.full_size * size > 2**20 else 16 if widths * size <= NARROW_BYTES else 4
        self._row_block = TILE_ROWS * tiles
        plan[p.PART] = self.part
        a_in, ld_in, d_in = offset, stride(layout.n_inputs, size), -1
        offset += self.part * ld_in
        if inputs:
            d_in = offset
            offset += self.part * ld_in
        for record, layer in zip(self.records, layout.layers, strict=True):
            record[p.A_IN], record[p.LD_IN], record[p.D_IN] = a_in, ld_in, d_in
            ld = stride(layer.units, size)
            record[p.LD], record[p.A] = ld, offset
            offset += self.part * ld
            record[p.Z] = -1
            if layer.activation in activations.NEEDS_Z:
                record[p.Z] = offset
                offset += self.part * ld
            record[p.D] = d_in = -1
            if objective is not None:
                record[p.D] = d_in = offset
                offset += self.part * ld
            a_in, ld_in = int(record[p.A]), ld
        if objective is None:
            self.records[:, p.D_IN] = -1
        # Negative if no weights are copied.
        plan[p.PANEL] = -1
        if layout.largest_matrix >= PACKED_BYTES and self.part >= PACKED_ROWS:
            widest = max(layout.n_inputs, *(layer.units for layer in layout.layers))
            plan[p.PANEL], plan[p.PANEL_SIZE] = offset, widest * TILE_VECTORS * VECTOR_BYTES // size
            offset += threads * int(plan[p.PANEL_SIZE])
        plan[p.WORK_SIZE] = offset
        self.work = aligned_zeros(offset, layout.dtype)
        self.numbers[p.PRODUCT] = 1.0
        empty = np.zeros(0, layout.dtype)
        self.grad = empty
        if by_block and self.batch <= self.part:
            for record in self.records:
                record[p.IN_SLOT] = plan[p.SLOT]
                plan[p.SLOT] += _block_size(record)
            self.grad = aligned_zeros(threads * int(plan[p.SLOT]), layout.dtype)
        elif gradient:
            self.grad = aligned_zeros(layout.size, layout.dtype)
        self.out = empty
        for place, layer in zip(self.hyper[p.HEADER :].reshape(n, p.RECORD), layout.layers, strict=True):
            place[p.DROPOUT], place[p.L1], place[p.L2] = layer.dropout, layer.l1, 2.0 * layer.l2
        self.hyper[p.INPUT_DROPOUT] = layout.input_dropout
        self._set_objective(self.objective)

    def _set_objective(self, objective: Objective) -> None:
        if objective.name not in losses.CODES:
            raise ValueError(f"unknown loss {objective.name!r}; known are {', '.join(OBJECTIVE_NAMES)}")
        outputs = self.layout.n_outputs
        name, hyper = objective.name, self.hyper
        self.plan[p.LOSS] = losses.CODES[name]
        per_element = (
            1.0 if objective.summed or name in ("half_squared_error", "cross_entropy") else 1.0 / outputs
        )
        hyper[p.VALUE_SCALE] = per_element / outputs if objective.mean_outputs else per_element
        hyper[p.SLOPE_SCALE] = per_element
        hyper[p.LOW], hyper[p.HIGH] = -np.inf, np.inf
        if objective.clip > 0.0:
            hyper[p.LOW], hyper[p.HIGH] = -np.log1p(-objective.clip), -np.log(objective.clip)
        default = {"huber": 1.0, "quantile": 0.5}.get(name, 0.0)
        hyper[p.PARAMETER] = default if objective.parameter is None else objective.parameter
        hyper[p.FULL] = float(objective.full)

    def total(self, mode: int, params: Array, rows: Rows, team: int = 1) -> float:
        """Return the weighted mean loss of all rows; in mode GRADIENT the gradient is left in `grad`."""
        if rows.mass == 0.0:
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        self.numbers[p.LOSS_SUM] = 0.0
        self.call(mode, params, rows, out=self.out, begin=0, end=rows.n, team=team)
        return float(self.numbers[p.LOSS_SUM])

    def stop(self) -> None:
        """Make the running call give up its batch before it updates anything; the next call works again."""
        self.sync[sync.STOP] = 1

    def call(
        self,
        mode: int,
        params: Array,
        rows: Rows,
        *,
        begin: int,
        end: int,
        out: Array | None = None,
        order: Array = EMPTY_ORDER,
        rates: Array = _NO_RATES,
        layers: int = 0,
        seed: int = 0,
        team: int = 1,
        apart: bool = False,
        by_weight: bool = False,
    ) -> int:
        """Run the kernel on rows [begin, end) of `order`, on up to `team` threads; return the number of rows done.

        While training, a batch counts in the sum of the losses by its rows, or `by_weight`. `apart` is for calls that
        may take long: they run in another thread, and this one goes on to receive signals.
        """
        if team > self.threads:
            raise ValueError(f"team must be at most the workspace's {self.threads} threads, got {team}")
        # A row is computed alike in a block of any height, so every thread of a team can get a block.
        share = -(-min(self.part, end - begin) // (team * TILE_ROWS)) * TILE_ROWS
        self.plan[p.ROW_BLOCK] = max(TILE_ROWS, min(self._row_block, share))
        self.plan[p.SPARSE], self.plan[p.CLASS_INDEX] = rows.sparse, rows.codes
        self.sync[:] = 0
        alone = team == 1 and not apart
        mass = float(by_weight) if mode == p.TRAIN else rows.mass
        p.ask(self._job, 0, mode, begin, end, layers or len(self.records), seed, 1 if alone else 2, mass)
        arguments = (
            self._job,
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
        return teams.together(lambda: int(network.run(*arguments)), team, self.stop, apart=apart)
