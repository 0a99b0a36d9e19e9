"""Model files that hold numbers and text only: loading one runs no code of its writer.

What is in a file, how it is checked and in which version: `fastbp.formats._container`. Here is which state of which
class goes in, and that what comes out fits together before a model is built from it.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.formats._container import FormatError, read, write
from fastbp.formats._network import announce_preparation
from fastbp.layers import ACTIVATION_NAMES

if TYPE_CHECKING:
    from fastbp.estimators import MLPClassifier, MLPRegressor
    from fastbp.sequential import Sequential

__all__ = ["load", "read_model", "save"]

# Fitted attributes as scikit-learn names them: coefs_, n_iter_, validation_scores_. Those below are private there, but
# partial_fit and warm starts go on from them.
FITTED = re.compile(r"[a-z]([a-z0-9_]*[a-z0-9])?_")
PRIVATE = ("_random_state", "_no_improvement_count", "_best_coefs", "_best_intercepts")
BINARIZER = ("neg_label", "pos_label", "sparse_output", "y_type_", "sparse_input_", "classes_")
# Everything that a well-formed document with senseless contents can make its reader raise.
SENSELESS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


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
        `path` ends otherwise. The fitted attributes of an estimator, which a user can change, do not fit together.
    OSError
        The file cannot be written; an existing one is untouched.

    Warns
    -----
    UserWarning
        The callbacks of an estimator are not saved.

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
    kind = type(model).__name__
    if type(model) is not _classes(kind):
        raise TypeError(
            "model must be a fastbp Sequential, MLPClassifier or MLPRegressor itself, "
            f"got {type(model).__module__}.{type(model).__qualname__}"
        )
    write(path, kind, _state_of_sequential(model) if kind == "Sequential" else _state_of_estimator(model))


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
            path, f"it holds a {kind!r:.40}, expected Sequential, MLPClassifier or MLPRegressor"
        )
    try:
        return _sequential(cls, state) if kind == "Sequential" else _estimator(cls, state)
    except SENSELESS as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise FormatError(path, f"its contents do not fit together: {message}") from error


def _classes(kind: str) -> Any:
    if kind == "Sequential":
        from fastbp.sequential import Sequential

        return Sequential
    if kind in ("MLPClassifier", "MLPRegressor"):
        from fastbp import estimators  # scikit-learn takes a second to import: only when needed

        return getattr(estimators, kind)
    return None


def _check_metadata(metadata: dict[Any, Any]) -> None:
    for key, value in metadata.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise TypeError(f"metadata must map strings to strings, got {key!r:.40}: {value!r:.40}")


def _state_of_sequential(model: Any) -> dict[str, Any]:
    _check_metadata(model.metadata)
    return {"config": model.to_config(), "weights": list(model.weights), "biases": list(model.biases)}


def _sequential(cls: Any, state: dict[str, Any]) -> Sequential:
    from fastbp.layers import layer_from_config

    config, weights, biases = (state[key] for key in ("config", "weights", "biases"))
    dense = [layer for layer in config["layers"] if layer["class"] == "Dense"]
    sizes = [config["n_inputs"], *(layer["units"] for layer in dense)]
    # Checked before a model is built, because building takes the memory that the description asks for.
    _check_arrays(sizes, weights, biases, config["dtype"])
    for layer, b in zip(dense, biases, strict=True):
        if layer["use_bias"] is not (b is not None):
            raise ValueError("a layer's bias does not agree with its use_bias")
    _check_metadata(config["metadata"])
    # Built on zeros: drawing the initial weights would take longer than reading the file.
    blank = [
        layer | {"initializer": "zeros"} if layer["class"] == "Dense" else layer for layer in config["layers"]
    ]
    model: Sequential = cls.from_config(config | {"layers": blank})
    model.layers = [layer_from_config(layer) for layer in config["layers"]]
    # Not set_weights, which refuses NaN: what was saved comes back, a diverged model too.
    model.engine.set_parameters(weights, biases)
    return model


def _check_arrays(sizes: Sequence[Any], weights: Any, biases: Any, dtype: Any) -> None:
    """Raise unless the arrays are the parameters of a network of these sizes, all of one dtype."""
    if not all(isinstance(size, (int, np.integer)) and size > 0 for size in sizes):
        raise ValueError(f"the sizes of the layers must be positive integers, got {sizes!r:.80}")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"the dtype must be float32 or float64, got {dtype!r:.40}")
    if not len(weights) == len(biases) == len(sizes) - 1 > 0:
        raise ValueError(f"{len(sizes) - 1} layers, but {len(weights)} weights and {len(biases)} biases")
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        for array, shape, name in ((W, (sizes[i], sizes[i + 1]), "weights"), (b, (sizes[i + 1],), "biases")):
            if array is None and name == "biases":
                continue
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
                found = (
                    f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                )
                raise ValueError(f"the {name} of layer {i} must be {dtype} {shape}, got {found}")


def _state_of_estimator(model: Any) -> dict[str, Any]:
    params = model.get_params(deep=False)
    if params.get("callbacks"):
        params["callbacks"] = None
        warnings.warn(
            "callbacks are live objects and are not saved; set them again after loading", stacklevel=3
        )
    present = vars(model)
    fitted = {name: value for name, value in present.items() if FITTED.fullmatch(name)}
    fitted |= {name: present[name] for name in PRIVATE if name in present}
    # After early stopping the best weights are the present ones, the same objects, and a warm start relies on that.
    best_is_present = "_best_coefs" in fitted and fitted["_best_coefs"] is fitted["coefs_"]
    if best_is_present:
        del fitted["_best_coefs"], fitted["_best_intercepts"]
    binarizer, optimizer = present.get("_label_binarizer"), present.get("_optimizer")
    rebuilt = None if binarizer is None else {name: getattr(binarizer, name) for name in BINARIZER}
    if "coefs_" in fitted:
        _check_fitted(model, fitted, rebuilt)  # never write what load would refuse
    return {
        "params": params,
        "fitted": fitted,
        "best_is_present": best_is_present,
        "label_binarizer": rebuilt,
        "optimizer": None if optimizer is None else _public(optimizer.__getstate__()),
    }


def _public(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if not name.startswith("_")}


def _estimator(cls: Any, state: dict[str, Any]) -> Any:
    params, fitted, binarizer, optimizer = (
        state[key] for key in ("params", "fitted", "label_binarizer", "optimizer")
    )
    model = cls()
    unknown = sorted(set(params) - set(model.get_params(deep=False)))
    if unknown:
        raise ValueError(f"unknown parameters {unknown!r:.80}")
    model.set_params(**params)
    for name, value in fitted.items():
        if not (FITTED.fullmatch(name) or name in PRIVATE) or hasattr(cls, name):
            raise ValueError(f"not an attribute of a fitted {cls.__name__}: {name!r:.40}")
        setattr(model, name, value)
    if "coefs_" in fitted:
        _check_fitted(model, fitted, binarizer)
    if binarizer is not None:
        model._label_binarizer = _binarizer(binarizer)
    if optimizer is not None:
        model._optimizer = _optimizer(model, optimizer)
    if state["best_is_present"]:
        model._best_coefs, model._best_intercepts = model.coefs_, model.intercepts_
    return model


def _check_fitted(model: Any, fitted: dict[str, Any], binarizer: dict[str, Any] | None) -> None:
    weights, biases = fitted["coefs_"], fitted["intercepts_"]
    if not weights:
        raise ValueError("coefs_ is empty")
    sizes = [fitted["n_features_in_"], *(W.shape[1] for W in weights)]
    # scikit-learn's contract lets biases be of another precision than the weights.
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        _check_arrays(sizes[i : i + 2], [W], [b], W.dtype.name if b.dtype == W.dtype else b.dtype.name)
    if fitted["n_outputs_"] != sizes[-1] or fitted["n_layers_"] != len(sizes):
        raise ValueError(
            f"n_layers_ {fitted['n_layers_']!r}, n_outputs_ {fitted['n_outputs_']!r}, but sizes {sizes}"
        )
    names = model.activation if isinstance(model.activation, (list, tuple)) else [model.activation]
    for name in [*names, fitted["out_activation_"]]:
        if name not in (*ACTIVATION_NAMES, "logistic", "softmax"):
            raise ValueError(f"unknown activation {name!r:.40}")
    if len(names) not in (1, len(sizes) - 2):
        raise ValueError(f"{len(names)} activations for {len(sizes) - 2} hidden layers")
    if (binarizer is None) is ("classes_" in fitted):
        raise ValueError("classes_ and the label binarizer must come together")
    if binarizer is not None:
        classes = fitted["classes_"]
        outputs = (
            1
            if len(classes) <= 2 and not str(binarizer["y_type_"]).startswith("multilabel")
            else len(classes)
        )
        if not isinstance(classes, np.ndarray) or classes.ndim != 1 or outputs != sizes[-1]:
            raise ValueError(f"classes_ {classes!r:.80} for {sizes[-1]} outputs")


def _binarizer(state: dict[str, Any]) -> Any:
    from sklearn.preprocessing import LabelBinarizer

    y_types = ("binary", "multiclass", "multilabel-indicator")
    if sorted(state) != sorted(BINARIZER) or state["y_type_"] not in y_types:
        raise ValueError("the label binarizer is not valid")
    binarizer = LabelBinarizer(
        neg_label=state["neg_label"], pos_label=state["pos_label"], sparse_output=state["sparse_output"]
    )
    for name in ("y_type_", "sparse_input_", "classes_"):
        setattr(binarizer, name, state[name])
    return binarizer


def _optimizer(model: Any, state: dict[str, Any]) -> Any:
    from fastbp.estimators.optimizer import StochasticOptimizer

    optimizer = StochasticOptimizer(model, 0)
    own = _public(vars(optimizer))
    if {name: type(value) for name, value in state.items()} != {
        name: type(value) for name, value in own.items()
    }:
        raise ValueError("the state of the optimizer is not valid")
    shapes = [array.shape for array in (*model.coefs_, *model.intercepts_)]
    for slot in state["slots"].values():
        if [array.shape for array in slot] != shapes:
            raise ValueError("the moments of the optimizer have other shapes than the weights")
    vars(optimizer).update(state)
    return optimizer
