"""Imports go down only, and numba stays in kernels/. See docs/concepts/index.rst for the picture.

Every import counts: at the top of a module, inside a function, and what only a type checker reads. A circle that is
hidden in a function is a circle still: who changes one of its modules must know all of them.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the ground up. A room is a module or a package of the folder; it imports rooms of lower floors only.
FLOORS = {
    "kernels": [
        {"machine", "tuples"},
        {"elementary", "matmul", "optimizers", "random"},
        {"plan"},
        {"activations", "examples", "gather", "losses"},
        {"dense", "plain", "sparse"},
        {"one", "rows", "weights"},
        {"waiting"},
        {"compiled", "many", "network", "outside"},
        {"warm"},
        {"precompile"},
        {"kernels"},
    ],
    "kernels/machine": [
        {"announcing", "forks", "interrupts", "stamps", "target"},
        {"key", "levels"},
        {"cache"},
        {"precompiled"},
        {"pipeline"},
        {"disk"},
        {"jit", "lanes"},
        {"simd"},
        {"addressed", "foreign", "loops", "peak", "records", "squares", "sync", "tile"},
        {"patch"},
        {"machine"},
    ],
    "fastbp": [
        {"kernels", "reference"},
        {"spellings"},
        {"forks", "notices", "validation"},
        {"arrays"},
        {"container"},
        {"initializers", "objectives", "schedules", "tables"},
        {"layers", "optimizers"},
        {"own"},
        {"descent", "engine"},
        {"metrics"},
        {"callbacks"},
        {"training"},
        {"estimators", "sequential"},
        {"formats", "many"},
        {"plot", "search"},
        {"explaining"},
        {"playground"},
        {"cli"},
        {"fastbp"},
        {"__main__"},
    ],
}

PACKAGES = {"fastbp": "fastbp", "kernels": "fastbp.kernels", "kernels/machine": "fastbp.kernels.machine"}

# The lower half of formats/ is a room of its own: files of numbers and text, which know nothing of models.
CONTAINER = {
    "fastbp.formats._atomic",
    "fastbp.formats._container",
    "fastbp.formats._schema",
    "fastbp.formats._suffixes",
    "fastbp.formats._values",
}


class Import(NamedTuple):
    """`module` imports `name`, a dotted name made absolute, on a line."""

    module: str
    name: str
    place: str
    deferred: bool
    typing: bool


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name; kernels/ once, under the name that it is imported by."""
    found = {}
    for path in sorted([*(ROOT / "fastbp").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[:2] == ("fastbp", "kernels"):
            continue  # the link
        name = ".".join(parts if parts[0] == "fastbp" else ("fastbp", *parts)).removesuffix(".__init__")
        found[name] = path
    return found


@cache
def imports() -> list[Import]:
    """Every import of every module. `from package import name` passes the door of `package` to `package.name`."""
    return [item for module, path in modules().items() for item in _imports(module, path)]


def _imports(module: str, path: Path) -> Iterator[Import]:
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    deferred, typing = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            deferred.update(ast.walk(node))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            typing.update(child for statement in node.body for child in ast.walk(statement))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *filter(None, [node.module])])
            names = [stem, *(f"{stem}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            yield Import(module, name, place, node in deferred, node in typing)


def target_of(item: Import) -> str | None:
    """Return the module of the project that is imported, or None; a package's door is no target from inside it."""
    name = item.name
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return None if not name or item.module == name or item.module.startswith(f"{name}.") else name


def room_of(module: str, folder: str = "fastbp") -> str | None:
    """Return the room of a folder that a module lies in, or None; the folder's door is a room of its name."""
    package = PACKAGES[folder]
    if not f"{module}.".startswith(f"{package}."):
        return None
    if folder == "fastbp" and module in CONTAINER:
        return "container"
    return module[len(package) + 1 :].partition(".")[0] or package.rpartition(".")[2]


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules that reach each other."""
    reached = {}
    for start in edges:
        seen, todo = set(), [start]
        while todo:
            for following in edges[todo.pop()] - seen:
                seen.add(following)
                todo.append(following)
        reached[start] = seen
    found = []
    for module, seen in reached.items():
        if module in seen and not any(module in circle for circle in found):
            found.append({other for other in seen if module in reached[other]})
    return found


def rooms_of(folder: str, item: Import) -> tuple[str, str] | None:
    """Return the rooms of who imports and of what is imported; None if that is another folder's affair."""
    target = target_of(item)
    pair = room_of(item.module, folder), room_of(target or "", folder)
    return None if None in pair else pair


@pytest.mark.parametrize("folder", FLOORS)
def test_imports_go_down(folder):
    height = {room: number for number, floor in enumerate(FLOORS[folder]) for room in floor}
    upward = []
    for item in imports():
        pair = rooms_of(folder, item)
        if pair is None or pair[0] == pair[1]:
            continue
        if height[pair[1]] >= height[pair[0]]:
            upward.append(f"{item.place} imports {item.name}")
    assert not upward, "\n".join(upward)


def test_modules_run_in_no_circle():
    """Also not within a package or through a function or an annotation."""
    edges: dict[str, set[str]] = {module: set() for module in modules()}
    for item in imports():
        target = target_of(item)
        if target is not None:
            edges[item.module].add(target)
    assert circles(edges) == []


def test_circles_are_found():
    """In a graph with a circle of three, one of two that hang on it, and a chain that leads into both."""
    edges = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert sorted(map(sorted, circles(edges))) == [["a", "b", "c"], ["d", "e"]]


def test_no_stale_floors():
    for folder, floors in FLOORS.items():
        assert set().union(*floors) == {room_of(module, folder) for module in modules()} - {None}
    assert set(modules()) >= CONTAINER


def test_no_room_goes_through_the_front_door():
    """`from fastbp import Sequential` inside the package would be an import of everything, and hide where to."""
    for item in imports():
        package, _, name = item.name.partition(".")
        if package == "fastbp" and item.module != "fastbp" and item.name not in modules():
            door = name.partition(".")[0]
            assert f"fastbp.{door}" in modules() or door == "__version__", f"{item.place} imports {item.name}"


def test_kernels_know_nothing_of_the_package_above():
    for item in imports():
        if item.module.startswith("fastbp.kernels") and item.name.startswith("fastbp"):
            assert item.name.startswith("fastbp.kernels"), f"{item.place} imports {item.name}"


def test_numba_only_in_kernels():
    """Within them, in the machine: formulas and loops are written with its words."""
    for item in imports():
        if not item.module.startswith("fastbp.kernels.machine"):
            assert item.name.split(".")[0] not in ("numba", "llvmlite"), f"{item.place} imports {item.name}"


def test_the_reference_stands_alone():
    """The specification is plain Python: not even NumPy."""
    allowed = {"__future__", "collections", "dataclasses", "math", "random", "typing"}
    for item in imports():
        if item.module == "fastbp.reference":
            assert item.name.split(".")[0] in allowed, f"{item.place} imports {item.name}"


def test_importing_fastbp_stays_cheap():
    """Heavy or optional packages are imported at module level by no room that `import fastbp` loads."""
    heavy = {"jax", "matplotlib", "onnx", "pandas", "pyarrow", "skl2onnx", "torch"}
    for item in imports():
        if not (item.deferred or item.typing):
            assert item.name.split(".")[0] not in heavy, f"{item.place} imports {item.name}"


@pytest.mark.parametrize("aim", [16])
def test_modules_at_the_top_are_few(aim):
    """`ls fastbp` tells a stranger where he is."""
    assert len(list((ROOT / "fastbp").glob("*.py"))) <= aim
