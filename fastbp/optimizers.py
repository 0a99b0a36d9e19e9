"""The optimizers by name: hyper-parameters only. State lives in the run, arithmetic in kernels/optimizers.py.

Any number of models and runs may share an optimizer object. If PyTorch and Keras differ, defaults and formulas are
PyTorch's; each is tested for 60 steps against ``torch.optim``. g is the gradient of the batch
loss, lr the learning rate of the step, t the number of the step from 1. With ``weight_decay`` = d > 0, g + d
theta takes the place of g (all parameters, biases included, as in PyTorch), except in `AdamW`.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from fastbp.reference import RULES
from fastbp.schedules import ConstantSchedule, Schedule
from fastbp.schedules import from_config as schedule_from_config
from fastbp.spellings.optimizers import NAMES
from fastbp.validation import check_choice, check_number

RULE_NAMES = tuple(sorted(RULES))
MOST_STEPS = 2**53  # the kernel counts in float64


def _hyper_parameters() -> dict[str, Any]:
    """Return every hyper-parameter of `fastbp.reference.RULES`, with the default that most of its rules have."""
    defaults: dict[str, list[Any]] = {}
    for update in RULES.values():
        for name, item in inspect.signature(update.rule).parameters.items():
            if item.default is not item.empty:
                defaults.setdefault(name, []).append(item.default)
    return {name: max(values, key=values.count) for name, values in defaults.items()}


HYPER = _hyper_parameters()
Kind = TypeVar("Kind")


def _with_hyper_parameters(kind: type[Kind]) -> type[Kind]:
    """Make a dataclass that has the hyper-parameters of all rules behind its own fields."""
    for name, default in HYPER.items():
        kind.__annotations__[name] = type(default)
        setattr(kind, name, default)
    return dataclass(frozen=True, slots=True)(kind)


@_with_hyper_parameters
class Rule:
    """An update rule as the engine takes it: its name, and the hyper-parameters of all rules but the learning rate.

    They are those of the specification, `fastbp.reference.RULES`, by name. Formulas are PyTorch's. Two flags choose
    scikit-learn's instead: with `velocity` the momentum holds steps (v = momentum v - lr g), and without `eps_inside`
    Adam adds eps before the bias correction of the second moment. `own` is a `fastbp.Rule`, which takes the place of
    the formula.
    """

    kind: str = "sgd"
    own: Any = None

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Any]]

        def __init__(self, kind: str = "sgd", own: Any = None, **hyper: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

    @property
    def kernel(self) -> str:
        """The kernel's name of the rule: there, SGD with momentum is another rule than SGD, since it keeps a state."""
        return "momentum" if self.kind == "sgd" and self.momentum != 0.0 else self.kind


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Base of the optimizers.

    Parameters
    ----------
    learning_rate : float or Schedule
        Size of a step, > 0, or a schedule from `fastbp.schedules`.
    """

    learning_rate: float | Schedule = 1e-3

    def __post_init__(self) -> None:
        """Check every hyper-parameter by its name: the same name has the same bounds."""
        kind = type(self).__name__
        if not isinstance(self.learning_rate, Schedule):
            check_number(self.learning_rate, f"{kind}: learning_rate", 0.0, open_low=True)
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("beta1", "beta2", "momentum", "alpha"):
                check_number(value, f"{kind}: {item.name}", 0.0, 1.0, open_high=item.name != "momentum")
            elif type(HYPER.get(item.name)) is float:
                check_number(value, f"{kind}: {item.name}", 0.0)

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule."""
        rate = self.learning_rate
        return rate if isinstance(rate, Schedule) else _constant(float(rate))

    def rule(self) -> Rule:
        """Return the update rule for the engine: everything but the learning rate.

        But for the case, a class is called as its rule is in `fastbp.reference.RULES`. A class of the user's own may be
        derived from such a class.
        """
        if type(self.learning_rate) is float and type(self) in OPTIMIZERS.values():
            return _known_rule(self)  # a short training takes not much longer than to make one
        return _rule(self)

    def to_config(self) -> dict[str, Any]:
        """Return the optimizer as a dict of JSON types; `from_config` reads it back."""
        rate = self.learning_rate
        config = {"class": type(self).__name__, **asdict(self)}
        config["learning_rate"] = rate.to_config() if isinstance(rate, Schedule) else float(rate)
        return config


