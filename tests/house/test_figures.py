"""Figures of the house. Each may fall and none may rise: who brings one down lowers its limit here."""

import ast
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MANY = 12  # arguments


@cache
def kernels() -> dict[str, tuple[int, int]]:
    """Arguments and lines of every function in kernels/, by its place."""
    found = {}
    for path in sorted((ROOT / "kernels").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                args = node.args
                n_args = len(args.posonlyargs) + len(args.args) + len(args.kwonlyargs)
                place = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                found[place] = n_args, node.end_lineno - node.lineno + 1
    return found


@pytest.mark.parametrize("limit", [19])
def test_no_kernel_takes_more_arguments(limit):
    assert not {place: n_args for place, (n_args, _) in kernels().items() if n_args > limit}


@pytest.mark.parametrize("limit", [8])
def test_few_kernels_take_many_arguments(limit):
    many = [place for place, (n_args, _) in kernels().items() if n_args > MANY]
    assert len(many) <= limit, "\n".join(many)


@pytest.mark.parametrize("limit", [120])
def test_no_kernel_is_longer(limit):
    assert not {place: lines for place, (_, lines) in kernels().items() if lines > limit}


def test_what_is_generated_is_not_committed():
    """The documentation, pictures and tables are made when the site is built; .gitignore names their folders."""
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a checkout")
    assert done.stdout == ""


@pytest.mark.parametrize("trick", ["sys.path", "spec_from_file_location"])
def test_no_test_finds_modules_by_a_trick(trick):
    """Tests are packages; pytest imports them as such, and the installed fastbp is what they meet."""
    paths = [ROOT / "conftest.py", *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench" / "tests").rglob("*.py")]
    paths.remove(Path(__file__).resolve())
    assert not [str(path) for path in paths if trick in path.read_text(encoding="utf-8")]
