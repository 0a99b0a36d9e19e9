"""What joblib's backends add to a grid search with our class: `python -m bench.probes.backends [--json FILE]`.

60 fits of the digits by `GridSearchCV`: one after the other, by threads, and by processes that are started first or are
there already, in turns. Processes import fastbp and load its kernels before their first fit; threads share what is
there, and run side by side because kernels hold no lock of the interpreter.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import joblib
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import GridSearchCV

import fastbp
from bench import fair, stolen
from bench.peers import machine
from bench.peers.searching import GRID, make_task

ALONE, THREADS, STARTED, AGAIN = "n_jobs=1", "threading", "loky, started anew", "loky, once more"


@dataclass
class Way:
    """One way to run the search: the seconds of the runs that count."""

    tally: stolen.Tally
    processor: list[float] = field(default_factory=list)
    """CPU seconds of each, child processes included."""

    def add(self, seconds: float, processor: float, share: float | None) -> None:
        """Take in a run."""
        before = len(self.tally.counted)
        self.tally.add(seconds, share)
        if len(self.tally.counted) > before:
            self.processor.append(processor)


def used() -> float:
    """CPU seconds of this process, and of those child processes that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def fit(backend: str, jobs: int, quick: bool) -> None:
    """One search."""
    X, y, epochs = make_task("digits", "float64", quick)
    model = fastbp.MLPClassifier(max_iter=epochs, random_state=0, n_threads=1)
    with joblib.parallel_config(backend):
        GridSearchCV(model, GRID, cv=5, n_jobs=jobs, refit=False).fit(X, y)


def run(name: str, jobs: int, quick: bool) -> tuple[float, float, float | None]:
    """Return seconds, CPU seconds and the share stolen of one search."""
    backend = {ALONE: "sequential", THREADS: "threading"}.get(name, "loky")
    if name == AGAIN:
        fit(backend, jobs, quick)
    watch, before, start = stolen.Watch(), used(), time.perf_counter()
    fit(backend, jobs, quick)
    seconds, share = time.perf_counter() - start, watch.share()
    if backend == "loky":
        # Of child processes the time is known once they have ended.
        get_reusable_executor().shutdown(wait=True)
    return seconds, used() - before, share


def measure(jobs: int, repeats: int, quick: bool) -> dict[str, Any]:
    """Return for each way the medians of seconds and CPU seconds, and what the others add to one after the other."""
    limit = 1.0 if quick else stolen.LIMIT
    ways = {name: Way(stolen.Tally(repeats, limit)) for name in (ALONE, THREADS, STARTED, AGAIN)}
    fit("sequential", 1, quick)
    while waiting := [name for name in ways if ways[name].tally.open]:
        for name in waiting:
            ways[name].add(*run(name, 1 if name == ALONE else jobs, quick))
    found: dict[str, Any] = {
        name: {"seconds": median(way.tally.counted), "processor": median(way.processor)}
        for name, way in ways.items()
        if way.tally.counted
    }
    if {ALONE, THREADS} <= found.keys():
        found["threads add"] = found[THREADS]["processor"] / found[ALONE]["processor"] - 1
    if {ALONE, STARTED} <= found.keys():
        found["a worker adds"] = (found[STARTED]["processor"] - found[ALONE]["processor"]) / jobs
    return found | {"jobs": jobs, "quick": quick}


def table(found: dict[str, Any]) -> str:
    """Return what was measured in lines."""
    lines = [f"{'60 fits':<20}{'seconds':>10}{'CPU seconds':>14}"]
    for name in (ALONE, THREADS, STARTED, AGAIN):
        if name in found:
            shown = name if name == ALONE else f"{name}, {found['jobs']}"
            processor = "" if name == AGAIN else f"{found[name]['processor']:>14.2f}"
            lines.append(f"{shown:<20}{found[name]['seconds']:>10.2f}{processor}")
        else:
            lines.append(f"{name}: no clean run")
    if "threads add" in found:
        lines.append(f"threads add {found['threads add']:.1%} of CPU time")
    if "a worker adds" in found:
        lines.append(f"each process that is started adds {found['a worker adds']:.2f} CPU seconds")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.probes.backends", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--jobs", type=int, default=2, help="threads, or processes (2)")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--quick", action="store_true", help="tiny data, one repeat: tries everything, says nothing"
    )
    args = parser.parse_args(arguments)
    host = machine.facts()
    print(machine.describe(host))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of epochs that did not converge
        found = measure(args.jobs, 1 if args.quick else args.repeats, args.quick)
    print(table(found))
    if args.json:
        args.json.write_text(json.dumps({"machine": host} | found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    status = fair.again("bench.probes.backends", sys.argv[1:], (*fair.HANDICAPS, *fair.THREADS))
    sys.exit(main() if status is None else status)
