"""The numbers of 200 fits, bit by bit: the same as those of an earlier commit?

``python -m bench.probes.witnesses`` runs them (about 10 seconds) and compares hashes of weights, histories and outputs
with those in bench/results/witnesses.json; exit code 1 if any differs. Bits depend on the processor and on versions.
On a machine that is not in the file the earlier commit is taken from git, run as well, and compared.

Some changes alter bits on purpose. Then name what may differ, and why:

    python -m bench.probes.witnesses --check --tolerance             # by how much do they differ?
    python -m bench.probes.witnesses --make --only float32 --reason "bias gradients are summed in float64"

and commit the file together with the change: the commit that brings a reason into the file is from then on the one
that the configurations it names are compared with. `--make` alone adds this machine, if nothing differs.

``--tests`` compares the names of the tests with those of the earlier commit, ``--corpus DIR`` writes files as those of
bench/tests/probes/corpus are: see `bench.probes.names` and `bench.probes.corpus`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bench.fair import ROOT
from bench.probes import outcome, runs

Stored = dict[str, Any]


def read(path: Path) -> Stored:
    """Return the file: ``baseline`` (a commit), ``remade`` (reason and names), ``machines`` (environment, records)."""
    stored: Stored = json.loads(path.read_text())
    return stored


def write(path: Path, stored: Stored) -> None:
    """Write the file with a line per record, so that a change to one is a line of the commit."""
    lines = ["{", f'"baseline": {json.dumps(stored["baseline"])},', '"remade": [']
    lines.append(",\n".join(json.dumps(entry) for entry in stored["remade"]))
    lines.append('],\n"machines": [')
    machines = []
    for machine in stored["machines"]:
        records = ",\n".join(
            f"{json.dumps(name)}: {json.dumps(r)}" for name, r in sorted(machine["records"].items())
        )
        machines.append(
            f'{{"environment": {json.dumps(machine["environment"])},\n"records": {{\n{records}\n}}}}'
        )
    path.write_text("\n".join([*filter(None, lines), ",\n".join(machines), "]", "}"]) + "\n")


def select(names: list[str], pattern: str) -> list[str]:
    """Return the names that hold the pattern; with a ``*`` in it, those it describes from end to end."""
    if "*" in pattern:
        return [name for name in names if fnmatchcase(name, pattern)]
    return [name for name in names if pattern in name]


def commit_of(name: str, stored: Stored, root: Path = ROOT) -> str:
    """Return the commit that a configuration is compared with.

    It is the baseline; for one that was made again it is the first commit whose file holds the reason, since a
    commit cannot name itself.

    Raises
    ------
    RuntimeError
        The reason is in no commit yet.
    """
    reason = next((entry["reason"] for entry in reversed(stored["remade"]) if name in entry["names"]), None)
    if reason is None:
        return str(stored["baseline"])
    text = json.dumps(reason)
    found = runs.git(
        "log", "--reverse", "--format=%H", f"-S{text}", "--", f"*{runs.STORED.name}", root=root
    ).split()
    if not found:
        raise RuntimeError(
            f"{name} was made again ({reason!r}), but no commit holds that: commit {runs.STORED.name}"
        )
    return found[0].decode()


def expected(names: list[str], stored: Stored, current: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the records to compare with, and a sentence that says where they are from."""
    records: dict[str, Any] = {}
    for machine in stored["machines"]:
        if machine["environment"] == current:
            records = {name: record for name, record in machine["records"].items() if name in names}
    commits: dict[str, list[str]] = {}
    for name in names:
        if name not in records:
            commits.setdefault(commit_of(name, stored), []).append(name)
    source = f"{len(records)} from {runs.STORED.name}"
    for commit, missing in commits.items():
        records |= runs.records_of(commit, missing, current)
        source += f", {len(missing)} from a run of {commit[:7]}"
    return records, source


def compare(old: dict[str, Any], new: dict[str, Any], tolerance: bool = False) -> dict[str, str]:
    """Return what differs, by name; with `tolerance` also by how much."""
    found = {}
    for name, record in new.items():
        before = old[name]
        if "error" in record or "error" in before:
            found[name] = f"now {record.get('error', 'no error')}; before {before.get('error', 'no error')}"
        elif record["hashes"] != before["hashes"]:
            pairs = zip(outcome.PARTS, before["hashes"], record["hashes"], strict=True)
            found[name] = ", ".join(part for part, one, other in pairs if one != other)
            if tolerance:
                by = outcome.difference(before, record)
                found[name] += f"; relative difference {by:.1e}" if by else "; none in the norms and samples"
    return found


