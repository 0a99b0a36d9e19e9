"""Where the time of a training step goes: `python -m bench.probes.roofline [--dtype D] [--json FILE] [WORKLOAD ...]`.

Each phase of a step is run alone, many times, on the buffers of a real session, and set against its own limit: the
multiply-add peak for products, the measured bandwidth of the second cache for passes over parameters and rows. The sum
is set against the whole step, measured the same way.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.workloads import WORKLOADS
from bench.report import phases
from bench.suite import make_run
from fastbp.engine.rows import Rows
from fastbp.kernels import dense, gather, losses, network, optimizers
from fastbp.kernels import plan as p
from fastbp.kernels.jit import entry
from fastbp.kernels.simd import fma_peak, lanes, load, store

# One row at a time has no phases: its whole step is one sweep over registers.
NAMES = [name for name, workload in WORKLOADS.items() if workload.batch_size > 1]


@entry
def gather_batch(plan, work, x, y, order, m, reps):
    """Copy the rows and targets of a batch."""
    for _ in range(reps):
        gather.rows(plan, work, x, order, 0, 0, m)
        gather.targets(plan, work, y, order, 0, 0, m)


@entry
def forward(plan, at, params, work, order, m, reps):
    """Products of the forward pass of one layer, and its activation."""
    height = plan[p.ROW_BLOCK]
    for _ in range(reps):
        for row in range(0, m, height):
            below = plan[at + p.LD_IN]
            x0 = plan[at + p.A_IN] + row * below
            rows = min(height, m - row)
            dense.forward(plan, at, params, work, x0, below, work, row, rows, plan[p.PANEL], work, order, -1)


@entry
def loss(plan, hyper, work, weights, values, m, reps):
    """Value and delta of the output."""
    at = p.HEADER + (plan[p.N_LAYERS] - 1) * p.RECORD
    ld = plan[at + p.LD]
    o = plan[p.N_OUT]
    code = plan[p.LOSS]
    for _ in range(reps):
        losses.evaluate(
            code,
            hyper,
            work,
            plan[at + p.A],
            ld,
            work,
            plan[at + p.D],
            ld,
            m,
            o,
            weights,
            1.0 / m,
            values,
        )


@entry
def backward(plan, at, params, work, m, reps):
    """delta W' of one layer, and f' of the layer below."""
    height = plan[p.ROW_BLOCK]
    for _ in range(reps):
        for row in range(0, m, height):
            rows = min(height, m - row)
            dense.propagate(plan, at, params, work, row, rows, plan[p.PANEL])
            network.derive(plan, at - p.RECORD, work, row, rows, 0.0)


@entry
def gradients(plan, at, work, grad, m, reps):
    """x' delta of one layer in its blocks, and the bias gradient."""
    for _ in range(reps):
        for block in range(plan[at + p.BLOCKS]):
            begin = block * plan[at + p.BLOCK_ROWS]
            end = min(begin + plan[at + p.BLOCK_ROWS], dense.stored_rows(plan, at))
            x0, step = plan[at + p.A_IN], plan[at + p.LD_IN]
            dense.weight_gradients(plan, at, work, x0, step, work, grad, 0, begin, end, m, False)
        dense.bias_gradients(plan, at, work, grad, 0, m, False)


@entry
def update(plan, step, params, grad, state, reps):
    """The update rule over all weights, block by block, each with the gradient in the same place."""
    for _ in range(reps):
        for layer in range(plan[p.N_LAYERS]):
            at = p.HEADER + layer * p.RECORD
            w0, size = plan[at + p.W], plan[at + p.BLOCK_ROWS] * plan[at + p.LDW]
            stop = w0 + dense.stored_rows(plan, at) * plan[at + p.LDW]
            for start in range(w0, stop, size):
                end = min(start + size, stop)
                optimizers.update(plan, step, params, grad, 0, state, start, end, 0.0, 0.0, 1.0)


@entry
def transpose(plan, params, reps):
    """The copies in the other orientation."""
    for _ in range(reps):
        for layer in range(plan[p.N_LAYERS]):
            at = p.HEADER + layer * p.RECORD
            if plan[at + p.D_IN] >= 0 or plan[at + p.TRANSPOSED] != 0:
                dense.transpose_rows(plan, at, params, 0, dense.stored_rows(plan, at), True)


@entry
def copy(a, b, reps):
    """Copy one array to another: the bandwidth that passes are measured against."""
    for _ in range(reps):
        for j in range(0, a.size, lanes(a)):
            store(b, j, load(a, j))


