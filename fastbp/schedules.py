"""Learning rates that change with time t, the number of steps or epochs *already done*.

``per="step"``: t counts batches, the rate changes with each of them. ``per="epoch"``: t counts finished
epochs, the rate is the same for all batches of an epoch. Values equal PyTorch's schedulers of the same kind,
step by step (tests/test_schedules.py).

| class | rate at t | PyTorch | per |
|---|---|---|---|
| ConstantSchedule | lr | ``ConstantLR(factor=1)`` | step |
| StepDecay | lr gamma^floor(t / step_size) | ``StepLR`` | epoch |
| ExponentialDecay | lr gamma^t | ``ExponentialLR`` | epoch |
| CosineDecay | minimum + (lr - minimum) (1 + cos(pi t / total)) / 2 | ``CosineAnnealingLR`` after ``LinearLR`` | step |
| OneCycle | cosine up to the maximum, cosine down | ``OneCycleLR`` | step |
| InverseScaling | lr / (t + 1)^power | ``LambdaLR`` | step |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastbp.validation import check_choice, check_count, check_number

__all__ = [
    "ConstantSchedule",
    "CosineDecay",
    "ExponentialDecay",
    "InverseScaling",
    "OneCycle",
    "Schedule",
    "StepDecay",
    "from_config",
]

Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Base of the schedules: a learning rate and the unit of time. A subclass gives `rates`.

    Parameters
    ----------
    learning_rate : float
        The rate that the others are measured by, > 0.
    per : {"step", "epoch"}
        What t counts.
    """

    learning_rate: float = 1e-3
    per: str = field(default="step", kw_only=True)

    def __post_init__(self) -> None:
        """Check what all schedules share."""
        check_number(self.learning_rate, f"{type(self).__name__}: learning_rate", 0.0, open_low=True)
        check_choice(self.per, f"{type(self).__name__}: per", ("step", "epoch"))

    def __call__(self, t: int) -> float:
        """Return the learning rate after `t` finished steps or epochs."""
        return float(self.rates(np.array([check_count(t, "t", 0)], np.float64))[0])

    def rates(self, t: Times) -> Times:
        """Return the learning rates at the times `t`, float64, shape as `t`."""
        raise NotImplementedError(f"{type(self).__name__} must define rates(t)")

    def bind(self, steps_per_epoch: int, epochs: int) -> Self:
        """Return the schedule with the length of the run as its ``total`` if that is None."""
        if getattr(self, "total", 0) is not None:
            return self
        total = epochs if self.per == "epoch" else steps_per_epoch * epochs
        return replace(self, total=total)  # type: ignore[call-arg]  # a field of those classes that have it open

    def epoch_rates(self, epoch: int, first_step: int, n_steps: int) -> Times:
        """Return the learning rate of each of the `n_steps` batches of an epoch (both counted from 0)."""
        if self.per == "epoch":
            return np.full(n_steps, self(epoch))
        return self.rates(np.arange(first_step, first_step + n_steps, dtype=np.float64))

    def to_config(self) -> dict[str, Any]:
        """Return the schedule as a dict of JSON types; `from_config` reads it back."""
        return {"class": type(self).__name__, **asdict(self)}


@dataclass(frozen=True, slots=True)
class ConstantSchedule(Schedule):
    """The same rate all the time.

    >>> ConstantSchedule(0.1)(1000)
    0.1
    """

    __module__ = "fastbp"

    def rates(self, t: Times) -> Times:
        """Return `learning_rate`, once per time."""
        return np.full(t.shape, float(self.learning_rate))


