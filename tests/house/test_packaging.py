"""The built wheel and sdist hold exactly the tree."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]

BUILD = """
import sys
import fastbp_build as backend
out = sys.argv[1]  # the build rewrites sys.argv
backend.build_wheel(out)
backend.build_sdist(out)
"""


def tree(folder: str) -> set[str]:
    """Names of the source files of a folder, relative to it."""
    return {
        path.relative_to(ROOT / folder).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".pyi") or path.name == "py.typed"
    }


EXPECTED = {f"fastbp/{name}" for name in tree("fastbp") if not name.startswith("kernels/")} | {
    f"fastbp/kernels/{name}" for name in tree("kernels")
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Folder with a wheel and an sdist, built from a copy so that the checkout stays clean."""
    pytest.importorskip("setuptools", minversion="77")
    source, out = tmp_path_factory.mktemp("source") / "fastbp", tmp_path_factory.mktemp("dist")
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "_build", "*.png")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=source,
        env=os.environ | {"PYTHONPATH": "build_backend"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.slow
def test_wheel_holds_exactly_the_tree(dist):
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
        assert len(names) == len(set(names))
        assert set(names) == EXPECTED
        assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


@pytest.mark.slow
def test_wheel_has_one_top_level_package(dist):
    """Hugging Face has a package named `kernels`; ours must never be importable by that name."""
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        tops = {PurePosixPath(name).parts[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fastbp"}


@pytest.mark.slow
def test_sdist_can_build_the_wheel_again(dist):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    sources = {f"kernels/{name}" for name in tree("kernels")}
    sources |= {name for name in EXPECTED if not name.startswith("fastbp/kernels/")}
    sources |= {"pyproject.toml", "README.md", "LICENSE", "build_backend/fastbp_build.py"}
    assert sources <= names


def test_kernels_refuse_their_folder_name():
    """Run from the checkout, `import kernels` must not pass for somebody else's package."""
    done = subprocess.run([sys.executable, "-c", "import kernels"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImportError: import this folder as fastbp.kernels" in done.stderr


def test_numba_is_a_version_that_was_tried():
    """Private classes of Numba are used, which may move: the next minor version is let in once it passes the tests."""
    import numba
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    numbas = [r.specifier for r in map(Requirement, project["dependencies"]) if r.name == "numba"]
    assert len(numbas) == 1
    assert numbas[0].contains(numba.__version__), f"{numba.__version__} is outside {numbas[0]}"
    assert {bound.operator for bound in numbas[0]} == {">=", "<"}


def test_version_is_that_of_the_metadata():
    from importlib.metadata import version

    import fastbp

    assert fastbp.__version__ == version("fastbp")


def test_a_clone_without_symbolic_links_says_how(tmp_path):
    """As git makes it on Windows: fastbp/kernels is a file that holds the path of the folder."""
    (tmp_path / "fastbp").mkdir()
    shutil.copy(ROOT / "fastbp" / "__init__.py", tmp_path / "fastbp")
    (tmp_path / "fastbp" / "kernels").write_text("../kernels")
    done = subprocess.run(
        [sys.executable, "-c", "import fastbp"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "ImportError: " in last and "without symbolic links" in last and "core.symlinks true" in last
