"""What fastbp costs before it computes: megabytes on the disk, seconds of importing.

`python -m bench.probes.footprint --json bench/results/footprint.json` measures the environment it runs in; the page
"Installing" of the documentation shows the file. Sizes are those of the files that an installer wrote. Times are the
best of several new processes, less the best of empty ones.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from bench import fair
from bench.peers import machine
from bench.report import footprint

STATEMENTS = (
    "import fastbp",
    "from fastbp import MLPClassifier",
    "from fastbp import Sequential, Dense, Adam",
    "import fastbp.kernels",
    "import numpy",
    "import numba",
    "from sklearn.neural_network import MLPClassifier",
)


def distributions(root: str) -> dict[str, str]:
    """Return a distribution and all that it needs, without extras: who asks for it first, by name."""
    found: dict[str, str] = {}
    todo = [(root, "")]
    while todo:
        name, asker = todo.pop(0)
        name = re.sub(r"[-_.]+", "-", name).lower()
        if name not in found:
            found[name] = asker
            needed = map(Requirement, metadata.requires(name) or ())
            todo += [(r.name, name) for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def megabytes(name: str) -> float:
    """Return the size of the files that an installer wrote for a distribution.

    Raises
    ------
    ValueError
        If it is installed as a link to its sources, which no installer wrote.
    """
    distribution = metadata.distribution(name)
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        raise ValueError(f"{name} is installed in editable mode: install its wheel to measure it")
    paths = (Path(str(file.locate())) for file in distribution.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def seconds(statement: str, repeats: int) -> float:
    """Return the least time of new processes that run a statement, away from every checkout."""
    environment = fair.without(os.environ, ("PYTHONPATH",))
    times = []
    with tempfile.TemporaryDirectory() as elsewhere:
        for _ in range(repeats):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], cwd=elsewhere, env=environment, check=True)
            times.append(time.perf_counter() - start)
    return min(times)


def measure(repeats: int) -> footprint.Footprint:
    """Return what is installed and how long the imports take."""
    empty = seconds("pass", repeats)
    return {
        "machine": machine.facts(),
        "packages": [
            {"name": name, "version": metadata.version(name), "asker": asker, "megabytes": megabytes(name)}
            for name, asker in distributions("fastbp").items()
        ],
        "empty_seconds": empty,
        "imports": [
            {"statement": statement, "seconds": seconds(statement, repeats) - empty}
            for statement in STATEMENTS
        ],
    }


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.probes.footprint", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    found = measure(args.repeats)
    print(footprint.rst(found), end="")
    if args.json:
        footprint.save(found, args.json)


if __name__ == "__main__":
    main()
