"""A fit among busy neighbors: `python -m bench.probes.neighbors [--json FILE] [WORKLOAD ...]`.

One process per core computes without pause while a network trains, on one thread and on all cores, in turns. What is
asked: does a team lose against one thread when cores are taken, and does it take more from the neighbors than one
thread does, as a team that waits in a loop would?
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.suite import make_run
from fastbp.engine import teams

NAMES = ["tabular-small", "tabular-multi", "mnist-sk", "mnist-wide"]


def neighbor(count: Synchronized[int]) -> None:
    """Take square roots for ever, and count."""
    a = np.full(4096, 0.5)
    b = np.empty_like(a)
    while True:
        for _ in range(100):
            np.sqrt(a, out=b)
        count.value += 1


def train(name: str, n_threads: int, seconds: float) -> float:
    """Return samples per second of a session of its own."""
    session, x, y, orders, rate = make_run(name, "float32", n_threads)
    session.run(x, y, orders[0], rate)
    rows, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        session.run(x, y, orders[0], rate)
        rows += len(x)
    return rows / (time.perf_counter() - start)


def measure(name: str, repeats: int, seconds: float) -> dict[str, Any]:
    """Return rates of the fit and of its neighbors, idle and loaded, on one thread and on all cores."""
    cores = teams.default_threads()
    found: dict[str, list[float]] = {}

    def note(key: str, value: float) -> None:
        found.setdefault(key, []).append(value)

    for _ in range(repeats):
        for who, n_threads in (("one", 1), ("team", cores)):
            note(f"idle {who}", train(name, n_threads, seconds))
    counts: list[Any] = [multiprocessing.Value("q", 0) for _ in range(cores)]
    processes = [multiprocessing.Process(target=neighbor, args=(count,), daemon=True) for count in counts]
    for process in processes:
        process.start()
    try:
        while not all(count.value for count in counts):
            time.sleep(0.1)  # they import
        for _ in range(repeats):
            for who, n_threads in (("one", 1), ("team", cores)):
                before, start = sum(count.value for count in counts), time.perf_counter()
                note(f"loaded {who}", train(name, n_threads, seconds))
                elapsed = time.perf_counter() - start
                note(f"neighbors of {who}", (sum(count.value for count in counts) - before) / elapsed)
    finally:
        for process in processes:
            process.kill()
    return {"workload": name, "cores": cores, **{key: median(values) for key, values in found.items()}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.probes.neighbors", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(NAMES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    results = []
    print(f"{'':<16}{'team / one thread':>28}{'neighbors beside':>34}")
    print(f"{'workload':<16}{'idle cores':>14}{'loaded cores':>14}{'a team / beside one thread':>34}")
    for name in args.workloads or NAMES:
        r = measure(name, args.repeats, args.seconds)
        idle, loaded = r["idle team"] / r["idle one"], r["loaded team"] / r["loaded one"]
        beside = r["neighbors of team"] / r["neighbors of one"]
        print(f"{name:<16}{idle:>13.2f}x{loaded:>13.2f}x{beside:>33.2f}x", flush=True)
        results.append(r)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
