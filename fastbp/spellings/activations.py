"""How other programs spell the activations: one entry each, for PyTorch, ONNX and C.

ONNX and C have few activations of their own; the others are composed of what they have. Every entry is compared with
`fastbp.reference` in tests/formats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fastbp.reference import SELU_ALPHA, SELU_SCALE

__all__ = ["SPELLINGS", "Emitter", "Spelling"]


class Emitter(Protocol):
    """Where nodes go: a graph of our own, or skl2onnx's container."""

    dtype: np.dtype[Any]

    def constant(self, value: Any) -> str:
        """Name of a constant array; numbers become scalars of `dtype`."""

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""


Emit = Callable[[Emitter, str], str]


@dataclass(frozen=True, slots=True)
class Spelling:
    """One activation a = f(z) in three languages.

    Attributes
    ----------
    torch : (str, dict) or None
        The class in `torch.nn` and its arguments. None: torch needs or has none.
    onnx : callable
        Takes an `Emitter` and the name of z, adds nodes, and returns the name of a.
    c : str
        An expression of C in z. ``$f`` is the suffix of a constant, ``$exp`` and the like the functions of <math.h> for
        the type. Comparisons are written so that NaN takes a branch that returns z or computes
        with it: NaN gives NaN.
    """

    torch: tuple[str, dict[str, Any]] | None
    onnx: Emit
    c: str


def _operator(name: str) -> Emit:
    """An operator that is there in float32 and float64."""
    return lambda emit, z: emit.node(name, z)


def _operator32(name: str, otherwise: Emit, **attributes: Any) -> Emit:
    """An operator that onnxruntime has in float32 alone, and what stands in for it in float64."""
    return lambda emit, z: (
        emit.node(name, z, **attributes) if emit.dtype == np.float32 else otherwise(emit, z)
    )


def _elu(emit: Emitter, z: str) -> str:
    below = emit.node("Exp", emit.node("Min", z, emit.constant(0.0)))
    return emit.node("Add", emit.node("Relu", z), emit.node("Sub", below, emit.constant(1.0)))


def _selu(emit: Emitter, z: str) -> str:
    below = emit.node("Sub", emit.node("Exp", emit.node("Min", z, emit.constant(0.0))), emit.constant(1.0))
    both = emit.node("Add", emit.node("Relu", z), emit.node("Mul", below, emit.constant(SELU_ALPHA)))
    return emit.node("Mul", both, emit.constant(SELU_SCALE))


def _gelu(emit: Emitter, z: str) -> str:
    scaled = emit.node("Mul", z, emit.constant(math.sqrt(0.5)))
    if emit.dtype == np.float64:  # onnxruntime has Erf in float32 alone
        scaled = emit.node("Cast", scaled, to=1)
    erf = emit.node("Erf", scaled)
    if emit.dtype == np.float64:
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


SPELLINGS: dict[str, Spelling] = {
    "elu": Spelling(
        ("ELU", {"alpha": 1.0}),
        _operator32("Elu", _elu, alpha=1.0),
        "z < 0 ? $expm1(z) : z",
    ),
    "exp": Spelling(None, _operator("Exp"), "$exp(z)"),
    "gelu": Spelling(
        ("GELU", {"approximate": "none"}),
        _gelu,
        "z * 0.5$f * (1 + $erf(z * 0.70710678118654752$f))",
    ),
    "hard_sigmoid": Spelling(
        ("Hardsigmoid", {}),
        _operator32("HardSigmoid", _hard_sigmoid, alpha=1 / 6, beta=0.5),
        "z <= -3 ? 0 : z >= 3 ? 1 : z / 6 + 0.5$f",
    ),
    "hard_tanh": Spelling(
        ("Hardtanh", {"min_val": -1.0, "max_val": 1.0}),
        _hard_tanh,
        "z < -1 ? -1 : z > 1 ? 1 : z",
    ),
    "identity": Spelling(None, lambda emit, z: z, "z"),
    "leaky_relu": Spelling(
        ("LeakyReLU", {"negative_slope": 0.01}),
        _operator32("LeakyRelu", _leaky_relu, alpha=0.01),
        "z < 0 ? 0.01$f * z : z",
    ),
    "mish": Spelling(("Mish", {}), _mish, "z * $tanh((z > 0 ? z : 0) + $log1p($exp(-$fabs(z))))"),
    "relu": Spelling(("ReLU", {}), _operator("Relu"), "z < 0 ? 0 : z"),
    "selu": Spelling(
        ("SELU", {}),
        _operator32("Selu", _selu),
        f"{SELU_SCALE!r}$f * (z < 0 ? {SELU_ALPHA!r}$f * $expm1(z) : z)",
    ),
    "sigmoid": Spelling(("Sigmoid", {}), _operator("Sigmoid"), "1 / (1 + $exp(-z))"),
    "silu": Spelling(("SiLU", {}), _silu, "z / (1 + $exp(-z))"),
    # torch's softplus is z itself above a threshold. Its default, 20, is an error of 2e-9; 80 is none in float64, and
    # exp(80) is finite in float32.
    "softplus": Spelling(
        ("Softplus", {"beta": 1.0, "threshold": 80.0}),
        SOFTPLUS,
        "(z > 0 ? z : 0) + $log1p($exp(-$fabs(z)))",
    ),
    "softsign": Spelling(("Softsign", {}), _operator32("Softsign", _softsign), "z / (1 + $fabs(z))"),
    "tanh": Spelling(("Tanh", {}), _operator("Tanh"), "$tanh(z)"),
}
