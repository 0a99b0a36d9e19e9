"""Small models by their size, one by one and a model per lane: `python -m bench.probes.sizes [--quick] [--json FILE]`.

Each net has `units / 2` inputs and batches of `units` rows, at least 8; 200 rows of its own, five epochs of Adam, one
thread. Both ways run in turns; a figure is the median of the rounds. jax.vmap is measured by `bench.peers`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fastbp as fb
from bench.fair import ROOT
from fastbp.engine import lanes
from fastbp.kernels.machine.peak import fma_peak

UNITS = (2, 4, 8, 12, 16, 20, 24, 32, 48, 64)
ROWS, EPOCHS, ROUNDS = 200, 5, 7
RESULTS = ROOT / "bench" / "results" / "sizes.json"


def seconds(train: Callable[[], Any], limit: int) -> float:
    """Return the CPU seconds of a call, a group of models being at most so many bytes wide to go side by side."""
    before = lanes.MOST_BYTES
    lanes.MOST_BYTES = limit
    lanes.shape_of.cache_clear()
    try:
        start = time.process_time()
        train()
        return time.process_time() - start
    finally:
        lanes.MOST_BYTES = before
        lanes.shape_of.cache_clear()


def measure(units: int, models: int, rounds: int) -> dict[str, float]:
    """Return samples per second of nets of so many hidden units, both ways, and their parameters and FLOPs per row."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(models, ROWS, units // 2)).astype("float32")
    y = x.sum(axis=2)
    net = fb.Sequential([fb.Dense(units, "relu"), fb.Dense(1)], n_inputs=units // 2)

    def train() -> None:
        fb.fit_many(net, x, y, n=models, epochs=EPOCHS, batch_size=max(8, units), n_threads=1)

    ways = {"one_by_one": 0, "per_lane": 2**30}
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, limit in ways.items():
            took[way].append(seconds(train, limit))
    samples = float(models * ROWS * EPOCHS)
    rates = {way: samples / statistics.median(values[1:]) for way, values in took.items()}
    layout = net.engine.layout
    return {
        "units": units,
        "parameters": layout.n_parameters,
        "flops_per_row": layout.flops_per_row,
        "chosen": "per_lane" if lanes.shape_of(layout) else "one_by_one",
        **rates,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and keep the figures if a file is named."""
    parser = argparse.ArgumentParser(prog="python -m bench.probes.sizes", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="two sizes, few models: tries everything, says nothing"
    )
    parser.add_argument(
        "--json", type=Path, help=f"keep the figures, for example in {RESULTS.relative_to(ROOT)}"
    )
    options = parser.parse_args(arguments)
    models, rounds = (32, 1) if options.quick else (512, ROUNDS)
    found = []
    print("net       parameters  one by one  per lane   million samples per second")
    for units in UNITS[2:9:6] if options.quick else UNITS:
        row = measure(units, models, rounds)
        found.append(row)
        print(
            f"{units // 2}-{units}-1".ljust(10),
            f"{row['parameters']:9.0f} {row['one_by_one'] / 1e6:11.2f} {row['per_lane'] / 1e6:9.2f}",
        )
    if options.json:
        content = {"peak": fma_peak("float32", 0.05 if options.quick else 0.5), "rows": found}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
