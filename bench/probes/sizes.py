"""Small models by their size, one by one and a model per lane: `python -m bench.probes.sizes [--quick] [--json FILE]`.

Each net has `units / 2` inputs and batches of `units` rows, at least 8; Adam, one thread. A short fit is five epochs of
200 rows of its own, a long one ten epochs of 2000. Both ways run in turns; a figure is the median of the rounds.
jax.vmap is measured by `bench.peers`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import fastbp as fb
from bench.fair import ROOT
from fastbp.kernels.machine.peak import fma_peak
from fastbp.many import lanes

UNITS = (2, 4, 8, 12, 16, 24, 32, 48, 64, 80)
# Rows, epochs and models of each kind of fit.
FITS = {"short": (200, 5, 512), "long": (2000, 10, 64)}
ROUNDS = 7
RESULTS = ROOT / "bench" / "results" / "sizes.json"


def seconds(train: Callable[[], Any], side_by_side: bool) -> float:
    """Return the CPU seconds of a call, all models being trained side by side, or all one by one."""
    with mock.patch.object(lanes, "pays", lambda *_: side_by_side):
        start = time.process_time()
        train()
        return time.process_time() - start


def measure(kind: str, units: int, quick: bool) -> dict[str, Any]:
    """Return samples per second of nets of so many hidden units, both ways, and their parameters and FLOPs per row."""
    n_rows, epochs, models = FITS[kind]
    models, rounds = (32, 1) if quick else (models, ROUNDS)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(models, n_rows, units // 2)).astype("float32")
    y = x.sum(axis=2)
    net = fb.Sequential([fb.Dense(units, "relu"), fb.Dense(1)], n_inputs=units // 2)
    batch_size = max(8, units)

    def train() -> None:
        fb.fit_many(net, x, y, n=models, epochs=epochs, batch_size=batch_size, n_threads=1)

    ways = {"one_by_one": False, "per_lane": True}
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, side_by_side in ways.items():
            took[way].append(seconds(train, side_by_side))
    samples = float(models * n_rows * epochs)
    rates = {way: samples / statistics.median(values[1:]) for way, values in took.items()}
    layout = net.engine.layout
    return {
        "fit": kind,
        "units": units,
        "parameters": layout.n_parameters,
        "flops_per_row": layout.flops_per_row,
        "chosen": "per_lane" if lanes.pays(layout, batch_size, n_rows * epochs) else "one_by_one",
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
    found = []
    print("fit    net       parameters  one by one  per lane   million samples per second")
    for kind in FITS:
        for units in UNITS[2:10:7] if options.quick else UNITS:
            row = measure(kind, units, options.quick)
            found.append(row)
            print(
                f"{kind:<6} {f'{units // 2}-{units}-1':<10}{row['parameters']:10.0f}"
                f" {row['one_by_one'] / 1e6:11.2f} {row['per_lane'] / 1e6:9.2f}  {row['chosen']}"
            )
    if options.json:
        content = {"peak": fma_peak("float32", 0.05 if options.quick else 0.5), "rows": found}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
