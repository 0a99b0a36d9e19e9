"""ONNX: a trained network for onnxruntime and every other program that reads the format.

The graph is written operator by operator with `onnx.helper`, opset 17 and IR version 8, which runtimes of 2022 and
later take. `register` teaches skl2onnx the same formulas, for fastbp's estimators inside a scikit-learn Pipeline.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.formats._atomic import atomic_write
from fastbp.formats._network import Network, describe
from fastbp.formats._suffixes import check_suffix
from fastbp.spellings.activations import ACTIVATIONS, Emitter

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["register", "to_onnx"]

OPSET = 17
IR_VERSION = 8


def _forward(emit: Emitter, network: Network, x: str) -> str:
    """Outputs of the network; probabilities if it has a head."""
    a = x
    for layer in network.affine:
        bias = [] if layer.b is None else [emit.constant(layer.b.astype(emit.dtype))]
        z = emit.node("Gemm", a, emit.constant(layer.W.astype(emit.dtype)), *bias)
        a = ACTIVATIONS[layer.activation].onnx(emit, z)
    if network.head == "softmax":
        return emit.node("Softmax", a, axis=1)
    return emit.node("Sigmoid", a) if network.head else a


def _classify(emit: Emitter, network: Network, p: str, label: str, probabilities: str) -> None:
    """Add the two outputs of a classifier, as skl2onnx defines them, from the outputs `p` of its last layer."""
    if network.multilabel:
        emit.node("Identity", p, output=probabilities)
        emit.node("Cast", emit.node("Greater", p, emit.constant(0.5)), output=label, to=7)
        return
    classes = _labels(network)
    if network.head == "sigmoid":
        rest = emit.node("Sub", emit.constant(1.0), p)
        emit.node("Concat", rest, p, output=probabilities, axis=1)
        classes = np.resize(classes, 2)  # fitted on one class only: both outputs mean that one
    else:
        emit.node("Identity", p, output=probabilities)
    winner = emit.node("ArgMax", probabilities, axis=1, keepdims=0)
    emit.node("Gather", emit.constant(classes), winner, output=label, axis=0)


def _labels(network: Network) -> np.ndarray:
    """Classes as strings or int64, the two kinds of label ONNX converters know."""
    assert network.classes is not None
    classes = network.classes
    if all(isinstance(item, str) for item in classes.tolist()):
        return classes.astype(object)
    whole = classes.astype(np.int64)
    if not np.array_equal(whole, classes):
        raise ValueError(f"ONNX labels are strings or whole numbers, got the classes {classes!r:.80}")
    return whole


def _type(dtype: np.dtype[Any]) -> int:
    from onnx import TensorProto

    return {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64}.get(
        dtype.name, TensorProto.STRING
    )


class _Graph:
    """An `Emitter` that keeps what it is given."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._names: dict[Any, str] = {}

    def constant(self, value: Any) -> str:
        array = np.asarray(value, dtype=None if isinstance(value, np.ndarray) else self.dtype)
        if array.ndim == 0 and float(array) in self._names:
            return self._names[float(array)]
        name = f"c{len(self.initializers)}"
        if array.ndim == 0:
            self._names[float(array)] = name
        self.initializers.append(_tensor(array, name))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], f"n{len(self.nodes)}", **attributes))
        return output


def _tensor(array: np.ndarray, name: str) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    if array.dtype == object:
        return helper.make_tensor(name, TensorProto.STRING, array.shape, [item.encode() for item in array])
    return numpy_helper.from_array(np.ascontiguousarray(array), name)


