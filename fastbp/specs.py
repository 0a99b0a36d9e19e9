"""What an engine and a session are told: layers, a loss, an update rule, as plain values.

The public classes (layers.py, objectives.py, optimizers.py) translate themselves into these.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastbp.kernels import activations, losses, optimizers

ACTIVATION_NAMES = tuple(sorted(activations.CODES))
OBJECTIVE_NAMES = tuple(sorted(losses.CODES))
RULE_NAMES = tuple(sorted(set(optimizers.CODES) - {"momentum"}))


@dataclass(frozen=True, slots=True)
class Layer:
    """One dense layer: a = f(x W + b), with the penalty l1 sum |W| + l2 sum W^2 and dropout of the output."""

    units: int
    activation: str = "identity"
    use_bias: bool = True
    l1: float = 0.0
    l2: float = 0.0
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss by name, its parameter, and how values of outputs and rows are put together (see `losses`)."""

    name: str = "mse"
    parameter: float | None = None
    mean_outputs: bool = False
    full: bool = False
    clip: float = 0.0
    summed: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """An update rule by name, with the hyper-parameters of all; formulas are PyTorch's unless a flag says so."""

    kind: str = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    velocity: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    eps_inside: bool = True
    momentum_decay: float = 0.004
    alpha: float = 0.99
    eta_minus: float = 0.5
    eta_plus: float = 1.2
    step_min: float = 1e-6
    step_max: float = 50.0
    initial_accumulator: float = 0.0

    @property
    def kernel(self) -> str:
        """The kernel's name of the rule: plain SGD keeps no state, with momentum it does."""
        return "momentum" if self.kind == "sgd" and self.momentum != 0.0 else self.kind
