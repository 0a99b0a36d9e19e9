"""What a small call costs beside its kernel: `python -m bench.probes.door [--rounds N]`.

Prints microseconds of CPU of public calls, and of the kernel that each of them enters: the same call of `network.run`,
with the same arrays, again and again in one compiled loop. Both are medians of rounds in turns, so that they meet the
same machine. It needs an idle one. `Sequential.fit` has no kernel beside it: it is many calls in one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numba

import fastbp
from bench.suite import randn
from fastbp.engine import prepared
from fastbp.kernels import network

TIMES = 1000


@numba.njit
def again(times, job, params, grad, work, x, indices, indptr, y, weight, order, rates, out):
    """The same call of the kernels, `times` times."""
    for _ in range(times):
        network.run(job, params, grad, work, x, indices, indptr, y, weight, order, rates, out)


def kernel_of(call: Callable[[], Any]) -> Callable[[], Any] | None:
    """Return what repeats the kernel of a prepared call `TIMES` times; None if the call is not a prepared one."""
    seen = []

    def run(*arguments: Any) -> Any:
        seen.append(arguments)
        return network.run(*arguments)

    with mock.patch.object(prepared, "network", SimpleNamespace(run=run)):
        call()
    if not seen:
        return None
    (arguments,) = seen
    return lambda: again(TIMES, *arguments)


def step(sizes: list[int], batch: int) -> Callable[[], Any]:
    """`Trainer.step` of a network with tanh, by Adam."""
    layers = [*(fastbp.Dense(units, "tanh") for units in sizes[1:-1]), fastbp.Dense(sizes[-1])]
    net = fastbp.Sequential(layers, n_inputs=sizes[0], seed=0)
    trainer = fastbp.Trainer(net, loss="mse", optimizer=fastbp.Adam(1e-6), n_threads=1)
    x, y = randn(batch, sizes[0]), randn(batch, sizes[-1], seed=1)
    return lambda: trainer.step(x, y)


def gradient(*, in_place: bool) -> Callable[[], Any]:
    """`Sequential.value_and_grad` of 24-8-2 for 200 rows of float64."""
    layers = [fastbp.Dense(8, "tanh"), fastbp.Dense(2)]
    net = fastbp.Sequential(layers, n_inputs=24, dtype="float64", seed=0)
    x, y = randn(200, 24, dtype="float64"), randn(200, 2, dtype="float64", seed=1)
    out = net.value_and_grad(x, y, loss="mse")[1] if in_place else None
    return lambda: net.value_and_grad(x, y, loss="mse", out=out)


def fit() -> Callable[[], Any]:
    """`Sequential.fit` of 20-32-1 for one epoch of 100 rows."""
    net = fastbp.Sequential([fastbp.Dense(32, "relu"), fastbp.Dense(1)], n_inputs=20, seed=0)
    x, y = randn(100, 20), randn(100, 1, seed=1)
    return lambda: net.fit(x, y, epochs=1, batch_size=32, optimizer=fastbp.Adam(1e-3), verbose=0)


def microseconds(work: Callable[[], Any], calls: int, per: int) -> float:
    """CPU time of one of `per` things that each of the calls does."""
    start = time.process_time_ns()
    for _ in range(calls):
        work()
    return (time.process_time_ns() - start) / (1e3 * calls * per)


def main() -> None:
    """Print a line for each door."""
    parser = argparse.ArgumentParser(prog="python -m bench.probes.door", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    doors = {
        "Trainer.step 4-8-1, batch 8": step([4, 8, 1], 8),
        "Trainer.step 20-64-64-1, batch 32": step([20, 64, 64, 1], 32),
        "value_and_grad 24-8-2, 200 rows": gradient(in_place=False),
        "value_and_grad 24-8-2, out=": gradient(in_place=True),
        "Sequential.fit 20-32-1, 100 rows": fit(),
    }
    print(f"{'us of CPU':<36} {'call':>8} {'kernel':>8} {'ratio':>6} {'more':>6}")
    for name, call in doors.items():
        for _ in range(3):
            call()
        kernel = kernel_of(call)
        if kernel is not None:
            kernel()
        outside, inside = [], []
        for _ in range(rounds):
            outside.append(microseconds(call, 100 if kernel is None else TIMES, 1))
            if kernel is not None:
                inside.append(microseconds(kernel, 1, TIMES))
        told = f"{name:<36} {median(outside):8.2f}"
        if inside:
            alone = median(inside)
            told += f" {alone:8.2f} {median(outside) / alone:6.2f} {median(outside) - alone:6.2f}"
        print(told)


if __name__ == "__main__":
    main()