def to_onnx(
    model: Any, path: str | os.PathLike[str] | None = None, *, probabilities: bool | str = False
) -> ModelProto:
    """Write a model as ONNX (opset 17, IR version 8) for any number of rows.

    Parameters
    ----------
    model : Sequential, or a fitted MLPClassifier or MLPRegressor
    path : str or path-like, optional
        Where to write it, atomically: ``*.onnx``, or a name without suffix. None only returns it.
    probabilities : bool, "softmax" or "sigmoid", default=False
        For a Sequential: whether the output is probabilities in place of the last layer's values. True is softmax over
        several outputs and sigmoid of a single one. A classifier always has labels and probabilities.

    Returns
    -------
    onnx.ModelProto
        Input ``X`` (n, n_inputs) of the model's dtype. Outputs, of the same dtype, named as skl2onnx names them:

        - Sequential: ``output`` (n, n_outputs).
        - MLPClassifier: ``label`` (n,) int64 or string, ``probabilities`` (n, n_classes); for multilabel targets
          ``label`` (n, n_classes) int64.
        - MLPRegressor: ``variable`` (n, n_outputs).

    Raises
    ------
    TypeError
        `model` is none of these.
    ValueError
        `path` ends otherwise; `probabilities` does not fit the model; the classes are neither strings nor whole
        numbers.
    ImportError
        The package onnx is missing: ``pip install "fastbp[onnx]"``.
    sklearn.exceptions.NotFittedError
        An estimator is not fitted.

    Notes
    -----
    gelu of a float64 model is as exact as float32: onnxruntime has its Erf in no other precision.

    Examples
    --------
    >>> import numpy as np, fastbp as fb
    >>> net = fb.Sequential([fb.Dense(3, "relu"), fb.Dense(1)], n_inputs=2)
    >>> proto = fb.formats.to_onnx(net)
    >>> [node.op_type for node in proto.graph.node]
    ['Gemm', 'Relu', 'Gemm', 'Identity']
    """
    try:
        from onnx import helper
    except ImportError as error:
        raise ImportError('to_onnx needs the package onnx: pip install "fastbp[onnx]"') from error
    from fastbp import __version__
    from fastbp.sequential import Sequential

    if path is not None:
        check_suffix(path, ".onnx")
    sequential = isinstance(model, Sequential)
    network = describe(model, probabilities)
    if network.classes is not None:
        network = describe(model, True)
    emit = _Graph(network.dtype)
    real = _type(network.dtype)
    rows, columns = "n", network.sizes[-1]
    y = _forward(emit, network, "X")
    outputs: list[tuple[str, int, list[Any]]]
    if network.classes is not None:
        _classify(emit, network, y, "label", "probabilities")
        kind = _type(np.dtype(np.int64)) if network.multilabel else _type(_labels(network).dtype)
        label = [rows, columns] if network.multilabel else [rows]
        wide = columns if network.multilabel or network.head == "softmax" else 2
        outputs = [("label", kind, label), ("probabilities", real, [rows, wide])]
    else:
        name = "output" if sequential else "variable"
        emit.node("Identity", y, output=name)
        outputs = [(name, real, [rows, columns])]
    graph = helper.make_graph(
        emit.nodes,
        type(model).__name__,
        [helper.make_tensor_value_info("X", real, [rows, network.sizes[0]])],
        [helper.make_tensor_value_info(*output) for output in outputs],
        emit.initializers,
    )
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastbp",
        producer_version=__version__,
    )
    if sequential:
        helper.set_model_props(proto, dict(model.metadata))
    if path is not None:
        with atomic_write(path) as file:
            file.write(proto.SerializeToString(deterministic=True))
    return proto


class _Container:
    """An `Emitter` that writes into the graph skl2onnx is building."""

    def __init__(self, scope: Any, container: Any, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._scope, self._container = scope, container

    def constant(self, value: Any) -> str:
        array = np.asarray(value, dtype=None if isinstance(value, np.ndarray) else self.dtype)
        name: str = self._scope.get_unique_variable_name("c")
        items = [item.encode() for item in array] if array.dtype == object else array.ravel()
        self._container.add_initializer(name, _type(array.dtype), list(array.shape), items)
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or self._scope.get_unique_variable_name("t")
        name = self._scope.get_unique_operator_name(operator)
        self._container.add_node(operator, list(inputs), [output], name=name, **attributes)
        return output


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Convert an estimator for skl2onnx."""
    from skl2onnx.common.data_types import DoubleTensorType

    network = describe(operator.raw_operator)
    if network.classes is not None:
        network = describe(operator.raw_operator, True)
    # As skl2onnx's own converters: the precision of the input decides, whole numbers count as float32.
    dtype = np.dtype(np.float64 if isinstance(operator.inputs[0].type, DoubleTensorType) else np.float32)
    emit = _Container(scope, container, dtype)
    y = _forward(emit, network, emit.node("Cast", operator.inputs[0].full_name, to=_type(dtype)))
    names = [variable.full_name for variable in operator.outputs]
    if network.classes is None:
        emit.node("Identity", y, output=names[0])
    else:
        _classify(emit, network, y, names[0], names[1])


def _shapes(operator: Any) -> None:
    """Types and shapes of an estimator's outputs for skl2onnx."""
    from skl2onnx.common.data_types import (
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        StringTensorType,
    )

    network = describe(operator.raw_operator)
    rows, columns = operator.inputs[0].get_first_dimension(), network.sizes[-1]
    real = DoubleTensorType if isinstance(operator.inputs[0].type, DoubleTensorType) else FloatTensorType
    if network.classes is None:
        operator.outputs[0].set_type(real([rows, columns]))
        return
    if network.multilabel:
        operator.outputs[0].set_type(Int64TensorType([rows, columns]))
    else:
        label = StringTensorType if _labels(network).dtype == object else Int64TensorType
        operator.outputs[0].set_type(label([rows]))
    operator.outputs[1].set_type(real([rows, columns if network.multilabel else max(columns, 2)]))


def register() -> None:
    """Teach skl2onnx fastbp's estimators, so that it converts Pipelines with them. Call it once, any number of times.

    Raises
    ------
    ImportError
        The package skl2onnx is missing.

    Examples
    --------
    >>> import numpy as np, fastbp as fb
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import skl2onnx
    >>> x = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    >>> net = fb.MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", tol=0.1)
    >>> model = make_pipeline(StandardScaler(), net).fit(x, x[:, 0])
    >>> fb.formats.register()
    >>> skl2onnx.to_onnx(model, x[:1]).graph.output[0].name
    'variable'
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError('register needs the package skl2onnx: pip install "fastbp[onnx]"') from error
    from fastbp.estimators import MLPClassifier, MLPRegressor

    # The options that skl2onnx has for every classifier; it applies them before and after our converter.
    options = {
        "zipmap": [True, False, "columns"],
        "output_class_labels": [False, True],
        "nocl": [True, False],
    }
    update_registered_converter(MLPClassifier, "FastbpMLPClassifier", _shapes, _convert, options=options)
    update_registered_converter(MLPRegressor, "FastbpMLPRegressor", _shapes, _convert)
