"""The record of a `Sequential` in a file: what stands in it, and that its parts fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import fastbp.formats._schema as schema
from fastbp.layers import Dense, Dropout, check_arrays, layer_from_config, plan_layers
from fastbp.validation import one_line, shown

if TYPE_CHECKING:
    from fastbp.training.trainer import Model

__all__ = ["check_model", "model_record"]

_DENSE = schema.record(
    {
        "class": schema.one_of("Dense"),
        "units": schema.integer(1),
        "activation": schema.text,
        "use_bias": schema.flag,
        "initializer": schema.text,
        "l1": schema.number(0.0, finite=True),
        "l2": schema.number(0.0, finite=True),
    }
)
_DROPOUT = schema.record({"class": schema.one_of("Dropout"), "rate": schema.number(0.0, 1.0, finite=True)})


def _layer(value: Any, name: str) -> None:
    kind = value.get("class") if isinstance(value, dict) else None
    schema.one_of("Dense", "Dropout")(kind, f"{name}.class")
    (_DENSE if kind == "Dense" else _DROPOUT)(value, name)
    try:
        layer_from_config(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from None


CONFIG = schema.record(
    {
        "class": schema.one_of("Sequential"),
        "n_inputs": schema.integer(1),
        "dtype": schema.one_of("float32", "float64"),
        "seed": schema.optional(schema.integer(0)),
        "layers": schema.items(_layer),
        "metadata": schema.table(schema.text),
    }
)
# Shapes and dtypes are compared with the layers afterwards.
_MODEL = schema.record(
    {
        "config": CONFIG,
        "weights": schema.items(schema.array("f", 2)),
        "biases": schema.items(schema.optional(schema.array("f", 1))),
    },
    {"training": schema.table(lambda value, name: None)},  # its own check: `fastbp.training.model_loop`
)


def check_model(state: Any) -> list[Dense | Dropout]:
    """Return the layers of a model's record; raise a ValueError of one line unless all of it fits together.

    Nothing is allocated, whatever sizes the record claims.
    """
    _MODEL(state, "model")
    config, weights, biases = state["config"], state["weights"], state["biases"]
    layers = [layer_from_config(layer) for layer in config["layers"]]
    plan_layers(layers)
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    check_arrays([config["n_inputs"], *(layer.units for layer in dense)], weights, biases, config["dtype"])
    for i, (layer, b) in enumerate(zip(dense, biases, strict=True)):
        if layer.use_bias is not (b is not None):
            raise ValueError(f"the bias of layer {i} does not agree with its use_bias={layer.use_bias}")
    return layers


def model_record(net: Model) -> dict[str, Any]:
    """Return what a file keeps of a model, checked as it is when it is read.

    Raises
    ------
    TypeError, ValueError
        Something was put into the model that does not belong there: layers or arrays of another network, notes that
        are no text.
    """
    engine = net.engine
    record = {"config": _config(net), "weights": list(engine.weights), "biases": list(engine.biases)}
    layers = check_model(record)
    planned, input_dropout = plan_layers(layers)
    if (tuple(planned), input_dropout) != (tuple(engine.layers), engine.input_dropout):
        raise ValueError(
            "cannot save: `layers` was changed and describes another network than the one that computes; "
            "make a new Sequential instead"
        )
    weights, biases = engine.layout.views(engine.theta)
    _check_same("weights", engine.weights, weights)
    _check_same("biases", engine.biases, biases)
    return record


def _config(net: Model) -> dict[str, Any]:
    try:
        config = net.to_config()
    except (AttributeError, TypeError, ValueError) as error:
        raise TypeError(
            f"cannot save: the model does not describe itself ({one_line(str(error), 100)})"
        ) from error
    for key, value in config["metadata"].items():
        if not (type(key) is str and type(value) is str):
            raise TypeError(f"metadata must map strings to strings, got {shown(key, 40)}: {shown(value, 40)}")
    return config


def _check_same(what: str, given: Sequence[Any], views: Sequence[Any]) -> None:
    """Raise a ValueError unless the arrays are those that the engine computes with."""
    for i, (array, view) in enumerate(zip(given, views, strict=True)):
        if array is not view and (
            array is None or view is None or array.__array_interface__ != view.__array_interface__
        ):
            raise ValueError(
                f"cannot save: {what}[{i}] was replaced by an array that the model does not use; "
                f"write {what}[{i}][...] = array, or use set_weights"
            )
