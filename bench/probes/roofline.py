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
from fastbp.kernels import dense, gather, losses, optimizers
from fastbp.kernels import plan as p
from fastbp.kernels.machine.jit import entry
from fastbp.kernels.machine.peak import fma_peak
from fastbp.kernels.machine.simd import lanes, load, store
from fastbp.kernels.plan import call_at, layer_of, network_at
from fastbp.kernels.tuples import Block, Matrix, Net
from fastbp.kernels.tuples import Rows as Data

# One row at a time has no phases: its whole step is one sweep over registers.
NAMES = [name for name, workload in WORKLOADS.items() if workload.batch_size > 1]


@entry
def gather_batch(job, work, x, y, weight, order, indices, m, reps):
    """Copy the rows and targets of a batch."""
    call, plan = call_at(job, 0), network_at(job, p.PLAN)
    net, rows = Net(plan, work, work, work, work), Data(x, indices, indices, y, weight, order, order)
    for _ in range(reps):
        gather.inputs(net, rows, 0, 0, m)
        gather.targets(call, net, rows, 0, 0, m)


@entry
def forward(job, k, params, work, weight, order, indices, m, reps):
    """Products of the forward pass of one layer, and its activation."""
    call, plan = call_at(job, 0), network_at(job, p.PLAN)
    layer, rows = layer_of(plan, k), Data(work, indices, indices, work, weight, order, order)
    for _ in range(reps):
        for row in range(0, m, call.row_block):
            block = Block(row, min(call.row_block, m - row), plan.panel)
            x = Matrix(work, layer.a_in + row * layer.ld_in, layer.ld_in)
            dense.forward(layer, params, work, x, block, rows, -1)
            dense.activate(layer, work, row, block.m, True)


@entry
def loss(words, work, weights, values, m, reps):
    """Value and delta of the output."""
    plan = network_at(words, 0)
    top = layer_of(plan, plan.n_layers - 1)
    for _ in range(reps):
        losses.evaluate(plan, work, top.a, top.d, top.ld, m, weights, 1.0 / m, values)


@entry
def backward(job, k, params, work, m, reps):
    """delta W' of one layer, and f' of the layer below."""
    call, plan = call_at(job, 0), network_at(job, p.PLAN)
    for _ in range(reps):
        for row in range(0, m, call.row_block):
            block = Block(row, min(call.row_block, m - row), plan.panel)
            dense.propagate(layer_of(plan, k), params, work, block)
            dense.derive(layer_of(plan, k - 1), work, block.row, block.m, 0.0)


@entry
def gradients(words, k, work, grad, m, reps):
    """x' delta of one layer in its blocks, and the bias gradient."""
    layer = layer_of(network_at(words, 0), k)
    for _ in range(reps):
        for block in range(layer.blocks):
            begin = block * layer.block_rows
            end = min(begin + layer.block_rows, dense.stored_rows(layer))
            x = Matrix(work, layer.a_in, layer.ld_in)
            dense.weight_gradients(layer, x, 0, work, grad, 0, begin, end, m)
        dense.bias_gradients(layer, 0, work, grad, 0, m, False)


@entry
def update(words, step, params, grad, state, reps):
    """The update rule over all weights, block by block, each with the gradient in the same place."""
    plan = network_at(words, 0)
    for _ in range(reps):
        for k in range(plan.n_layers):
            layer = layer_of(plan, k)
            stop = layer.w + dense.stored_rows(layer) * layer.ldw
            for start in range(layer.w, stop, layer.block_rows * layer.ldw):
                end = min(start + layer.block_rows * layer.ldw, stop)
                optimizers.update(plan, step, params, grad, 0, state, start, end, 0.0, 0.0, 1.0)


@entry
def transpose(words, params, reps):
    """The copies in the other orientation."""
    plan = network_at(words, 0)
    for _ in range(reps):
        for k in range(plan.n_layers):
            layer = layer_of(plan, k)
            if layer.d_in >= 0 or layer.transposed != 0:
                dense.transpose_rows(layer, params, 0, dense.stored_rows(layer), True)


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
    plan, work, params = space.plan, space.work, engine.params  # the job still holds the call
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

    given = np.zeros(0), order, np.zeros(0, np.int32)
    moved = 2.0 * item * batch * (sizes[0] + (1 if workload.loss == "cross_entropy" else sizes[-1]))
    note(
        "gather rows and targets",
        seconds(gather_batch, space.job, work, x.ravel(), rows.y, *given, batch),
        moved=moved,
    )
    weights, values = np.ones(batch), np.zeros(batch)
    for layer, (i, o) in enumerate(zip(sizes, sizes[1:], strict=False)):
        note(
            f"forward {i}-{o}",
            seconds(forward, space.job, layer, params, work, *given, batch),
            flops=2.0 * batch * i * o,
        )
    out = 3.0 * item * batch * sizes[-1]
    note("loss and delta", seconds(loss, plan, work, weights, values, batch), moved=out)
    for layer in range(len(sizes) - 2, 0, -1):
        i, o = sizes[layer], sizes[layer + 1]
        note(
            f"propagate {o}-{i}",
            seconds(backward, space.job, layer, params, work, batch),
            flops=2.0 * batch * i * o,
        )
    for layer, (i, o) in enumerate(zip(sizes, sizes[1:], strict=False)):
        took = seconds(gradients, plan, layer, work, space.grad, batch)
        note(f"weight gradient {i}-{o}", took, flops=2.0 * batch * i * o)
    step = np.zeros(optimizers.N_COEFFICIENTS)
    size = engine.theta.size
    took = seconds(update, plan, step, params, space.grad, space.out)
    note(workload.optimizer, took, moved=float(item) * size * (6 if workload.optimizer == "adam" else 4))
    records = plan[p.HEADER :].reshape(-1, p.RECORD)
    copies = [r for r in records if r[p.D_IN] >= 0 or r[p.TRANSPOSED]]
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
