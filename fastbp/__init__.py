"""fastbp: train multi-layer perceptrons at hardware speed on the CPU you already have.

Every name is loaded when it is first used, so that `import fastbp` costs next to nothing.
"""

from __future__ import annotations

import importlib
import os

# The one place of the version: pyproject.toml reads it here, and the tag of a release is checked against it.
__version__ = "0.1.0"

_KERNELS = os.path.join(os.path.dirname(__file__), "kernels")
# Git writes a file that holds the path if it may not make a symbolic link.
if os.path.isfile(_KERNELS):
    raise ImportError(
        f"{_KERNELS} is a file and should be a symbolic link to the folder kernels: this clone was made without "
        "symbolic links. Either start Python in another folder (pip install -e . finds the kernels), or, on Windows in "
        "developer mode: git config core.symlinks true, delete the file, git checkout -- fastbp/kernels"
    )

from fastbp import forks as _forks  # noqa: E402, F401

# Where each name is defined: lines `from fastbp.layers import Dense as Dense` of the stub, which type checkers read.
# What comes from `fastbp` itself is a room.
# Read by the loader, which finds it in a zipped application too.
_STUB = __loader__.get_data(os.path.join(os.path.dirname(__file__), "__init__.pyi")).decode()
_LINES = [line.split() for line in _STUB.splitlines() if line.startswith("from ")]
_HOME = {words[3]: words[1] for words in _LINES if words[1] != __name__}
_SUBMODULES = frozenset(words[3] for words in _LINES if words[1] == __name__)

__all__ = sorted([*_HOME, *_SUBMODULES, "__version__"])


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return importlib.import_module(f"fastbp.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'fastbp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
