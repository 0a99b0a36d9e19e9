"""The activations in other programs: a row for each, in PyTorch, Keras, scikit-learn, ONNX and C.

ONNX and C have few activations of their own; the others are composed of what they have. Every row is compared with
`fastbp.reference` in tests/formats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fastbp.reference import SELU_ALPHA, SELU_SCALE
from fastbp.spellings.names import Call, Names, Spelling

if TYPE_CHECKING:  # what is typed on the command line is checked without NumPy
    import numpy as np

__all__ = ["ACTIVATIONS", "NAMES", "ActivationSpelling", "Emitter"]


class Emitter(Protocol):
    """Where nodes go: a graph of our own, or skl2onnx's container."""

    dtype: np.dtype[Any]

    def constant(self, value: Any) -> str:
        """Name of a constant array; numbers become scalars of `dtype`."""

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""


Emit = Callable[[Emitter, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationSpelling(Spelling):
    """One activation a = f(z) in other languages.

    Attributes
    ----------
    onnx : callable
        Takes an `Emitter` and the name of z, adds nodes, and returns the name of a.
    c : str
        An expression of C in z. ``$f`` is the suffix of a constant, ``$exp`` and the like the functions of <math.h> for
        the type. Comparisons are written so that NaN takes a branch that returns z or computes
        with it: NaN gives NaN.
    """

    onnx: Emit
    c: str


def _operator(name: str) -> Emit:
    """An operator that is there in float32 and float64."""
    return lambda emit, z: emit.node(name, z)


def _operator32(name: str, otherwise: Emit, **attributes: Any) -> Emit:
    """An operator that onnxruntime has in float32 alone, and what stands in for it in float64."""
    return lambda emit, z: emit.node(name, z, **attributes) if emit.dtype == "float32" else otherwise(emit, z)


def _elu(emit: Emitter, z: str) -> str:
    below = emit.node("Exp", emit.node("Min", z, emit.constant(0.0)))
    return emit.node("Add", emit.node("Relu", z), emit.node("Sub", below, emit.constant(1.0)))


def _selu(emit: Emitter, z: str) -> str:
    below = emit.node("Sub", emit.node("Exp", emit.node("Min", z, emit.constant(0.0))), emit.constant(1.0))
    both = emit.node("Add", emit.node("Relu", z), emit.node("Mul", below, emit.constant(SELU_ALPHA)))
    return emit.node("Mul", both, emit.constant(SELU_SCALE))


def _gelu(emit: Emitter, z: str) -> str:
    scaled = emit.node("Mul", z, emit.constant(math.sqrt(0.5)))
    if emit.dtype == "float64":  # onnxruntime has Erf in float32 alone
        scaled = emit.node("Cast", scaled, to=1)
    erf = emit.node("Erf", scaled)
    if emit.dtype == "float64":
        erf = emit.node("Cast", erf, to=11)
    half = emit.node("Mul", z, emit.constant(0.5))
    return emit.node("Mul", half, emit.node("Add", erf, emit.constant(1.0)))


def _softplus(emit: Emitter, z: str) -> str:
    tail = emit.node("Exp", emit.node("Neg", emit.node("Abs", z)))  # never overflows
    return emit.node(
        "Add", emit.node("Relu", z), emit.node("Log", emit.node("Add", tail, emit.constant(1.0)))
    )


def _softsign(emit: Emitter, z: str) -> str:
    return emit.node("Div", z, emit.node("Add", emit.node("Abs", z), emit.constant(1.0)))


def _hard_sigmoid(emit: Emitter, z: str) -> str:
    line = emit.node("Add", emit.node("Div", z, emit.constant(6.0)), emit.constant(0.5))
    return emit.node("Clip", line, emit.constant(0.0), emit.constant(1.0))


def _leaky_relu(emit: Emitter, z: str) -> str:
    return emit.node("Max", z, emit.node("Mul", z, emit.constant(0.01)))


def _hard_tanh(emit: Emitter, z: str) -> str:
    return emit.node("Clip", z, emit.constant(-1.0), emit.constant(1.0))


SOFTPLUS = _operator32("Softplus", _softplus)


def _mish(emit: Emitter, z: str) -> str:
    return emit.node("Mul", z, emit.node("Tanh", SOFTPLUS(emit, z)))


def _silu(emit: Emitter, z: str) -> str:
    return emit.node("Mul", z, emit.node("Sigmoid", z))


ACTIVATIONS: dict[str, ActivationSpelling] = {
    "elu": ActivationSpelling(
        torch=Call("ELU", {"alpha": 1.0}),
        keras=Call("elu"),
        onnx=_operator32("Elu", _elu, alpha=1.0),
        c="z < 0 ? $expm1(z) : z",
    ),
    "exp": ActivationSpelling(
        keras=Call("exponential"),
        onnx=_operator("Exp"),
        c="$exp(z)",
    ),
    "gelu": ActivationSpelling(
        torch=Call("GELU", {"approximate": "none"}),
        keras=Call("gelu", {"approximate": False}),
        onnx=_gelu,
        c="z * 0.5$f * (1 + $erf(z * 0.70710678118654752$f))",
    ),
    "hard_sigmoid": ActivationSpelling(
        torch=Call("Hardsigmoid"),
        keras=Call("hard_sigmoid"),
        onnx=_operator32("HardSigmoid", _hard_sigmoid, alpha=1 / 6, beta=0.5),
        c="z <= -3 ? 0 : z >= 3 ? 1 : z / 6 + 0.5$f",
    ),
    "hard_tanh": ActivationSpelling(
        torch=Call("Hardtanh", {"min_val": -1.0, "max_val": 1.0}),
        keras=Call("hard_tanh"),
        onnx=_hard_tanh,
        c="z < -1 ? -1 : z > 1 ? 1 : z",
    ),
    "identity": ActivationSpelling(
        torch=Call("Identity"),
        keras=Call("linear"),
        sklearn="identity",
        synonyms=("none",),
        onnx=lambda emit, z: z,
        c="z",
    ),
    "leaky_relu": ActivationSpelling(
        torch=Call("LeakyReLU", {"negative_slope": 0.01}),
        keras=Call("leaky_relu", {"negative_slope": 0.01}),
        onnx=_operator32("LeakyRelu", _leaky_relu, alpha=0.01),
        c="z < 0 ? 0.01$f * z : z",
    ),
    "mish": ActivationSpelling(
        torch=Call("Mish"),
        keras=Call("mish"),
        onnx=_mish,
        c="z * $tanh((z > 0 ? z : 0) + $log1p($exp(-$fabs(z))))",
    ),
    "relu": ActivationSpelling(
        torch=Call("ReLU"),
        keras=Call("relu"),
        sklearn="relu",
        synonyms=("rectifier",),
        onnx=_operator("Relu"),
        c="z < 0 ? 0 : z",
    ),
    "selu": ActivationSpelling(
        torch=Call("SELU"),
        keras=Call("selu"),
        onnx=_operator32("Selu", _selu),
        c=f"{SELU_SCALE!r}$f * (z < 0 ? {SELU_ALPHA!r}$f * $expm1(z) : z)",
    ),
    "sigmoid": ActivationSpelling(
        torch=Call("Sigmoid"),
        keras=Call("sigmoid"),
        sklearn="logistic",
        synonyms=("expit",),
        onnx=_operator("Sigmoid"),
        c="1 / (1 + $exp(-z))",
    ),
    "silu": ActivationSpelling(
        torch=Call("SiLU"),
        keras=Call("silu"),
        synonyms=("swish",),
        onnx=_silu,
        c="z / (1 + $exp(-z))",
    ),
    "softplus": ActivationSpelling(
        # torch's softplus is z itself above a threshold. Its default, 20, is an error of 2e-9; 80 is none in float64,
        # and exp(80) is finite in float32.
        torch=Call("Softplus", {"beta": 1.0, "threshold": 80.0}),
        keras=Call("softplus"),
        onnx=SOFTPLUS,
        c="(z > 0 ? z : 0) + $log1p($exp(-$fabs(z)))",
    ),
    "softsign": ActivationSpelling(
        torch=Call("Softsign"),
        keras=Call("softsign"),
        onnx=_operator32("Softsign", _softsign),
        c="z / (1 + $fabs(z))",
    ),
    "tanh": ActivationSpelling(
        torch=Call("Tanh"),
        keras=Call("tanh"),
        sklearn="tanh",
        onnx=_operator("Tanh"),
        c="$tanh(z)",
    ),
}

_SOFTMAX = (
    "leave the last layer 'identity' (logits) and train with loss='cross_entropy', which contains the softmax"
)

NAMES = Names(
    ACTIVATIONS,
    {
        "softmax": _SOFTMAX,
        "log_softmax": _SOFTMAX,
        # They would pass for slips.
        "celu": "",
        "crelu": "",
        "geglu": "",
        "glu": "",
        "prelu": "",
        "relu6": "",
        "rrelu": "",
    },
)