@dataclass(frozen=True, slots=True)
class StepDecay(Schedule):
    """Multiply by `gamma` every `step_size` epochs: ``lr gamma^floor(t / step_size)`` (PyTorch's ``StepLR``).

    >>> [round(StepDecay(0.1, step_size=2)(t), 6) for t in range(5)]
    [0.1, 0.1, 0.01, 0.01, 0.001]
    """

    __module__ = "fastbp"

    step_size: int = 10
    gamma: float = 0.1
    per: str = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments."""
        Schedule.__post_init__(self)
        check_count(self.step_size, "StepDecay: step_size")
        check_number(self.gamma, "StepDecay: gamma", 0.0, open_low=True)

    def rates(self, t: Times) -> Times:
        """Return ``lr gamma^floor(t / step_size)``."""
        return np.asarray(self.learning_rate * self.gamma ** (t // self.step_size))


@dataclass(frozen=True, slots=True)
class ExponentialDecay(Schedule):
    """Multiply by `gamma` every epoch: ``lr gamma^t`` (PyTorch's ``ExponentialLR``).

    >>> ExponentialDecay(0.1, gamma=0.5)(2)
    0.025
    """

    __module__ = "fastbp"

    gamma: float = 0.95
    per: str = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments."""
        Schedule.__post_init__(self)
        check_number(self.gamma, "ExponentialDecay: gamma", 0.0, open_low=True)

    def rates(self, t: Times) -> Times:
        """Return ``lr gamma^t``."""
        return np.asarray(self.learning_rate * self.gamma**t)


@dataclass(frozen=True, slots=True)
class CosineDecay(Schedule):
    """Half a cosine down to `minimum`, after a linear warm-up (Loshchilov and Hutter, 2017).

    For t < warmup the rate is ``lr (t + 1) / (warmup + 1)``; then ``minimum + (lr - minimum) (1 + cos(pi s /
    S)) / 2`` with s = t - warmup and S = total - warmup. It stays at `minimum` afterwards. The same as
    PyTorch's ``SequentialLR([LinearLR(1 / (warmup + 1), total_iters=warmup), CosineAnnealingLR(S,
    minimum)])`` up to there.

    Parameters
    ----------
    learning_rate : float
        The highest rate.
    total : int, optional
        Length in steps or epochs; None: the whole run of `fit`.
    warmup : int or float
        Steps or epochs (`per`) of warm-up; a float below 1 is a share of `total`.
    minimum : float
        The last rate.
    per : {"step", "epoch"}
        What t counts.

    >>> schedule = CosineDecay(0.1, total=10, warmup=1)
    >>> schedule(0), schedule(1), schedule(10)
    (0.05, 0.1, 0.0)
    """

    __module__ = "fastbp"

    total: int | None = None
    warmup: int | float = field(default=0, kw_only=True)
    minimum: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments."""
        Schedule.__post_init__(self)
        if self.total is not None:
            check_count(self.total, "CosineDecay: total")
        if isinstance(self.warmup, float):
            check_number(self.warmup, "CosineDecay: warmup as a share", 0.0, 1.0, open_high=True)
        else:
            check_count(self.warmup, "CosineDecay: warmup", 0)
            if self.total is not None and self.warmup >= self.total:
                raise ValueError(
                    f"CosineDecay: warmup must be shorter than total={self.total}, got {self.warmup}"
                )
        check_number(self.minimum, "CosineDecay: minimum", 0.0, self.learning_rate)

    def rates(self, t: Times) -> Times:
        """Return the rates of warm-up and cosine."""
        total = _bound(self, self.total)
        warmup = round(self.warmup * total) if isinstance(self.warmup, float) else self.warmup
        share = np.clip((t - warmup) / max(1, total - warmup), 0.0, 1.0)
        cosine = self.minimum + (self.learning_rate - self.minimum) * (1.0 + np.cos(np.pi * share)) / 2.0
        return np.where(t < warmup, self.learning_rate * (t + 1.0) / (warmup + 1.0), cosine)


@dataclass(frozen=True, slots=True)
class OneCycle(Schedule):
    """A short rise to the highest rate, a long fall far below the first one (Smith and Topin, 2018).

    PyTorch's ``OneCycleLR(anneal_strategy="cos", cycle_momentum=False)``: from ``lr / div_factor`` up to lr
    in the first ``pct_start`` of the cycle, then down to ``lr / (div_factor final_div_factor)``, both along
    half a cosine. The momentum is left alone.

    Parameters
    ----------
    learning_rate : float
        The highest rate (``max_lr``).
    total : int, optional
        Length in steps; None: the whole run of `fit`.
    pct_start, div_factor, final_div_factor : float
        As above.

    >>> schedule = OneCycle(1.0, total=10)
    >>> round(schedule(0), 6), round(schedule(2), 6), round(schedule(9), 6)
    (0.04, 1.0, 4e-06)
    """

    __module__ = "fastbp"

    total: int | None = None
    pct_start: float = field(default=0.3, kw_only=True)
    div_factor: float = field(default=25.0, kw_only=True)
    final_div_factor: float = field(default=1e4, kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments."""
        Schedule.__post_init__(self)
        if self.total is not None:
            check_count(self.total, "OneCycle: total")
        check_number(self.pct_start, "OneCycle: pct_start", 0.0, 1.0)
        check_number(self.div_factor, "OneCycle: div_factor", 0.0, open_low=True)
        check_number(self.final_div_factor, "OneCycle: final_div_factor", 0.0, open_low=True)

    def rates(self, t: Times) -> Times:
        """Return the rates of rise and fall."""
        total = _bound(self, self.total)
        first = self.learning_rate / self.div_factor
        last = first / self.final_div_factor
        peak = max(self.pct_start * total - 1.0, 0.0)
        # The floors are for cycles without a rise, a fall or both, such as one of a single step.
        rise = np.clip(t / max(peak, 1e-9), 0.0, 1.0)
        fall = np.clip((t - peak) / max(total - 1.0 - peak, 1e-9), 0.0, 1.0)
        up = self.learning_rate + (first - self.learning_rate) / 2.0 * (np.cos(np.pi * rise) + 1.0)
        down = last + (self.learning_rate - last) / 2.0 * (np.cos(np.pi * fall) + 1.0)
        return np.where(t < peak, up, down)


@dataclass(frozen=True, slots=True)
class InverseScaling(Schedule):
    """Fall with a power of time: ``lr / (t + 1)^power``.

    With power 1/2 ... 1 this is the classical condition for stochastic gradient descent to converge (Robbins
    and Monro, 1951). scikit-learn's ``invscaling`` has the same form with t counted in samples.

    >>> InverseScaling(0.1)(3)
    0.05
    """

    __module__ = "fastbp"

    power: float = 0.5

    def __post_init__(self) -> None:
        """Check the arguments."""
        Schedule.__post_init__(self)
        check_number(self.power, "InverseScaling: power", 0.0)

    def rates(self, t: Times) -> Times:
        """Return ``lr / (t + 1)^power``."""
        return np.asarray(self.learning_rate / (t + 1.0) ** self.power)


SCHEDULES: Sequence[type[Schedule]] = (
    ConstantSchedule,
    StepDecay,
    ExponentialDecay,
    CosineDecay,
    OneCycle,
    InverseScaling,
)


def from_config(config: dict[str, Any]) -> Schedule:
    """Make a schedule from the dict that `Schedule.to_config` gave.

    >>> from_config(StepDecay(0.1, 5).to_config())
    StepDecay(learning_rate=0.1, per='epoch', step_size=5, gamma=0.1)
    """
    arguments = dict(config)
    kinds = {kind.__name__: kind for kind in SCHEDULES}
    return kinds[check_choice(arguments.pop("class", None), "schedule class", kinds)](**arguments)


def _bound(schedule: Schedule, total: int | None) -> int:
    if total is None:
        raise ValueError(
            f"{type(schedule).__name__} does not know its length: pass total=... (batches in all epochs). fit fills it "
            "in if the number of batches is known: from arrays or an iterable with a length, not from a generator"
        )
    return total
