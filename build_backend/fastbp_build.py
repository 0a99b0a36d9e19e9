"""The build: setuptools' own, and the wheel that brings compiled kernels.

`python -m build --wheel -C precompiled=yes` makes a wheel for this system, architecture and minor version of Python. It
is setuptools' pure wheel, and the folder that `fastbp.kernels.precompile` makes with the versions of Numba and llvmlite
that the extra `precompiled` pins.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "fastbp/kernels/precompiled"

Settings = Mapping[str, str] | None


def _is_wanted(settings: Settings) -> bool:
    wish = (settings or {}).get("precompiled", "no")
    if wish not in ("yes", "no"):
        raise ValueError(f"-C precompiled must be yes or no, got {wish!r}")
    return wish == "yes"


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return setuptools' requirements, and for compiled kernels what compiles them."""
    needed = list(build_meta.get_requires_for_build_wheel(config_settings))
    if _is_wanted(config_settings):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        needed += project["optional-dependencies"]["precompiled"]
    return needed


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the pure wheel, or with the setting `precompiled=yes` the one of this platform; return its file's name."""
    if not _is_wanted(config_settings):
        return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch).resolve() / "tree"
        pure = build_meta.build_wheel(scratch, config_settings, metadata_directory)
        with zipfile.ZipFile(Path(scratch) / pure) as wheel:
            wheel.extractall(tree)
        # The kernels of the wheel itself, whatever fastbp is installed here.
        path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))
        subprocess.run(
            [sys.executable, "-m", "fastbp.kernels.precompile", str(tree / FOLDER)],
            env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=scratch,
            check=True,
        )
        return _pack(tree, Path(wheel_directory))


def _tags() -> tuple[str, str, list[str]]:
    """Return the tags of interpreter, ABI, and platform of the wheel."""
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    abi = python + ("t" if "free-threading" in sys.version else "")
    machine = platform.machine().lower()
    if sys.platform.startswith("linux"):
        # The machine code takes from the C library what all of its versions have.
        return python, abi, [f"manylinux_2_17_{machine}", f"manylinux2014_{machine}"]
    if sys.platform == "darwin":
        return python, abi, ["macosx_11_0_arm64" if machine == "arm64" else f"macosx_10_15_{machine}"]
    return python, abi, [f"win_{machine}"]


def _pack(tree: Path, folder: Path) -> str:
    """Make a wheel of an unpacked one, with the tags of this platform and a new list of its files."""
    (info,) = tree.glob("*.dist-info")
    python, abi, platforms = _tags()
    told = [
        line
        for line in (info / "WHEEL").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith(("Tag:", "Root-Is-Purelib:"))
    ]
    told += ["Root-Is-Purelib: false", *(f"Tag: {python}-{abi}-{each}" for each in platforms)]
    (info / "WHEEL").write_text("\n".join(told) + "\n", encoding="utf-8")
    record = info / "RECORD"
    name = f"{info.name.removesuffix('.dist-info')}-{python}-{abi}-{'.'.join(platforms)}.whl"
    files = sorted(path for path in tree.rglob("*") if path.is_file() and path != record)
    lines = []
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for path in [*files, record]:
            place = path.relative_to(tree).as_posix()
            if path == record:
                content = "".join(f"{line}\n" for line in [*lines, f"{place},,"]).encode()
            else:
                content = path.read_bytes()
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                lines.append(f"{place},sha256={digest},{len(content)}")
            entry = zipfile.ZipInfo(
                place
            )  # the first day that an archive knows: the same files, the same wheel
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            wheel.writestr(entry, content)
    return name
