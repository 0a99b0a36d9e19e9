"""Time ratios to scikit-learn's classes: `python -m bench.dropin [--threads 1,2] [--repeats 5] [--json FILE]`.

The configurations of the parity tests, on which both give the same numbers. Whole calls are timed, from the
constructor to the fitted estimator, in turns in one process: medians of the repeats after a first one that compiles.
scikit-learn has its BLAS with as many threads as that takes by itself.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
import warnings
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from sklearn import neural_network

import fastbp
from tests.estimators import parity_configs as parity


def seconds(config: Any, classes: dict[str, Any], data: Any) -> float:
    """Return what the calls of one configuration take."""
    start = time.perf_counter()
    parity.run(config, classes, data)
    return time.perf_counter() - start


def measure(threads: int, repeats: int, only: str = "") -> list[dict[str, Any]]:
    """Return name, family and time ratio (scikit-learn's time over ours) of every configuration."""
    theirs = {"classifier": neural_network.MLPClassifier, "regressor": neural_network.MLPRegressor}
    ours = {
        "classifier": functools.partial(fastbp.MLPClassifier, n_threads=threads),
        "regressor": functools.partial(fastbp.MLPRegressor, n_threads=threads),
    }
    found = []
    for config in parity.CONFIGS:
        if only not in config.name:
            continue
        data = parity.make_data(config)
        times: dict[str, list[float]] = {"theirs": [], "ours": []}
        for _ in range(repeats + 1):
            times["theirs"].append(seconds(config, theirs, data))
            times["ours"].append(seconds(config, ours, data))
        before, after = (median(times[who][1:]) for who in ("theirs", "ours"))
        found.append(
            {"name": config.name, "solver": config.solver, "size": config.size, "threads": threads}
            | {"sklearn_seconds": before, "fastbp_seconds": after, "ratio": before / after}
        )
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Return the ratios by family, and who is slower than scikit-learn."""
    families: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in found:
        families["all", ""].append(row["ratio"])
        families[row["solver"], row["size"]].append(row["ratio"])
    lines = [f"{'family':<16}{'fits':>6}{'median':>9}{'least':>8}{'most':>8}"]
    for (solver, size), ratios in sorted(families.items()):
        middle, low, high = median(ratios), min(ratios), max(ratios)
        lines.append(f"{solver + ' ' + size:<16}{len(ratios):>6}{middle:>8.2f}x{low:>7.2f}x{high:>7.2f}x")
    slower = [f"{row['name']} ({row['ratio']:.2f}x)" for row in found if row["ratio"] < 1.0]
    lines.append(f"slower than scikit-learn: {', '.join(slower) or 'none'}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.dropin", description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="configurations whose name contains this")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # both warn of the same, which the tests compare
    everything = []
    for threads in (int(part) for part in args.threads.split(",")):
        found = measure(threads, args.repeats, args.only)
        print(f"{threads} thread{'s' * (threads > 1)}\n{table(found)}\n", flush=True)
        everything += found
    if args.json:
        args.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
