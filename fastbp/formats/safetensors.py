"""Model files that hold numbers and text only: loading one runs no code of its writer.

What is in a file, how it is checked and in which version: `fastbp.formats._container`. Here is which state of which
class goes in, and that what comes out fits together before a model is built from it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fastbp.formats._container import FormatError, contents, read, write
from fastbp.formats._network import announce_preparation
from fastbp.validation import shown

if TYPE_CHECKING:
    from fastbp.estimators import MLPClassifier, MLPRegressor
    from fastbp.sequential import Sequential

__all__ = ["load", "read_model", "save"]


def save(model: Sequential | MLPClassifier | MLPRegressor, path: str | os.PathLike[str]) -> None:
    """Write a model to a safetensors file: atomically, without pickle, the same bytes for the same model.

    Parameters
    ----------
    model : Sequential, MLPClassifier or MLPRegressor
        Of an estimator: its parameters and its fitted state, classes of any type included.
    path : str or path-like
        ``*.safetensors``, or a name without suffix. An existing file is replaced in one step.

    Raises
    ------
    TypeError
        `model` is of another class (a subclass included: `load` could not restore it), or holds a value that cannot be
        written, such as a parameter with an object of the user's own.
    ValueError
        `path` ends otherwise; or what `load` would refuse: layers, arrays, parameters or fitted attributes that were
        changed by hand and no longer fit together.
    OSError
        The file cannot be written; an existing one is untouched.

    Warns
    -----
    UserWarning
        The callbacks of an estimator are not saved.
    """
    kind = type(model).__name__
    if type(model) is not _classes(kind):
        raise TypeError(
            "model must be a fastbp Sequential, MLPClassifier or MLPRegressor itself, "
            f"got {type(model).__module__}.{type(model).__qualname__}"
        )
    write(path, kind, _sequential_record(model) if kind == "Sequential" else _estimator_record(model))


def load(path: str | os.PathLike[str]) -> Sequential | MLPClassifier | MLPRegressor:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Sequential, MLPClassifier or MLPRegressor
        As it was saved: dtype, parameters, fitted state.

    Raises
    ------
    FormatError
        A `ValueError` that names the file and what is wrong with it: truncated, altered (a checksum covers everything),
        written by a later version, not one of fastbp's, or with contents that do not fit together.
    OSError
        It cannot be opened.

    Warns
    -----
    UserWarning
        The model was made by ``fastbp train`` and takes prepared columns: what has to be done to raw ones.

    Examples
    --------
    >>> import fastbp as fb
    >>> fb.load(__file__)
    Traceback (most recent call last):
    fastbp.formats._container.FormatError: ...safetensors.py: not a complete safetensors file (...)
    """
    model = read_model(path)
    announce_preparation(model, f"{os.fspath(path)}: ")
    return model


def read_model(path: str | os.PathLike[str]) -> Sequential | MLPClassifier | MLPRegressor:
    """Do what `load` does, for programs that prepare the columns themselves: without its warning."""
    kind, state = read(path)
    cls = _classes(kind)
    if cls is None:
        raise FormatError(
            path, f"it holds a {shown(kind, 40)}, expected Sequential, MLPClassifier or MLPRegressor"
        )
    with contents(path):
        return _sequential(cls, state) if kind == "Sequential" else _estimator(cls, state)


def _classes(kind: str) -> Any:
    if kind == "Sequential":
        from fastbp.sequential import Sequential

        return Sequential
    if kind in ("MLPClassifier", "MLPRegressor"):
        from fastbp import estimators  # scikit-learn takes a second to import: only when needed

        return getattr(estimators, kind)
    return None


def _sequential_record(model: Any) -> dict[str, Any]:
    from fastbp.training.records import model_record

    return model_record(model)


def _sequential(cls: Any, state: dict[str, Any]) -> Sequential:
    from fastbp.training.records import check_model

    # Checked before a model is built, because building takes the memory that the description asks for.
    layers = check_model(state)
    config = state["config"]
    # Built on zeros: drawing the initial weights would take longer than reading the file.
    blank = [
        layer | {"initializer": "zeros"} if layer["class"] == "Dense" else layer for layer in config["layers"]
    ]
    model: Sequential = cls.from_config(config | {"layers": blank})
    model.layers = layers
    # Not set_weights, which refuses NaN: what was saved comes back, a diverged model too.
    model.engine.set_parameters(state["weights"], state["biases"])
    return model


def _estimator_record(model: Any) -> dict[str, Any]:
    from fastbp.formats._estimators import record_of

    return record_of(model)


def _estimator(cls: Any, state: dict[str, Any]) -> Any:
    from fastbp.formats._estimators import from_record

    return from_record(cls, state)