@dataclass(frozen=True, slots=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak, 1964) or Nesterov's (Sutskever et al., 2013).

    ``v = momentum v + g`` and ``theta -= lr v``; with `nesterov` ``theta -= lr (g + momentum v)``; v starts
    as the first g. Keras puts the rate inside, ``v = momentum v - lr g``: the same steps while lr is
    constant, others when it changes.

    Parameters
    ----------
    learning_rate : float or Schedule
        PyTorch's default, 1e-3.
    momentum : float
        In [0, 1].
    nesterov : bool
        Needs momentum > 0.
    weight_decay : float
        Coupled decay, see the head of this module.

    >>> SGD(0.1, momentum=0.9).rule().kind
    'sgd'
    """

    __module__ = "fastbp"

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        Optimizer.__post_init__(self)
        if not isinstance(self.nesterov, bool):
            raise TypeError(f"SGD: nesterov must be True or False, got {self.nesterov!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: nesterov=True needs momentum > 0, got momentum=0.0")


@dataclass(frozen=True, slots=True)
class Adagrad(Optimizer):
    """A rate per parameter that falls with its gradients (Duchi, Hazan and Singer, 2011).

    ``s += g^2`` and ``theta -= lr g / (sqrt(s) + eps)``; s starts at `initial_accumulator`.

    >>> Adagrad().learning_rate
    0.01
    """

    __module__ = "fastbp"

    learning_rate: float | Schedule = 1e-2
    eps: float = 1e-10
    initial_accumulator: float = 0.0
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class RMSProp(Optimizer):
    """Adagrad with a memory that fades (Hinton, Coursera lecture 6e, 2012).

    ``s = alpha s + (1 - alpha) g^2`` and ``theta -= lr g / (sqrt(s) + eps)``. Keras: alpha (its ``rho``) 0.9,
    rate 1e-3.

    >>> RMSProp().alpha
    0.99
    """

    __module__ = "fastbp"

    learning_rate: float | Schedule = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba, 2015).

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g^2`` and ``theta -= lr m / (1 - beta1^t) /
    (sqrt(v / (1 - beta2^t)) + eps)``. Keras adds its eps (1e-7) before the correction of v.

    >>> Adam(1e-3).rule().beta2
    0.999
    """

    __module__ = "fastbp"

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    ``theta *= 1 - lr weight_decay`` (weights and biases, as PyTorch), then the step of `Adam` with the plain
    gradient. Keras: weight_decay 0.004.

    >>> AdamW().weight_decay
    0.01
    """

    __module__ = "fastbp"

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01


@dataclass(frozen=True, slots=True)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat, 2016), as PyTorch writes it.

    ``mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)``, moments as in `Adam`, and ``theta -= lr ((1 - mu_t) g
    / (1 - prod mu_1..t) + mu_(t+1) m / (1 - prod mu_1..(t+1))) / (sqrt(v / (1 - beta2^t)) + eps)``. Keras:
    rate 1e-3.

    >>> NAdam().learning_rate
    0.002
    """

    __module__ = "fastbp"

    learning_rate: float | Schedule = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3


@dataclass(frozen=True, slots=True)
class Rprop(Optimizer):
    """Steps by the sign of the gradient only (Riedmiller and Braun, 1993); for full batches.

    Each parameter has its own step, which begins at `learning_rate`. It grows by `eta_plus` while the sign of the
    gradient stays. When the sign turns, it shrinks by `eta_minus` and this step is left out. It stays within [step_min,
    step_max].

    >>> Rprop().step_max
    50.0
    """

    __module__ = "fastbp"

    learning_rate: float | Schedule = 1e-2
    eta_minus: float = 0.5
    eta_plus: float = 1.2
    step_min: float = 1e-6
    step_max: float = 50.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        Optimizer.__post_init__(self)
        check_number(self.eta_minus, "Rprop: eta_minus", 0.0, 1.0, open_low=True, open_high=True)
        check_number(self.eta_plus, "Rprop: eta_plus", 1.0, open_low=True)
        check_number(self.step_min, "Rprop: step_min", 0.0)
        check_number(self.step_max, "Rprop: step_max", self.step_min)


# Every class above, under its name in `RULES`.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    name.lower(): thing
    for name, thing in list(globals().items())
    if isinstance(thing, type) and issubclass(thing, Optimizer) and thing is not Optimizer
}
__all__ = ["MOST_STEPS", "RULE_NAMES", "Optimizer", "Rule", "from_config", "get"]
__all__ += [kind.__name__ for kind in OPTIMIZERS.values()]


def get(optimizer: str | Optimizer) -> Optimizer:
    """Return the optimizer of that name with its defaults; an `Optimizer` is returned as it is.

    Names that other libraries have for it are taken, in any case.

    >>> get("adam")
    Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08, weight_decay=0.0)
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be an object, got the class {optimizer.__name__}; write {optimizer.__name__}()"
        )
    if not isinstance(optimizer, str):
        raise TypeError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)} or an object such as Adam(1e-3), got {optimizer!r}"
        )
    return _named(optimizer)


def _rule(optimizer: Optimizer) -> Rule:
    kind: Any = type(optimizer)
    name = next((base.__name__.lower() for base in kind.__mro__ if base.__name__.lower() in RULES), None)
    if name is None:
        raise NotImplementedError(f"{kind.__name__} must define rule()")
    return Rule(
        name, **{item.name: getattr(optimizer, item.name) for item in fields(kind) if item.name in HYPER}
    )


_known_rule = functools.lru_cache(maxsize=64)(_rule)


@functools.lru_cache(maxsize=64)
def _named(name: str) -> Optimizer:
    return OPTIMIZERS[NAMES.check(name, "optimizer")]()


@functools.lru_cache(maxsize=64)
def _constant(rate: float) -> ConstantSchedule:
    return ConstantSchedule(rate)


def from_config(config: dict[str, Any]) -> Optimizer:
    """Make an optimizer from the dict that `Optimizer.to_config` gave.

    >>> from_config(SGD(0.1, momentum=0.9).to_config()) == SGD(0.1, momentum=0.9)
    True
    """
    arguments = dict(config)
    kinds = {kind.__name__: kind for kind in OPTIMIZERS.values()}
    kind = kinds[check_choice(arguments.pop("class", None), "optimizer class", kinds)]
    if isinstance(arguments.get("learning_rate"), dict):
        arguments["learning_rate"] = schedule_from_config(arguments["learning_rate"])
    return kind(**arguments)
