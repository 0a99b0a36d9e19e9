"""Optimizers: names, configurations and errors; their steps are compared with torch in test_torch.py."""

import dataclasses
import inspect

import numpy as np
import pytest

from fastbp import optimizers
from fastbp.engine.session import place_rule
from fastbp.kernels import optimizers as kernels
from fastbp.kernels import plan
from fastbp.optimizers import SGD, Adam, Rprop
from fastbp.schedules import CosineDecay
from fastbp.sequential import Sequential
from fastbp.spellings import optimizers as spellings
from fastbp.training import Trainer
from fastbp.training.settings import Fit


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS.values())
def test_config_round_trip(kind):
    optimizer = kind(0.5)
    assert optimizers.from_config(optimizer.to_config()) == optimizer


def test_schedule_round_trip():
    optimizer = SGD(CosineDecay(0.1, warmup=3), momentum=0.9)
    assert optimizers.from_config(optimizer.to_config()) == optimizer
    assert optimizer.schedule == CosineDecay(0.1, warmup=3)
    assert SGD(0.5).schedule(7) == 0.5


def test_names():
    for kind in optimizers.OPTIMIZERS.values():
        assert optimizers.get(kind.__name__.lower()) == kind()
    assert optimizers.get(Adam(0.5)) == Adam(0.5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(0.0), ValueError, "SGD: learning_rate"),
        (lambda: SGD("0.1"), TypeError, "SGD: learning_rate"),
        (lambda: SGD(0.1, momentum=1.5), ValueError, "SGD: momentum"),
        (lambda: SGD(0.1, nesterov=True), ValueError, "needs momentum > 0"),
        (lambda: SGD(0.1, nesterov=1), TypeError, "nesterov must be True or False"),
        (lambda: SGD(0.1, weight_decay=-1), ValueError, "SGD: weight_decay"),
        (lambda: Adam(beta1=1.0), ValueError, "Adam: beta1"),
        (lambda: Adam(eps=-1.0), ValueError, "Adam: eps"),
        (lambda: Rprop(eta_plus=0.9), ValueError, "Rprop: eta_plus"),
        (lambda: Rprop(eta_plus=1.0), ValueError, "Rprop: eta_plus"),
        (lambda: Rprop(step_max=1e-9), ValueError, "Rprop: step_max"),
        (lambda: optimizers.get("adamm"), ValueError, "did you mean 'adam"),
        (lambda: optimizers.get(Adam), TypeError, r"write Adam\(\)"),
        (lambda: optimizers.get(0.1), TypeError, "optimizer must be one of"),
        (lambda: optimizers.from_config({"class": "LBFGS"}), ValueError, "optimizer class"),
        (lambda: optimizers.Optimizer().rule(), NotImplementedError, "must define rule"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


TORCH = {
    "learning_rate": "lr",
    "eps": "eps",
    "weight_decay": "weight_decay",
    "momentum": "momentum",
    "nesterov": "nesterov",
    "momentum_decay": "momentum_decay",
    "alpha": "alpha",
    "initial_accumulator": "initial_accumulator_value",
}
PAIRS = {
    "betas": ("beta1", "beta2"),
    "etas": ("eta_minus", "eta_plus"),
    "step_sizes": ("step_min", "step_max"),
}


@pytest.mark.parametrize("name", [name for name, row in spellings.OPTIMIZERS.items() if row.torch])
def test_defaults_are_pytorchs(name):
    """As the docstrings and the head of the module say."""
    torch = pytest.importorskip("torch")
    kind = optimizers.OPTIMIZERS[name]
    theirs = inspect.signature(getattr(torch.optim, spellings.OPTIMIZERS[name].torch.name))
    compared = set()
    for name, parameter in theirs.parameters.items():
        if name in PAIRS:
            assert tuple(getattr(kind(), own) for own in PAIRS[name]) == parameter.default
            compared.update(PAIRS[name])
    for own in {field.name for field in dataclasses.fields(kind)} - compared:
        assert getattr(kind(), own) == theirs.parameters[TORCH[own]].default, own


def test_seeds_and_other_defaults_stand_once():
    """`fit`, its settings and `Trainer` agree; without a seed everything is reproducible."""
    fit = {name: item.default for name, item in inspect.signature(Sequential.fit).parameters.items()}
    own = {field.name: field.default for field in dataclasses.fields(Fit)}
    for name in fit.keys() & own.keys() - {"optimizer", "metrics"}:
        assert fit[name] == own[name], name
    for call in (Sequential, Sequential.fit, Trainer):
        assert inspect.signature(call).parameters["seed"].default == 0


def test_hyper_parameters_are_those_of_the_specification():
    """The engine's rule has them, and so has the plan, but for what only the first state depends on."""
    known = set(optimizers.HYPER)
    assert {field.name for field in dataclasses.fields(optimizers.Rule)} == {"kind", "own", *known}
    assert {*kernels.HYPER, *kernels.SWITCHES} == known - {"initial_accumulator"}
    assert known >= {"momentum", "nesterov", "beta1", "eta_minus", "step_max"}
    for name, default in {"eps": 1e-8, "weight_decay": 0.0, "eps_inside": True, "beta2": 0.999}.items():
        assert getattr(optimizers.Rule(), name) == default


def test_what_the_kernels_are_told_of_a_rule():
    """Every hyper-parameter has its own place in the plan."""
    numbers = {name: 2.0 + place for place, name in enumerate(kernels.HYPER)}
    switches = dict.fromkeys(kernels.SWITCHES, False)
    for name in kernels.SWITCHES:
        rule = optimizers.Rule("adam", **numbers, **{**switches, name: True})
        words = np.zeros(plan.HEADER, np.int64)
        place_rule(words, words.view(np.float64), rule, np.dtype(np.float32))
        fields = plan.NETWORK.fields
        assert {other: bool(words[fields[other]]) for other in switches} == {**switches, name: True}
        assert {other: words.view(np.float64)[fields[other]] for other in numbers} == numbers
        assert words[plan.RULE] == kernels.CODES["adam"]
        assert np.count_nonzero(words) == 2 + len(numbers)
