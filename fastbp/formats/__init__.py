"""Model files: safetensors (save, load), ONNX, PyTorch, C source. Each in its own module, loaded when first used.

Examples
--------
>>> import fastbp.formats
>>> "to_onnx" in dir(fastbp.formats)
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastbp.formats._atomic import atomic_write as atomic_write
    from fastbp.formats._container import FormatError as FormatError
    from fastbp.formats._suffixes import save as save
    from fastbp.formats.c import to_c as to_c
    from fastbp.formats.onnx import register as register
    from fastbp.formats.onnx import to_onnx as to_onnx
    from fastbp.formats.safetensors import load as load
    from fastbp.formats.torch import from_torch as from_torch
    from fastbp.formats.torch import to_torch as to_torch

__all__ = [
    "FormatError",
    "atomic_write",
    "from_torch",
    "load",
    "register",
    "save",
    "to_c",
    "to_onnx",
    "to_torch",
]

_HOMES = {
    "FormatError": "_container",
    "atomic_write": "_atomic",
    "from_torch": "torch",
    "load": "safetensors",
    "register": "onnx",
    "save": "_suffixes",
    "to_c": "c",
    "to_onnx": "onnx",
    "to_torch": "torch",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
