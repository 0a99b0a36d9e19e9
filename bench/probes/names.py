"""The names of the tests: does each of an earlier commit still exist, or is it listed with the reason why not?

``python -m bench.probes.witnesses --tests`` collects the tests of this checkout and compares; files do not count, since
tests may move. Run it with every optional package installed: pytest does not collect what it cannot import.
bench/results/tests-gone.json maps each reason to the names that it explains; ``*`` stands for any text.
``--make`` stores the names of today in place of the old ones.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping

from bench.fair import ROOT

STORED = ROOT / "bench" / "results" / "tests.txt.gz"
TESTS = ("tests", "bench/tests")
GONE = ROOT / "bench" / "results" / "tests-gone.json"


def collect() -> list[str]:
    """Return the names of all tests, sorted, with classes and parameters but without files.

    Raises
    ------
    RuntimeError
        pytest could not collect them.
    """
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"pytest --collect-only: {done.stdout.strip()[-1500:]}{done.stderr.strip()[-500:]}"
        )
    # Other lines are warnings and the summary. A name may hold "::" itself, in a parameter.
    ids = [line.partition(".py::") for line in done.stdout.splitlines()]
    return sorted(name for path, mark, name in ids if mark and " " not in path)


def compare(
    before: Iterable[str], today: Iterable[str], gone: Mapping[str, list[str]]
) -> tuple[list[str], list[str]]:
    """Return the missing names that no reason explains, and the entries that explain no missing name.

    A name that several files held must still be there as many times.
    """
    missing = sorted((Counter(before) - Counter(today)).elements())
    unused, explained = [], set()
    for pattern in (pattern for patterns in gone.values() for pattern in patterns):
        form = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
        found = {name for name in missing if form.fullmatch(name)}
        explained |= found
        unused += [] if found else [pattern]
    return [name for name in missing if name not in explained], unused


def read() -> list[str]:
    """Return the stored names."""
    return gzip.decompress(STORED.read_bytes()).decode().splitlines()


def make() -> int:
    """Store the names of today."""
    names = collect()
    STORED.write_bytes(gzip.compress("".join(f"{name}\n" for name in names).encode(), mtime=0))
    GONE.write_text("{}\n")
    print(f"wrote {len(names)} names to {STORED}")
    return 0


def check() -> int:
    """Compare, print, and return 1 if a name is missing without a reason."""
    before, today = read(), collect()
    missing, unused = compare(before, today, json.loads(GONE.read_text()))
    for name in missing:
        print(f"MISSING  {name}")
    for pattern in unused:
        print(f"explains nothing that is missing: {pattern} in {GONE.name}")
    print(f"tests: {len(before)} before, {len(today)} today, {len(missing)} missing without a reason")
    return 1 if missing else 0
