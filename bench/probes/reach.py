"""Which tests reach which line: the quick tests once under coverage, for ``bench.probes.mutants``.

What is compiled is seen by no coverage, so the tests of the kernels run again in Numba's interpreter mode.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

# The runs: what coverage looks at, and which tests see it.
RUNS = {
    "compiled": ("fastbp", ["tests"]),
    "interpreted": ("fastbp.kernels", ["tests/kernels", "tests/engine"]),
}
SETTINGS = """[run]
source_pkgs = {package}
omit = {omitted}
dynamic_context = test_function
data_file = {data}
"""
MOST = 60  # tests that are kept for a line: the fastest
Reach = dict[str, dict[str, list[str]]]  # by file and line


def measured(folder: Path, environment: dict[str, str]) -> dict[str, Reach]:
    """Run the tests of a checkout that pass there; return for each run the tests by file and line."""
    return {run: _run(folder, environment, run) for run in RUNS}


def load(path: Path, folder: Path, environment: dict[str, str]) -> dict[str, Reach]:
    """Return what the file holds, or measure and write it."""
    if not path.exists():
        path.write_text(json.dumps(measured(folder, environment)), encoding="utf-8")
    found: dict[str, Reach] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _run(folder: Path, environment: dict[str, str], run: str) -> Reach:
    package, tests = RUNS[run]
    if run == "interpreted":
        environment = environment | {"NUMBA_DISABLE_JIT": "1"}
    with tempfile.TemporaryDirectory() as place:
        settings, data, report = Path(place) / "settings", Path(place) / "data", Path(place) / "report.xml"
        omitted = "*/kernels/*" if run == "compiled" else ""
        settings.write_text(SETTINGS.format(package=package, omitted=omitted, data=data), encoding="utf-8")
        command = [
            *(sys.executable, "-m", "coverage", "run", "--rcfile", str(settings)),
            *(
                "-m",
                "pytest",
                "-q",
                "-m",
                "not slow",
                "-p",
                "no:cacheprovider",
                f"--junitxml={report}",
                *tests,
            ),
        ]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if not report.exists() or not data.exists():
            raise RuntimeError(f"{' '.join(command)} failed: {(done.stdout + done.stderr)[-2000:]}")
        return reached(data, seconds(report), folder)


def seconds(report: Path) -> dict[str, float]:
    """Return what each test function took, all its parameters together; a test is module.function."""
    took: dict[str, float] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{str(case.get('name')).partition('[')[0]}"
        took[name] = took.get(name, 0.0) + float(case.get("time") or 0.0)
    return took


def reached(data: Path, took: dict[str, float], folder: Path) -> Reach:
    """Return the tests that reach each line, the fastest first, from coverage's file."""
    from coverage import CoverageData

    found: Reach = {}
    kept = CoverageData(str(data))
    kept.read()
    for name in kept.measured_files():
        path = Path(os.path.realpath(name))
        if not path.is_relative_to(os.path.realpath(folder)):
            continue
        lines = found.setdefault(str(path.relative_to(os.path.realpath(folder))), {})
        for line, contexts in kept.contexts_by_lineno(name).items():
            tests = sorted((context for context in contexts if context in took), key=took.__getitem__)
            lines[str(line)] = [_place(test, folder) for test in tests[:MOST]]
    return found


def _place(test: str, folder: Path) -> str:
    """Return file::function of module.function, or file::Class::method."""
    parts = test.split(".")
    for end in range(len(parts) - 1, 0, -1):
        path = Path(*parts[:end]).with_suffix(".py")
        if (folder / path).is_file():
            return "::".join([path.as_posix(), *parts[end:]])
    raise ValueError(f"no file has the test {test}")
