"""`python -m bench.peers`: measure fastbp beside its peers and print the tables."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from bench import fair
from bench.peers import circumstances, machine
from bench.peers.conductor import Settings, run_case
from bench.peers.registry import PEAK, SUITES
from bench.peers.startup import run_startup
from bench.peers.subject import Case
from bench.peers.workloads import WORKLOADS
from bench.report import searches, tables


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    many = {"action": "append", "metavar": "NAME"}
    parser.add_argument("--suite", choices=list(SUITES), help="default: all", action="append")
    parser.add_argument(
        "--workload", choices=list(WORKLOADS), help="training of this workload only", action="append"
    )
    parser.add_argument("--peer", help="only these (fastbp, sklearn, jax-scan, ...)", **many)
    parser.add_argument("--threads", help="for example 1,2; default: what the suite asks for")
    parser.add_argument(
        "--dtype", help="float32 or float64 or both, with a comma; default: what the suite asks for"
    )
    parser.add_argument(
        "--json",
        type=Path,
        help="results file; what it already holds is not measured again, unless it does not count",
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what the results file holds")
    parser.add_argument(
        "--keep", action="store_true", help="keep what other commits measured; the report names the commits"
    )
    parser.add_argument("--plot", type=Path, help="chart of the training results (.png, .svg)")
    parser.add_argument(
        "--quick", action="store_true", help="tiny data, two short repeats: tries everything, says nothing"
    )
    parser.add_argument("--repeats", type=int, default=None, help="rounds per case (7)")
    parser.add_argument(
        "--seconds", type=float, default=None, help="length of one repeat; default: the suite's"
    )
    parser.add_argument("--timeout", type=float, default=600.0, help="longest wait for one peer (600)")
    parser.add_argument("--budget", type=float, default=None, help="start no case after so many seconds")
    parser.add_argument("--list", action="store_true", help="say what would be measured, and stop")
    return parser.parse_args(arguments)


def plan(args: argparse.Namespace) -> list[Case]:
    """The cases asked for, cheap suites first."""
    suites = args.suite or (["training"] if args.workload else list(SUITES))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = []
    for name in suites:
        suite = SUITES[name]
        counts = [int(n) for n in args.threads.split(",")] if args.threads else list(suite.threads)
        for threads in counts:
            if threads > cores:
                print(f"{name} on {threads} threads: left out, this process may use {cores}")
                continue
            for case in suite.cases:
                if name == "training" and args.workload and case not in args.workload:
                    continue
                dtypes = args.dtype.split(",") if args.dtype else suite.dtypes_of(case)
                wanted += [Case(name, case, threads, dtype, args.quick) for dtype in dtypes]
    return wanted


def measure(case: Case, names: list[str] | None, settings: Settings) -> dict[str, object]:
    """One case, for the named peers (all of them by default)."""
    if case.suite == "startup":
        return run_startup(case, names, settings)
    suite = SUITES[case.suite]
    peers = [p for p in suite.peers if not names or p.name in names or p is PEAK]
    return run_case(suite, case, peers, settings)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, save; exit code 1 when fastbp failed or disagreed anywhere, or a peer was slowed."""
    args = parse(arguments)
    settings = Settings(timeout=args.timeout)
    if args.quick:
        settings = replace(settings, repeats=2, seconds=0.02, stolen=1.0)
    if args.repeats is not None:
        settings = replace(settings, repeats=args.repeats)
    if args.seconds is not None:
        settings = replace(settings, seconds=args.seconds)
    todo = plan(args)
    if args.list:
        print("\n".join(case.key for case in todo))
        return 0

    began = time.monotonic()
    results: tables.Results = {"format": tables.FORMAT, "cases": {}}
    if args.json and args.json.exists():
        results = tables.load(args.json)
    host = machine.report()
    known = results.get("machine")
    same = ("cpu", "versions") if args.keep else ("cpu", "versions", "commit")
    if known and any(known[key] != host[key] for key in same):
        print("the results file is of another machine, commit or set of versions: starting over")
        results["cases"] = {}
        known = None
    results["machine"] = known or host
    results["settings"] = asdict(settings)
    if (load := host["load_before"]) is not None and load > 0.5 and not args.quick:
        print(
            f"warning: the machine is not idle (load {load:.1f}); trust no figure of this run",
            file=sys.stderr,
        )

    left = []
    for case in todo:
        if not args.fresh and circumstances.counts(results["cases"].get(case.key)):
            print(f"{case.key}: already measured")
            continue
        if args.budget is not None and time.monotonic() - began > args.budget:
            left.append(case.key)
            continue
        print(case.key, flush=True)
        results["cases"][case.key] = measure(case, args.peer, settings) | {"commit": host["commit"]}
        if args.json:
            tables.save(results, args.json)
    if args.plot:
        from bench.report.charts import peers_chart

        peers_chart(results, args.plot)
    print()
    for table in (*tables.tables(results), *searches.tables(results)):
        print(table.text(), end="\n\n")
    print(tables.machine_sentence(results))
    for line in circumstances.kernel_lines(results):
        print("kernels:", line)
    for sentence in tables.losses(results):
        print("behind:", sentence)
    for sentence in tables.refusals(results):
        print("no comparison:", sentence)
    if left:
        print("out of budget, left for the next call:", ", ".join(left))
    broken = [
        key
        for key, case in results["cases"].items()
        if case["peers"].get("fastbp", {}).get("status") in ("failed", "disagrees")
    ]
    if broken:
        print("fastbp failed or disagrees in:", ", ".join(broken))
    if slowed := circumstances.slowed(results):
        print("slowed, so that the run does not count:", ", ".join(slowed))
    return 1 if broken or slowed else 0


if __name__ == "__main__":
    status = fair.again("bench.peers", sys.argv[1:])  # the bandwidths are measured by NumPy in this process
    sys.exit(main() if status is None else status)
