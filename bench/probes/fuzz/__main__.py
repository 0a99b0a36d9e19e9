"""``python -m bench.probes.fuzz --cases N --seed S``: does anything crash, hang, or pass for what it is not?

Every sort of case runs in a process of its own, so that a crash is a finding like any other. A case is a function
of the seed, the sort and its number: ``--only arrays --case 17 --seed 3`` runs one again. The cases of threads, forks,
interrupts and disks take longer: there are a twentieth as many, and of first uses in a process of their own a
hundredth. With NUMBA_BOUNDSCHECK=1 every index is checked.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

# The module and function of each sort, and how many cases of it there are to one of --cases.
SORTS = {
    "arrays": ("arrays", "case", 1.0),
    "files": ("files", "case", 1.0),
    "tables": ("tables", "case", 1.0),
    "threads": ("processes", "threads", 0.05),
    "trainings": ("processes", "trainings", 0.05),
    "forks": ("processes", "forks", 0.05),
    "interrupts": ("processes", "interrupts", 0.05),
    "disks": ("processes", "disks", 0.05),
    "beginnings": ("processes", "beginnings", 0.01),
}
SLOWEST = 120  # seconds of one case: longer is a hang
SHOWN = 20  # findings of one sort


def function(sort: str) -> Callable[[np.random.Generator, Path], None]:
    """Return what runs one case."""
    module, name, _ = SORTS[sort]
    found: Callable[[np.random.Generator, Path], None] = getattr(
        importlib.import_module(f"bench.probes.fuzz.{module}"), name
    )
    return found


def run(
    sort: str, seed: int, numbers: range, started: Callable[[int], None] = lambda number: None
) -> list[str]:
    """Run cases in this process; return the findings."""
    case, findings = function(sort), []
    for number in numbers:
        started(number)
        with tempfile.TemporaryDirectory() as folder:
            try:
                case(np.random.default_rng([seed, list(SORTS).index(sort), number]), Path(folder))
            except Exception as error:  # a finding, or whatever escaped
                place = traceback.extract_tb(error.__traceback__)[-1]
                line = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
                findings.append(f"{sort}, case {number}: {' '.join(line.split())[:400]}")
    return findings


def child(sort: str, seed: int, first: int, end: int) -> int:
    """Run cases and tell each one's number before it begins, and the findings."""

    def started(number: int) -> None:
        faulthandler.dump_traceback_later(SLOWEST, exit=True)
        print(json.dumps(number), flush=True)

    for number in range(first, end):
        for finding in run(sort, seed, range(number, number + 1), started):
            print(json.dumps(finding), flush=True)
    return 0


def conduct(sort: str, seed: int, numbers: range) -> list[str]:
    """Run cases in a process of their own, and in another one after a crash; return the findings."""
    findings, begin = [], numbers.start
    while begin < numbers.stop and len(findings) < SHOWN:
        command = [
            sys.executable,
            "-m",
            "bench.probes.fuzz",
            "--child",
            sort,
            str(seed),
            str(begin),
            str(numbers.stop),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        told = [json.loads(line) for line in done.stdout.splitlines() if line[:1] in '"0123456789']
        findings += [line for line in told if isinstance(line, str)]
        if done.returncode == 0:
            break
        last = max((line for line in told if isinstance(line, int)), default=begin)
        words = done.stderr.strip().splitlines()
        findings.append(
            f"{sort}, case {last}: the process ended with {done.returncode}; {(words or [''])[0][:200]}"
        )
        begin = last + 1
    return findings


def main(arguments: list[str] | None = None) -> int:
    """Run the cases; exit code 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="python -m bench.probes.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=300, help="of arrays, of files and of tables each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=SORTS, action="append", metavar="SORT", help=", ".join(SORTS))
    parser.add_argument("--case", type=int, help="one case again")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.child:
        return child(args.child[0], *map(int, args.child[1:]))
    failed = 0
    for sort in args.only or SORTS:
        begun = time.perf_counter()
        count = -(-args.cases * int(100 * SORTS[sort][2]) // 100)
        numbers = range(count) if args.case is None else range(args.case, args.case + 1)
        findings = conduct(sort, args.seed, numbers)
        failed += len(findings)
        seconds = time.perf_counter() - begun
        print(f"{sort:<11}{len(numbers):>6} cases{len(findings):>5} findings{seconds:>7.1f} s", flush=True)
        print("".join(f"    {finding}\n" for finding in findings), end="", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
