"""The record of an estimator in a file: its parameters, fitted attributes and state of training fit together.

What is written is checked as it is when it is read, so that no file is made that cannot be loaded.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer

import fastbp.formats._schema as schema
from fastbp.estimators.checks import checked_class_weight
from fastbp.estimators.choices import ACTIVATION, SOLVER
from fastbp.estimators.optimizer import StochasticOptimizer
from fastbp.layers import check_arrays
from fastbp.optimizers import MOST_STEPS
from fastbp.validation import check_threads, shown

__all__ = ["from_record", "record_of"]

# Fitted attributes as scikit-learn names them: coefs_, n_iter_, validation_scores_. Those of BESIDES are private there,
# but partial_fit and warm starts go on from them.
FITTED = re.compile(r"[a-z]([a-z0-9_]*[a-z0-9])?_")
_WEIGHTS, _BIASES = schema.items(schema.array("f", 2)), schema.items(schema.array("f", 1))
_NUMBERS = schema.items(schema.number())
# A fitted estimator has all of these,
NETWORK: dict[str, schema.Check] = {
    "coefs_": _WEIGHTS,
    "intercepts_": _BIASES,
    "n_features_in_": schema.integer(1),
    "n_outputs_": schema.integer(1),
    "n_layers_": schema.integer(2),
    "out_activation_": schema.one_of(*ACTIVATION.options, "exp", "softmax"),
    "n_iter_": schema.integer(0),
    "t_": schema.integer(0),
}


def _generator(value: Any, name: str) -> None:
    if not isinstance(value, np.random.RandomState):
        raise ValueError(f"{name} must be a RandomState, got {shown(value)}")


# and some of these; the user may have added others of such names.
BESIDES: dict[str, schema.Check] = {
    "feature_names_in_": schema.array("OU", 1),
    "classes_": schema.array("biufOU", 1),
    "loss_": schema.number(),
    "loss_curve_": _NUMBERS,
    "best_loss_": schema.optional(schema.number()),
    "validation_scores_": schema.optional(_NUMBERS),
    "best_validation_score_": schema.optional(schema.number()),
    "validation_loss_curve_": schema.optional(_NUMBERS),
    "_random_state": _generator,
    "_no_improvement_count": schema.integer(0),
    "_best_coefs": _WEIGHTS,
    "_best_intercepts": _BIASES,
}
BINARIZER: dict[str, schema.Check] = {
    "neg_label": schema.one_of(0),
    "pos_label": schema.one_of(1),
    "sparse_output": schema.one_of(False),
    "y_type_": schema.one_of("binary", "multiclass", "multilabel-indicator"),
    "sparse_input_": schema.flag,
    "classes_": schema.array("biufOU", 1),
}
OPTIMIZER: dict[str, schema.Check] = {
    "kind": schema.one_of(*sorted(SOLVER.options - {"lbfgs"})),
    "learning_rate_init": schema.number(0.0, finite=True),
    "schedule": schema.one_of("constant", "invscaling", "adaptive"),
    "power_t": schema.number(0.0, finite=True),
    "momentum": schema.number(0.0, 1.0, finite=True),
    "nesterov": schema.flag,
    "beta_1": schema.number(0.0, 1.0, finite=True),
    "beta_2": schema.number(0.0, 1.0, finite=True),
    "epsilon": schema.number(0.0, finite=True),
    "base_rate": schema.number(0.0, finite=True),
    "seed": schema.integer(0),
    "step": schema.integer(0, MOST_STEPS),
    "slots": schema.table(schema.items(schema.array("f"))),
}
LATER = {"ftol", "maxcor"}  # parameters that the first files do not have
RECORD = schema.record(
    {
        "params": schema.table(lambda value, name: None),
        "fitted": schema.table(lambda value, name: None),
        "best_is_present": schema.flag,
        "label_binarizer": schema.optional(schema.record(BINARIZER)),
        "optimizer": schema.optional(schema.record(OPTIMIZER)),
    }
)


def record_of(model: Any) -> dict[str, Any]:
    """Return what a file keeps of an estimator.

    Raises
    ------
    ValueError
        Parameters that no fit would take, or attributes that were changed and no longer fit together.

    Warns
    -----
    UserWarning
        Callbacks are left out.
    """
    params = model.get_params(deep=False)
    if params.get("callbacks"):
        params["callbacks"] = None
        warnings.warn(
            "callbacks are live objects and are not saved; set them again after loading", stacklevel=4
        )
    present = vars(model)
    fitted = {name: present[name] for name in present if FITTED.fullmatch(name) or name in BESIDES}
    # After early stopping the best weights are the present ones, the same objects, and a warm start relies on that.
    best_is_present = "_best_coefs" in fitted and fitted["_best_coefs"] is fitted.get("coefs_")
    if best_is_present:
        del fitted["_best_coefs"], fitted["_best_intercepts"]
    binarizer, optimizer = present.get("_label_binarizer"), present.get("_optimizer")
    record = {
        "params": params,
        "fitted": fitted,
        "best_is_present": best_is_present,
        "label_binarizer": None
        if binarizer is None
        else {name: getattr(binarizer, name) for name in BINARIZER},
        "optimizer": None if optimizer is None else _public(optimizer.__getstate__()),
    }
    _check(type(model), record)
    return record


def from_record(cls: Any, record: Any) -> Any:
    """Return the estimator of a record.

    Raises
    ------
    TypeError, ValueError
        Its parts do not fit together, or its parameters are impossible.
    """
    _check(cls, record)
    model = cls(**record["params"])
    for name, value in record["fitted"].items():
        setattr(model, name, value)
    if record["label_binarizer"] is not None:
        model._label_binarizer = _binarizer(record["label_binarizer"])
    if record["optimizer"] is not None:
        model._optimizer = optimizer = StochasticOptimizer(model, 0)
        vars(optimizer).update(record["optimizer"])
    if record["best_is_present"]:
        model._best_coefs, model._best_intercepts = model.coefs_, model.intercepts_
    return model


def _public(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if not name.startswith("_")}


def _check(cls: Any, record: Any) -> None:
    RECORD(record, cls.__name__)
    params, fitted = record["params"], record["fitted"]
    unknown = sorted((set(params) ^ set(cls._get_param_names())) - LATER)
    if unknown:
        raise ValueError(f"the parameters {shown(unknown)} are unknown, or missing")
    check_threads(params["n_threads"])
    model = cls(**params)
    model._validate_params()  # scikit-learn's check of types and bounds, as in fit
    count = len(model._hidden_sizes())
    names, _ = (model._per_hidden_layer(name, count) for name in ("activation", "dropout"))
    checked_class_weight(params.get("class_weight"))
    for name, value in fitted.items():
        if not (FITTED.fullmatch(name) or name in BESIDES):
            raise ValueError(f"not an attribute of a fitted {cls.__name__}: {shown(name, 40)}")
        known = NETWORK.get(name) or BESIDES.get(name)
        if known is not None:
            known(value, name)
    missing = sorted(set(NETWORK) - set(fitted))
    if not missing:
        _check_network(model, fitted, record)
    elif (
        len(missing) < len(NETWORK)
        or record["optimizer"]
        or record["label_binarizer"]
        or record["best_is_present"]
    ):
        raise ValueError(f"a fitted {cls.__name__} has {', '.join(missing)} too")


def _check_network(model: Any, fitted: dict[str, Any], record: dict[str, Any]) -> None:
    weights, biases = fitted["coefs_"], fitted["intercepts_"]
    if not weights:
        raise ValueError("coefs_ is empty")
    sizes = [fitted["n_features_in_"], *(W.shape[1] for W in weights)]
    # scikit-learn's contract lets biases be of another precision than the weights.
    if len(biases) != len(weights):
        raise ValueError(f"{len(weights)} coefs_, but {len(biases)} intercepts_")
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        check_arrays(sizes[i : i + 2], [W], [b], W.dtype.name if b.dtype == W.dtype else b.dtype.name)
    if fitted["n_outputs_"] != sizes[-1] or fitted["n_layers_"] != len(sizes):
        raise ValueError(
            f"n_layers_ {fitted['n_layers_']!r}, n_outputs_ {fitted['n_outputs_']!r}, but sizes {shown(sizes)}"
        )
    if not isinstance(model.activation, str) and len(model.activation) != len(sizes) - 2:
        raise ValueError(f"{len(model.activation)} activations for {len(sizes) - 2} hidden layers")
    shapes = [array.shape for array in (*weights, *biases)]
    if ("_best_coefs" in fitted) is not ("_best_intercepts" in fitted):
        raise ValueError("_best_coefs and _best_intercepts must come together")
    if "_best_coefs" in fitted:
        if record["best_is_present"]:
            raise ValueError("the best weights are said to be the present ones, but stand there as well")
        _check_shapes("the best weights", [*fitted["_best_coefs"], *fitted["_best_intercepts"]], shapes)
    names = fitted.get("feature_names_in_")
    if names is not None and not (len(names) == sizes[0] and all(isinstance(name, str) for name in names)):
        raise ValueError(f"feature_names_in_ must be {sizes[0]} names, got {shown(names.tolist())}")
    _check_classes(fitted, record["label_binarizer"], sizes[-1])
    if record["optimizer"] is not None:
        _check_optimizer(model, record["optimizer"], shapes)


def _check_shapes(what: str, arrays: list[Any], shapes: list[tuple[int, ...]]) -> None:
    if [array.shape for array in arrays] != shapes:
        raise ValueError(f"{what} have other shapes than coefs_ and intercepts_")


def _check_classes(fitted: dict[str, Any], binarizer: dict[str, Any] | None, n_outputs: int) -> None:
    if (binarizer is None) is ("classes_" in fitted):
        raise ValueError("classes_ and the label binarizer must come together")
    if binarizer is None:
        return
    classes = fitted["classes_"]
    multilabel = binarizer["y_type_"].startswith("multilabel")
    if (1 if len(classes) <= 2 and not multilabel else len(classes)) != n_outputs:
        raise ValueError(f"classes_ {shown(classes.tolist())} for {n_outputs} outputs")
    own = binarizer["classes_"]
    if own.dtype != classes.dtype or own.shape != classes.shape or not (own == classes).all():
        raise ValueError("the label binarizer has other classes than classes_")


def _check_optimizer(model: Any, state: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    from fastbp.kernels.optimizers import SLOTS  # which takes a second: only for a training to go on with

    example = StochasticOptimizer(model, 0)
    vars(example).update(state)
    slots = SLOTS[example.rule(0.0).kernel]
    if state["slots"] and sorted(state["slots"]) != sorted(slots):
        raise ValueError(f"the optimizer keeps {', '.join(slots)}, got {shown(sorted(state['slots']))}")
    for arrays in state["slots"].values():
        _check_shapes("the moments of the optimizer", arrays, shapes)


def _binarizer(state: dict[str, Any]) -> Any:
    binarizer = LabelBinarizer(
        neg_label=state["neg_label"], pos_label=state["pos_label"], sparse_output=state["sparse_output"]
    )
    for name in ("y_type_", "sparse_input_", "classes_"):
        setattr(binarizer, name, state[name])
    return binarizer
