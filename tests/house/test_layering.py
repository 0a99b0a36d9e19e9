"""Imports go down only, and numba stays in kernels/. See docs/architecture.rst for the picture."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the ground up. A room imports, at module level, rooms of lower floors only.
FLOORS = {
    "kernels": [
        {"machine", "tuples"},
        {"elementary", "matmul", "plan", "random"},
        {"activations", "gather", "losses", "optimizers"},
        {"dense"},
        {"one", "rows", "weights"},
        {"compiled", "network"},
        {"warm"},
        {"__init__"},
    ],
    "kernels/machine": [
        {"cache", "pipeline", "target"},
        {"disk"},
        {"jit", "lanes"},
        {"simd"},
        {"loops", "peak", "records", "squares", "sync", "tile"},
        {"__init__"},
    ],
    "fastbp": [
        {"kernels", "reference"},
        {"validation"},
        {"descent", "initializers", "objectives", "schedules", "tables"},
        {"layers", "optimizers"},
        {"engine"},
        {"metrics"},
        {"callbacks"},
        {"training"},
        {"estimators", "sequential"},
        {"formats"},
        {"explaining", "plot"},
        {"cli"},
        {"__init__"},
        {"__main__"},
    ],
}

PACKAGES = {
    "kernels": ("fastbp", "kernels"),
    "kernels/machine": ("fastbp", "kernels", "machine"),
    "fastbp": ("fastbp",),
}

# The only calls that go up, each by an import inside the function: a model saves and loads itself, a callback
# writes model files. Importing the package itself, to use it as its
# users do, is always allowed inside a function.
UP_WHEN_CALLED = {("sequential", "formats"), ("training", "formats")}


def imports(path: Path, package: tuple[str, ...]):
    """Yield (dotted name, line, deferred) of every import in the file, relative ones made absolute.

    `from package import name` counts as `package.name`: the name may be a module. An import inside a
    function is deferred. What only a type checker sees is no import.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    deferred, hidden = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            deferred.update(ast.walk(node))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            hidden.update(child for statement in node.body for child in ast.walk(statement))
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *filter(None, [node.module])))
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name, node.lineno, node in deferred


def sources(folder: str):
    """Yield (room, path, package) for every module of a folder, the linked kernels/ not twice."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT / folder).with_suffix("").parts
        if folder == "fastbp" and parts[0] == "kernels":
            continue
        yield parts[0], path, (*PACKAGES[folder], *parts[:-1])


def floor(folder: str, room: str) -> int:
    """Return the floor of a room; a room split over several files has a line in FLOORS for each."""
    for height, rooms in enumerate(FLOORS[folder]):
        if room in rooms:
            return height
    pytest.fail(f"{folder}/{room} has no floor: give it one in {__file__}")


def room_of(name: str, folder: str) -> str | None:
    """Return the room of `folder` that a dotted name lies in, or None."""
    prefix = PACKAGES[folder]
    parts = tuple(name.split("."))
    if parts[: len(prefix)] != prefix or len(parts) == len(prefix):
        return None
    room = parts[len(prefix)]
    known = {path.stem for path in (ROOT / folder).iterdir()}
    # `from fastbp import Sequential` imports the package itself, the top floor.
    return room if room in known else "__init__"


@pytest.mark.parametrize("folder", FLOORS)
def test_imports_go_down(folder):
    upward = []
    for room, path, package in sources(folder):
        height = floor(folder, room)
        for name, line, deferred in imports(path, package):
            target = room_of(name, folder)
            if target is None or target == room:
                continue
            if deferred and (target == "__init__" or (room, target) in UP_WHEN_CALLED):
                continue
            if floor(folder, target) >= height:
                upward.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not upward, "\n".join(upward)


def test_no_stale_floors():
    for folder, floors in FLOORS.items():
        rooms = {room for room, _, _ in sources(folder)} | ({"kernels"} if folder == "fastbp" else set())
        assert set().union(*floors) == rooms


def test_kernels_know_nothing_of_the_package_above():
    for _, path, package in sources("kernels"):
        for name, line, _ in imports(path, package):
            top = name.split(".")[0]
            assert top != "fastbp" or name.startswith("fastbp.kernels"), f"{path}:{line} imports {name}"


def test_numba_only_in_kernels():
    """Within them, in the machine: formulas and loops are written with its words."""
    for folder in ("fastbp", "kernels"):
        for room, path, package in sources(folder):
            for name, line, _ in imports(path, package):
                allowed = (folder, room) == ("kernels", "machine")
                assert allowed or name.split(".")[0] not in ("numba", "llvmlite"), (
                    f"{path}:{line} imports {name}"
                )


def test_the_reference_stands_alone():
    """The specification is plain Python: not even NumPy."""
    allowed = {"__future__", "collections", "dataclasses", "math", "random", "typing"}
    for name, line, _ in imports(ROOT / "fastbp" / "reference.py", ("fastbp",)):
        assert name.split(".")[0] in allowed, f"reference.py:{line} imports {name}"


def test_importing_fastbp_stays_cheap():
    """Heavy or optional packages are imported at module level by no room that `import fastbp` loads."""
    heavy = {"jax", "matplotlib", "mpi4py", "onnx", "pandas", "pyarrow", "skl2onnx", "torch"}
    for _, path, package in sources("fastbp"):
        for name, line, deferred in imports(path, package):
            assert deferred or name.split(".")[0] not in heavy, f"{path}:{line} imports {name}"
