"""CONTRIBUTING's recipes, followed to the letter in a copy of the project, whose tests must then pass."""

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = ["activation", "loss", "optimizer", "hyper-parameter"]
# "Into `TABLE` of `file`:" and then the code.
STEP = re.compile(
    r"\b(?i:(into|above)) `(\w+)` of\s+`([\w/.]+)`:\n\n {3}```python\n(.*?)^ {3}```$",
    re.DOTALL | re.MULTILINE,
)
NEW = ["log_sigmoid", "cauchy", "lion", "qhm"]
# These list the entries, and a new one must not upset them.
REGISTRIES = """
    bench/tests/report/test_entries.py tests/house/test_public_api.py tests/test_objectives.py tests/test_optimizers.py
    tests/test_spellings.py
""".split()
# These try every entry, those of whole networks in the interpreter: their kernels take a minute to compile.
FORMULAS = """
    tests/kernels/test_activations.py tests/kernels/test_losses.py tests/kernels/test_optimizers.py
    tests/test_reference.py
""".split()
NETWORKS = """
    tests/estimators/test_additions.py tests/formats/test_c.py tests/formats/test_onnx.py tests/formats/test_torch.py
    tests/training/test_torch.py
""".split()


def steps(recipe):
    """Return (into or above, name, file, code) for each step of a recipe."""
    (section,) = re.findall(rf"^## Add an? {recipe}\n(.*?)^## ", TEXT, re.DOTALL | re.MULTILINE)
    found = STEP.findall(section)
    assert len(found) == section.count("```python"), f"every block of {recipe} says where it goes"
    return [(where.lower(), name, file, textwrap.dedent(code)) for where, name, file, code in found]


def names(node):
    """Return the names that a statement defines, or that an `if` asks."""
    targets = getattr(node, "targets", [getattr(node, "target", getattr(node, "test", None))])
    return [target.id for target in targets if isinstance(target, ast.Name)]


def edited(source, where, name, code):
    """Return a file with a piece of code above a statement, or as the last line within its brackets or its block."""
    (node,) = (node for node in ast.parse(source).body if name in names(node))
    lines = source.splitlines(keepends=True)
    if where == "into":
        place = node.end_lineno if isinstance(node, ast.If) else node.end_lineno - 1
        return "".join([*lines[:place], textwrap.indent(code, "    "), *lines[place:]])
    place = node.lineno - 1
    while lines[place - 1].startswith("#"):
        place -= 1
    return "".join([*lines[:place], code, "\n\n", *lines[place:]])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with every recipe followed."""
    place = tmp_path_factory.mktemp("project")
    for folder in ("fastbp", "kernels", "tests", "docs", "bench"):
        ignored = shutil.ignore_patterns(
            "__pycache__", "_build", "_generated", "generated", "gallery", "results"
        )
        shutil.copytree(ROOT / folder, place / folder, symlinks=True, ignore=ignored)
    for file in ("conftest.py", "pyproject.toml", "CONTRIBUTING.md"):
        shutil.copy(ROOT / file, place)
    for recipe in RECIPES:
        for where, name, file, code in steps(recipe):
            path = place / file
            path.write_text(edited(path.read_text(encoding="utf-8"), where, name, code), encoding="utf-8")
    return place


def run(project, *arguments, **variables):
    """Run Python in the copy: the code there, kernels compiled there."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(project),
        "FASTBP_CACHE_DIR": str(project / "cache"),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def passed(report, name):
    """Return how many tests of an entry passed."""
    return len(re.findall(rf"^PASSED .*\[.*{name}.*\]$", report, re.MULTILINE))


def test_a_recipe_touches_few_files():
    """The specification, the kernel's table, a row of spellings; for users a class, and a line that it is public."""
    touched = {recipe: list(dict.fromkeys(file for _, _, file, _ in steps(recipe))) for recipe in RECIPES}
    for recipe, table in zip(RECIPES, ("activations", "losses", "optimizers", "optimizers"), strict=True):
        three = ["fastbp/reference.py", f"kernels/{table}.py", f"fastbp/spellings/{table}.py"]
        assert touched[recipe][:3] == three
    assert len(touched["activation"]) == len(touched["loss"]) == 3
    for recipe in ("optimizer", "hyper-parameter"):
        assert touched[recipe][3:] == ["fastbp/optimizers.py", "fastbp/__init__.pyi"]
        (line,) = (code for _, _, file, code in steps(recipe) if file == "fastbp/__init__.pyi")
        assert len(line.splitlines()) == 1


@pytest.mark.slow
def test_what_is_new_is_known_everywhere(project):
    program = """
        import fastbp as fb
        from bench.report import entries
        from fastbp.cli import arguments
        from fastbp.kernels import activations

        assert fb.__file__.startswith({place!r}), fb.__file__
        assert fb.Dense(2, "LogSigmoid").activation == "log_sigmoid"
        assert activations.CODES["log_sigmoid"] in activations.MOVES_ZERO
        assert "log_sigmoid" not in activations.NEEDS_Z
        assert fb.objectives.get("Lorentzian").name == "cauchy"
        assert fb.optimizers.get("lion") == fb.Lion() and "Lion" in fb.__all__ and "Lion" in dir(fb)
        assert fb.QHM(nu=0.2).rule().nu == 0.2 and fb.Adam().rule().nu == 0.7
        for wrong in (-1.0, float("nan")):
            try:
                fb.QHM(nu=wrong)
            except ValueError as error:
                assert "QHM: nu must be a finite number" in str(error)
            else:
                raise AssertionError(wrong)
        for estimator in fb.MLPClassifier, fb.MLPRegressor:
            assert '"log_sigmoid"' in estimator.__doc__ and '"lion"' in estimator.__doc__
            estimator(activation="log_sigmoid", solver="lion")._validate_params()
        assert '"cauchy"' in fb.MLPRegressor.__doc__
        assert '"lion"' in fb.gradient_descent.__doc__
        assert "lion" in arguments.make_parser().parse_args(["train", "--optimizer", "Lion"]).optimizer
        assert "``LogSigmoid``" in entries.activations_table() and "``cauchy``" in entries.losses_table()
        assert "Lion" in entries.classes() and "``lion``" in entries.names()
        for name, word in (("log_sigmoid", "log_sigmoidd"), ("cauchy", "cauchi"), ("lion", "lionn")):
            for get in (lambda word: fb.Dense(2, word)), fb.objectives.get, fb.optimizers.get:
                try:
                    get(word)
                except ValueError as error:
                    if f"did you mean {{name!r}}" in str(error):
                        break
            else:
                raise AssertionError(name)
        """
    run(project, "-c", textwrap.dedent(program).format(place=str(project)))


PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "-rpfE"]


@pytest.mark.slow
def test_the_tests_that_list_the_entries_pass(project):
    report = run(project, *PYTEST, *REGISTRIES)
    assert passed(report, "lion") > 0, report


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "interpreted"), [(FORMULAS, "0"), (NETWORKS, "1")], ids=["formulas", "networks"]
)
def test_the_tests_of_each_entry_pass(project, files, interpreted):
    report = run(project, *PYTEST, "-k", " or ".join(["twin", *NEW]), *files, NUMBA_DISABLE_JIT=interpreted)
    assert all(passed(report, name) > 0 for name in NEW), report
