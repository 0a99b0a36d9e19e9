"""What the name of a file says about it: the formats that a model is written in, by suffix; the others are refused."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["check_suffix", "save"]

# Who writes a format, by suffix. As text: what writes a model makes models too, and a model saves itself.
WRITERS = {
    ".safetensors": ("fastbp.formats.safetensors", "save"),
    ".onnx": ("fastbp.formats.onnx", "to_onnx"),
    ".c": ("fastbp.formats.c", "to_c"),
}
KERAS = "fastbp does not write Keras' files"
TORCH = "torch.save(fastbp.formats.to_torch(model), path) writes PyTorch's files"
PICKLE = "pickle and joblib write their files themselves: joblib.dump(model, path)"
ELSEWHERE = {
    ".h5": KERAS,
    ".hdf5": KERAS,
    ".keras": KERAS,
    ".pt": TORCH,
    ".pth": TORCH,
    ".pkl": PICKLE,
    ".pickle": PICKLE,
    ".joblib": PICKLE,
}


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model to a file, in the format that its name ends with.

    Parameters
    ----------
    model : Sequential, MLPClassifier or MLPRegressor
    path : str or path-like
        ``*.safetensors``, or a name without suffix: what `load` reads (`fastbp.formats.safetensors.save`). ``*.onnx``:
        as `to_onnx`. ``*.c``: as `to_c`. An existing file is replaced in one step.

    Raises
    ------
    ValueError
        Another suffix; or the model does not fit the format.
    TypeError
        The model is of another class, or holds something that cannot be written.
    OSError
        The file cannot be written; an existing one is untouched.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, fastbp as fb
    >>> path = os.path.join(tempfile.mkdtemp(), "m.safetensors")
    >>> net = fb.Sequential([fb.Dense(3, "relu"), fb.Dense(1)], n_inputs=2, seed=0)
    >>> net.metadata["units"] = "mm"
    >>> fb.formats.save(net, path)
    >>> again = fb.load(path)
    >>> again.metadata, np.array_equal(again.weights[0], net.weights[0])
    ({'units': 'mm'}, True)
    """
    suffix = _suffix(path) or ".safetensors"
    if suffix not in WRITERS:
        raise _wrong(path, suffix, tuple(WRITERS))
    module, name = WRITERS[suffix]
    getattr(import_module(module), name)(model, path)


def check_suffix(path: str | os.PathLike[str], own: str) -> None:
    """Refuse a name that ends otherwise than the format that is about to be written; one without suffix is fine.

    >>> check_suffix("model.safetensors", ".safetensors")
    >>> check_suffix("model.h5", ".safetensors")
    Traceback (most recent call last):
    ...
    ValueError: model.h5: the name must end in .safetensors, got .h5 (fastbp does not write Keras' files)
    """
    suffix = _suffix(path)
    if suffix not in ("", own):
        raise _wrong(path, suffix, (own,))


def _suffix(path: str | os.PathLike[str]) -> str:
    return Path(os.fsdecode(path)).suffix.lower()


def _wrong(path: str | os.PathLike[str], suffix: str, known: tuple[str, ...]) -> ValueError:
    hint = f" ({ELSEWHERE[suffix]})" if suffix in ELSEWHERE else ""
    return ValueError(f"{os.fsdecode(path)}: the name must end in {' or '.join(known)}, got {suffix}{hint}")
