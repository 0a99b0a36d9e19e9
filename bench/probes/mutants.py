"""``python -m bench.probes.mutants --seed S --count N``: would the tests notice a fault?

One small fault at a time is planted into a copy of the checkout: an operator, a comparison, a constant, a condition, a
statement left out. The tests nearest to the file run first, then all of them, until one fails. A fault that none
notices is printed with its place: a missing test, or a change that changes nothing. A night's job: most faults are
found in seconds, one that survives costs the whole quick suite. The kernels are mutated too, and compiled anew.
``--reach FILE`` measures once which tests reach which line, and has those run first, a kernel's in Numba's interpreter
mode: a fault then takes some seconds.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.fair import ROOT
from bench.probes.reach import Reach, load

PACKAGES = ("fastbp", "kernels")
# Three lines that a test runs as a program.
LEFT_OUT = {"fastbp/__main__.py"}
SECONDS = 1500  # of one run of tests
FEW = 8  # tests that run before the others that reach a line
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def places(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that a fault can be planted in; not docstrings, annotations, messages or imports."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                skipped.update(ast.walk(getattr(node, name)))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:  # the words of a message
                skipped.update(ast.walk(argument))
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.If) and _types_only(node)):
            skipped.update(ast.walk(node))
    for node in ast.walk(tree):
        if node not in skipped and _kind(node):
            yield node


def _types_only(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _kind(node: ast.AST) -> str:
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPPED:
        return "operator"
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPPED:
        return "comparison"
    if isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        return "constant"
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        return "condition"
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return "statement"
    if isinstance(node, ast.Raise):
        return "statement"
    return ""


def plant(source: str, number: int) -> tuple[str, str, int]:
    """Return the source with the fault of this number, what it is, and its line; numbers begin at 0."""
    tree = ast.parse(source)
    node = list(places(tree))[number]
    before = ast.unparse(node).split("\n")[0]
    line: int = node.lineno  # type: ignore[attr-defined]
    changed = _changed(copy.deepcopy(node))
    text = "\n".join(_replaced(source, node, ast.unparse(changed)).splitlines()) + "\n"
    ast.parse(text)
    return text, f"{before[:60]}  ->  {ast.unparse(changed).splitlines()[0][:60]}", line


def _changed(node: ast.AST) -> ast.AST:
    if isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = SWAPPED[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Compare):
        node.ops = [SWAPPED[type(node.ops[0])]()]  # type: ignore[list-item]
    elif isinstance(node, ast.Constant):
        value = node.value
        node.value = (
            (not value)
            if isinstance(value, bool)
            else value + 1
            if isinstance(value, int)
            else value * 1.5 + 1e-9
        )
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        node = ast.UnaryOp(ast.Not(), node.test)  # put in place of the condition alone
    else:
        node = ast.Pass()
    return ast.fix_missing_locations(node)


def _replaced(source: str, node: ast.AST, text: str) -> str:
    """Replace the text of one node, or of its condition; everything else of the file stays as it is."""
    place: ast.AST = node.test if isinstance(node, ast.If | ast.IfExp | ast.While) else node
    lines = source.encode().splitlines(keepends=True)
    first, last = place.lineno - 1, place.end_lineno - 1  # type: ignore[attr-defined]
    begin = sum(map(len, lines[:first])) + place.col_offset  # type: ignore[attr-defined]
    end = sum(map(len, lines[:last])) + place.end_col_offset  # type: ignore[attr-defined]
    whole = source.encode()
    inner = text if isinstance(place, ast.stmt) else f"({text})"
    return (whole[:begin] + inner.encode() + whole[end:]).decode()


class Group(NamedTuple):
    """Tests that run together."""

    tests: list[str]
    interpreted: bool = False


def nearest(path: Path) -> list[str]:
    """Return the folders and files of tests that belong to a module, the nearest first, and all of them last."""
    name, room = path.stem.lstrip("_"), path.parent
    base = Path("tests") / (room if room.parts[0] == "kernels" else room.relative_to("fastbp"))
    found = sorted(str(test.relative_to(ROOT)) for test in (ROOT / "tests").rglob(f"test_{name}*.py"))
    folder = str(base) if (ROOT / base).is_dir() and base != Path("tests") else None
    return [*found, *([folder] if folder else []), "tests"]


def groups(path: Path, line: int, reach: dict[str, Reach] | None, near: bool) -> list[Group]:
    """Return the tests to run, those first that are likely to notice a fault in this line.

    With a map of what tests reach: those that reach the line, a few fast ones first. A line that no test function
    reaches runs while a module is imported or a fixture is made; then, and without a map, the nearest tests are first.
    """
    *files, whole = nearest(path)
    found = [Group([test]) for test in files] + ([] if near and files else [Group([whole])])
    first: list[Group] = []
    for run, lines in (reach or {}).items():
        tests = lines.get(str(path), {}).get(str(line), [])
        ordered = sorted(tests, key=lambda test: not test.startswith(tuple(files)) if files else False)
        interpreted = run == "interpreted"
        first += [Group(part, interpreted) for part in (ordered[:FEW], ordered[FEW:]) if part]
    return first + found


def noticed(folder: Path, tests: list[Group]) -> str | None:
    """Run the tests in the copy, those given first alone; return the one that fails, or None."""
    for group in tests:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider"]
        workers = [] if any("::" in test for test in group.tests) else ["-n", "2"]
        interpreted = {"NUMBA_DISABLE_JIT": "1"} if group.interpreted else {}
        try:
            done = subprocess.run(
                [*command, *workers, *group.tests], cwd=folder, env=surroundings(folder) | interpreted,
                capture_output=True, text=True, timeout=SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"{group.tests[0]} does not end"
        if done.returncode not in (0, 5):  # 5: no test was selected
            lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            return (lines or done.stdout.splitlines()[-1:] or [f"status {done.returncode}"])[0]
    return None


def surroundings(folder: Path) -> dict[str, str]:
    """Return the environment of tests in the copy."""
    return os.environ | {
        "PYTHONPATH": str(folder),
        "FASTBP_CACHE_DIR": str(folder / ".cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def main(arguments: list[str] | None = None) -> int:
    """Plant the faults; exit code 1 if one survives."""
    parser = argparse.ArgumentParser(prog="python -m bench.probes.mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--only", default="", help="files whose path holds this")
    parser.add_argument(
        "--near", action="store_true", help="only the tests nearest to the file, not the whole suite"
    )
    parser.add_argument(
        "--reach", type=Path, metavar="FILE", help="which tests reach which line; measured if it is not there"
    )
    args = parser.parse_args(arguments)
    rng = random.Random(args.seed)
    # kernels/ is linked into the package: each file once.
    files = [
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "fastbp/kernels" not in str(path.relative_to(ROOT))
    ]
    files = [path for path in files if args.only in str(path) and str(path) not in LEFT_OUT]
    counts = [len(list(places(ast.parse((ROOT / path).read_text(encoding="utf-8"))))) for path in files]
    survived = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "checkout"
        hidden = shutil.ignore_patterns(".git", ".venv", "venv", "out", "logs", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT, folder, symlinks=True, ignore=hidden)
        reach = load(args.reach, folder, surroundings(folder)) if args.reach else None
        for number in range(args.count):
            path = rng.choices(files, counts)[0]
            whole = (ROOT / path).read_text(encoding="utf-8")
            text, what, line = plant(whole, rng.randrange(len(list(places(ast.parse(whole))))))
            begun = time.perf_counter()
            (folder / path).write_text(text, encoding="utf-8")
            try:
                found = noticed(folder, groups(path, line, reach, args.near))
            finally:
                (folder / path).write_text(whole, encoding="utf-8")
            survived += found is None
            seconds = time.perf_counter() - begun
            result = "SURVIVED" if found is None else "noticed "
            print(f"{number + 1:>4} {result} {seconds:6.1f} s  {path}:{line}  {what}", flush=True)
            print(f"                        {(found or '')[:110]}\n" if found else "", end="", flush=True)
    print(f"{args.count - survived} of {args.count} faults noticed (seed {args.seed})")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
