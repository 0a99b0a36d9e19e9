"""The file of a `Checkpoint`: a model file, with the state of its training beside it.

Arrays that are laid out like the engine's flat parameters (optimizer state, best weights) are stored without
the padding, in the order W, b of each layer, so that the file does not depend on the vector width of the
machine.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import fastbp.formats._schema as schema
from fastbp.engine.engine import Engine
from fastbp.engine.layout import positions

# The container level of the formats: it knows numbers and text, and nothing of models.
from fastbp.formats._container import contents
from fastbp.formats._container import read as read_file
from fastbp.formats._container import write as write_file
from fastbp.training.records import check_model, model_record
from fastbp.training.trainer import Model
from fastbp.validation import shown

__all__ = ["SHOWN", "pack", "read", "unpack", "write"]

SHOWN = 300  # characters of a part of a file in a message


def pack(values: dict[str, Any], engine: Engine) -> dict[str, Any]:
    """Return `values` with every array shaped like theta cut down to the parameters (marked by its key)."""
    where = positions(engine.layout)
    result: dict[str, Any] = {}
    for name, value in values.items():
        like = isinstance(value, np.ndarray) and value.shape == engine.theta.shape
        result[f"{name}:flat" if like else name] = value[where] if like else value
    return result


def unpack(values: dict[str, Any], engine: Engine) -> dict[str, Any]:
    """Return what `pack` was given, with zeros as padding."""
    where = positions(engine.layout)
    result: dict[str, Any] = {}
    for name, value in values.items():
        if not name.endswith(":flat"):
            result[name] = value
            continue
        schema.array("f", 1)(value, shown(name))
        if value.shape != where.shape:
            raise ValueError(f"{shown(name)} has shape {value.shape}, the model {where.size} parameters")
        full = np.zeros(engine.theta.shape, value.dtype)
        full[where] = value
        result[name.removesuffix(":flat")] = full
    return result


def write(path: str | os.PathLike[str], net: Model, state: dict[str, Any]) -> None:
    """Write the model and the state of its training, atomically.

    Parameters
    ----------
    path : path
    net : Sequential
    state : dict
        Numbers, strings, arrays, lists and dicts of them.

    Raises
    ------
    TypeError, ValueError
        The model was changed by hand and no longer fits together.
    """
    write_file(path, "Sequential", {**model_record(net), "training": state})


def read(path: str | os.PathLike[str], net: Model) -> dict[str, Any]:
    """Read a checkpoint of this model: its ``weights`` and ``biases``, and the ``training`` they belong to.

    Raises
    ------
    FormatError
        A damaged file, or one whose contents do not fit together.
    ValueError
        A model file without training state, or the checkpoint of another model.
    """
    kind, state = read_file(path)
    if kind != "Sequential" or "training" not in state:
        raise ValueError(
            f"resume_from: {os.fspath(path)} holds a {shown(kind, 40)} without the state of a training; Checkpoint "
            "writes one"
        )
    with contents(path):
        check_model(state)
    mine, stored = net.to_config(), state["config"]
    for key in ("n_inputs", "dtype", "layers"):
        if mine[key] != stored[key]:
            raise ValueError(
                f"resume_from: {os.fspath(path)} has {key}={shown(stored[key], SHOWN)}, "
                f"the model {key}={shown(mine[key], SHOWN)}"
            )
    return state