def check(names: list[str], stored: Stored, tolerance: bool) -> tuple[dict[str, str], dict[str, Any]]:
    """Run, compare, print; return what differs, and what the run told."""
    start = time.perf_counter()
    told = runs.run(names)
    seconds = time.perf_counter() - start
    old, source = expected(names, stored, told["environment"])
    found = compare(old, told["records"], tolerance)
    for name, text in found.items():
        print(f"DIFFERENT  {name}: {text}")
    print(
        f"witnesses: {len(names) - len(found)} of {len(names)} as before ({source}), run in {seconds:.0f} s"
    )
    return found, told


def make(names: list[str], stored: Stored, reason: str | None) -> int:
    """Put the records of this machine into the file; what differs only for a reason."""
    found, told = check(names, stored, tolerance=True)
    errors = [name for name in names if "error" in told["records"][name]]
    if errors or (found and not reason):
        print(
            "nothing written: " + ("a fit that fails is no witness" if errors else "say why, with --reason")
        )
        return 1
    if found:
        if any(entry["reason"] == reason for entry in stored["remade"]):
            print("nothing written: this reason was given before; commits are found by it, so it must be new")
            return 1
        stored["remade"].append({"reason": reason, "names": sorted(found)})
        for machine in stored["machines"]:  # records of other machines are those of the code before
            for name in found:
                machine["records"].pop(name, None)
    here = next((m for m in stored["machines"] if m["environment"] == told["environment"]), None)
    if here is None:
        here = {"environment": told["environment"], "records": {}}
        stored["machines"].append(here)
    here["records"] |= told["records"]
    known = set(runs.programs())
    for machine in stored["machines"]:  # nobody needs what is no witness any more
        for name in set(machine["records"]) - known:
            del machine["records"][name]
    write(runs.STORED, stored)
    print(f"wrote {len(names)} records, {len(found)} of them new, to {runs.STORED}")
    return 0


def tests(args: argparse.Namespace) -> int:
    """Run a command on the names of the tests."""
    from bench.probes import names

    if args.list:
        print("\n".join(names.read()))
        return 0
    return names.make() if args.make else names.check()


def fits(args: argparse.Namespace) -> int:
    """Run a command on the witnesses."""
    names = select(list(runs.programs()), args.only)
    if not names:
        print(f"witnesses: no name holds {args.only!r}; see --list", file=sys.stderr)
        return 2
    if args.list:
        print("\n".join(names))
        return 0
    stored = read(runs.STORED)
    return (
        make(names, stored, args.reason) if args.make else int(bool(check(names, stored, args.tolerance)[0]))
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.probes.witnesses", description=__doc__.partition("\n")[0]
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare with the earlier commit (the default)")
    what.add_argument("--make", action="store_true", help="write the records of this machine into the file")
    what.add_argument("--list", action="store_true", help="print the names")
    what.add_argument("--corpus", type=Path, metavar="DIR", help="write the corpus of model files")
    what.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tests", action="store_true", help="the same for the names of the tests")
    parser.add_argument(
        "--only", default="", metavar="NAME", help="names that hold this, or match it if it has a *"
    )
    parser.add_argument("--tolerance", action="store_true", help="also print by how much the numbers differ")
    parser.add_argument("--reason", help="with --make: why the numbers differ")
    args = parser.parse_args(arguments)
    if args.reason and not args.make:
        parser.error("--reason goes with --make")
    if args.tests and (args.only or args.tolerance or args.reason):
        parser.error("--tests takes --check, --make or --list, and no other option")
    return args


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; exit code 1 if anything differs, 2 if it could not be found out."""
    args = parse(arguments)
    if args.child:
        args.child.write_text(json.dumps(runs.child(json.load(sys.stdin))))
        return 0
    if args.corpus:
        from bench.probes import corpus

        return corpus.make(args.corpus)
    try:
        return tests(args) if args.tests else fits(args)
    except RuntimeError as error:
        print(f"witnesses: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
