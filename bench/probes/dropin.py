"""Time ratios to scikit-learn's classes: `python -m bench.probes.dropin [--threads 1,2] [--repeats 5] [--json FILE]`.

The fits are the configurations of the parity tests, on which both give the same numbers. Whole calls are timed, from
the constructor to the fitted estimator, in turns in one process: medians of the repeats after a first one that
compiles. The process has no variable of `fair.HANDICAPS` and `fair.THREADS`, so scikit-learn's BLAS takes its own
kernels and threads. If its kernels are slow ones all the same, nothing is measured, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sklearn import neural_network

import fastbp
from bench import fair, stolen
from bench.peers import machine


@dataclass(frozen=True)
class Fit:
    """One configuration: its name and family, and its calls, which take the "classifier" and "regressor" to use."""

    name: str
    solver: str
    size: str
    run: Callable[[dict[str, Any]], Any]

    def seconds(self, classes: dict[str, Any]) -> float:
        """Return what the calls take."""
        start = time.perf_counter()
        self.run(classes)
        return time.perf_counter() - start


def fits(only: str = "") -> Iterator[Fit]:
    """Yield the configurations of the parity tests whose name contains `only`."""
    from tests.estimators import parity_configs as parity

    for config in parity.CONFIGS:
        if only in config.name:
            run = functools.partial(parity.run, config, data=parity.make_data(config))
            yield Fit(config.name, config.solver, config.size, run)


def measure(
    wanted: Iterable[Fit], threads: int, repeats: int, limit: float = stolen.LIMIT
) -> list[dict[str, Any]]:
    """Time every configuration.

    Returns
    -------
    list of dict
        Name and family; for "sklearn" and "fastbp" the median seconds of the calls that count, what was stolen from
        them, and the calls that do not count (seconds, stolen share); "ratio" of scikit-learn's time to ours. Without
        a call that counts on both sides the ratio is None.
    """
    sides = {
        "sklearn": {"classifier": neural_network.MLPClassifier, "regressor": neural_network.MLPRegressor},
        "fastbp": {
            "classifier": functools.partial(fastbp.MLPClassifier, n_threads=threads),
            "regressor": functools.partial(fastbp.MLPRegressor, n_threads=threads),
        },
    }
    found = []
    for fit in wanted:
        tallies = {side: stolen.Tally(repeats, limit) for side in sides}
        for classes in sides.values():
            fit.seconds(classes)
        while waiting := [side for side in sides if tallies[side].open]:
            for side in waiting:
                watch = stolen.Watch()
                tallies[side].add(fit.seconds(sides[side]), watch.share())
        row = {"name": fit.name, "solver": fit.solver, "size": fit.size, "threads": threads}
        for side, tally in tallies.items():
            row |= {
                f"{side}_seconds": median(tally.counted) if tally.counted else None,
                f"{side}_stolen": tally.shares,
                f"{side}_lost": tally.lost,
            }
        clean = all(tally.counted for tally in tallies.values())
        found.append(row | {"ratio": row["sklearn_seconds"] / row["fastbp_seconds"] if clean else None})
    return found


def stolen_sentence(found: list[dict[str, Any]]) -> str:
    """Say what was stolen from the calls."""
    shares = [share for row in found for side in ("sklearn", "fastbp") for share in row[f"{side}_stolen"]]
    return stolen.summary(shares, sum(len(row["sklearn_lost"]) + len(row["fastbp_lost"]) for row in found))


def table(found: list[dict[str, Any]]) -> str:
    """Return the ratios by family, who is slower than scikit-learn, and who had no clean run."""
    families: dict[tuple[str, str], list[float]] = defaultdict(list)
    counted = [row for row in found if row["ratio"] is not None]
    for row in counted:
        families["all", ""].append(row["ratio"])
        families[row["solver"], row["size"]].append(row["ratio"])
    lines = [f"{'family':<16}{'fits':>6}{'median':>9}{'least':>8}{'most':>8}"]
    for (solver, size), ratios in sorted(families.items()):
        middle, low, high = median(ratios), min(ratios), max(ratios)
        lines.append(f"{solver + ' ' + size:<16}{len(ratios):>6}{middle:>8.2f}x{low:>7.2f}x{high:>7.2f}x")
    slower = [f"{row['name']} ({row['ratio']:.2f}x)" for row in counted if row["ratio"] < 1.0]
    lines.append(f"slower than scikit-learn: {', '.join(slower) or 'none'}")
    if disturbed := [row["name"] for row in found if row["ratio"] is None]:
        lines.append(f"no clean run, so no ratio: {', '.join(disturbed)}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; exit code 1 if scikit-learn is slowed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.probes.dropin", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="configurations whose name contains this")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one repeat, whatever is stolen of it: tries everything, says nothing",
    )
    args = parser.parse_args(arguments)
    process = fair.report()
    if reasons := fair.reasons(process, fair.level()):
        print(f"scikit-learn would be slowed, nothing was measured: {'; '.join(reasons)}", file=sys.stderr)
        return 1
    host = machine.facts()
    print(machine.describe(host))
    for kernel in process["kernels"]:
        print(f"kernels: {fair.describe(kernel)}, threads {kernel['threads']}")
    print()
    repeats, limit = (1, 1.0) if args.quick else (args.repeats, stolen.LIMIT)
    warnings.simplefilter("ignore")  # both warn of the same, which the tests compare
    everything = []
    for threads in (int(part) for part in args.threads.split(",")):
        found = measure(fits(args.only), threads, repeats, limit)
        print(f"{threads} thread{'s' * (threads > 1)}\n{table(found)}\n", flush=True)
        everything += found
    print(stolen_sentence(everything))
    if args.json:
        content = {"machine": host, "kernels": process["kernels"], "quick": args.quick, "rows": everything}
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    status = fair.again("bench.probes.dropin", sys.argv[1:], (*fair.HANDICAPS, *fair.THREADS))
    sys.exit(main() if status is None else status)