def best_of(function: Callable[[], None], limit: float = 2.0) -> float:
    """Return the shortest time of a call: of 200, or of as many (3 at least) as fit into `limit` seconds."""
    best, begun, tries = float("inf"), time.perf_counter(), 0
    while tries < 3 or (tries < 200 and time.perf_counter() - begun < limit):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
        tries += 1
    return best


def seconds(function: Any, *args: Any) -> float:
    """Return the best time of one repetition, over tries of about a millisecond."""
    function(*args, 1)
    reps = max(1, int(0.001 / max(1e-8, best_of(lambda: function(*args, 10), 0.0) / 10)))
    return best_of(lambda: function(*args, reps)) / reps


def account(name: str, dtype: str = "float32") -> dict[str, Any]:
    """Return the phases of one step: microseconds, and FLOPs or bytes, and the share of the limit."""
    workload = WORKLOADS[name]
    sizes, batch = workload.sizes, workload.batch_size
    batches = min(20, workload.n_batches)
    session, x, y, orders, _ = make_run(name, dtype, rows=batches * batch)
    engine, order = session.engine, orders[0]
    session.run(x, y, order, 1e-3)
    space, rows = session._workspace, Rows(engine.layout, x, y, None, session.objective)
    plan, work, params = space.plan, space.work, engine.params
    peak = fma_peak(dtype, 0.5)
    item = engine.dtype.itemsize
    source, target = np.zeros(1 << 18, np.uint8).view(dtype), np.zeros(1 << 18, np.uint8).view(dtype)
    bandwidth = 2 * source.nbytes / seconds(copy, source, target)
    phases: list[dict[str, Any]] = []

    def note(phase: str, took: float, *, flops: float = 0.0, moved: float = 0.0) -> None:
        limit = flops / peak if flops else moved / bandwidth
        phases.append(
            {"phase": phase, "us": took * 1e6, "flops": flops, "bytes": moved, "share": limit / took}
        )

    moved = 2.0 * item * batch * (sizes[0] + (1 if workload.loss == "cross_entropy" else sizes[-1]))
    note(
        "gather rows and targets",
        seconds(gather_batch, plan, work, x.ravel(), rows.y, order, batch),
        moved=moved,
    )
    weights, values = np.ones(batch), np.zeros(batch)
    for layer, (i, o) in enumerate(zip(sizes, sizes[1:], strict=False)):
        at = p.HEADER + layer * p.RECORD
        note(
            f"forward {i}-{o}",
            seconds(forward, plan, at, params, work, order, batch),
            flops=2.0 * batch * i * o,
        )
    out = 3.0 * item * batch * sizes[-1]
    note("loss and delta", seconds(loss, plan, space.hyper, work, weights, values, batch), moved=out)
    for layer in range(len(sizes) - 2, 0, -1):
        at, i, o = p.HEADER + layer * p.RECORD, sizes[layer], sizes[layer + 1]
        note(
            f"propagate {o}-{i}", seconds(backward, plan, at, params, work, batch), flops=2.0 * batch * i * o
        )
    for layer, (i, o) in enumerate(zip(sizes, sizes[1:], strict=False)):
        at = p.HEADER + layer * p.RECORD
        took = seconds(gradients, plan, at, work, space.grad, batch)
        note(f"weight gradient {i}-{o}", took, flops=2.0 * batch * i * o)
    step = np.zeros(optimizers.N_COEFFICIENTS)
    size = engine.theta.size
    took = seconds(update, plan, step, params, space.grad, space.state)
    note(workload.optimizer, took, moved=float(item) * size * (6 if workload.optimizer == "adam" else 4))
    copies = [r for r in space.records if r[p.D_IN] >= 0 or r[p.TRANSPOSED]]
    turned = 2.0 * item * sum(int(r[p.FAN_IN] * r[p.FAN_OUT]) for r in copies)
    note("transposed copies", seconds(transpose, plan, params), moved=turned)

    best = best_of(lambda: session.run(x, y, order, 1e-3)) / batches
    flops = engine.flops_per_row * batch
    return {
        "workload": name,
        "dtype": dtype,
        "peak_gflops": peak / 1e9,
        "bandwidth_gb": bandwidth / 1e9,
        "phases": phases,
        "sum_us": sum(phase["us"] for phase in phases),
        "step_us": best * 1e6,
        "share_of_peak": flops / best / peak,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.probes.roofline", description=__doc__.splitlines()[0]
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(NAMES))
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    results = [account(name, arguments.dtype) for name in arguments.workloads or NAMES]
    for result in results:
        print(phases.text(result), end="\n\n")
    if arguments.json:
        phases.save(results, arguments.json)


if __name__ == "__main__":
    main()
