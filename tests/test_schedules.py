"""Schedules: every value against torch's scheduler of the same kind, and the edges torch does not define."""

import numpy as np
import pytest

from fastbp import schedules
from fastbp.schedules import (
    ConstantSchedule,
    CosineDecay,
    ExponentialDecay,
    InverseScaling,
    OneCycle,
    StepDecay,
)


def torch_values(make, n, lr=0.3):
    """The rates that torch's scheduler gives for `n` steps."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    values = []
    for _ in range(n):
        values.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return values


TORCH = {
    "constant": (ConstantSchedule(0.3), lambda s, o: s.ConstantLR(o, factor=1.0)),
    "step": (StepDecay(0.3, 7, 0.5), lambda s, o: s.StepLR(o, 7, 0.5)),
    "exponential": (ExponentialDecay(0.3, 0.97), lambda s, o: s.ExponentialLR(o, 0.97)),
    "cosine": (CosineDecay(0.3, 40, minimum=0.01), lambda s, o: s.CosineAnnealingLR(o, 40, 0.01)),
    "warmup": (
        CosineDecay(0.3, 40, warmup=8),
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, 1 / 9, total_iters=8), s.CosineAnnealingLR(o, 32)], milestones=[8]
        ),
    ),
    "onecycle": (
        OneCycle(0.3, 40, pct_start=0.25, div_factor=10.0, final_div_factor=100.0),
        lambda s, o: s.OneCycleLR(
            o, 0.3, 40, pct_start=0.25, div_factor=10.0, final_div_factor=100.0, cycle_momentum=False
        ),
    ),
    "onecycle, defaults": (OneCycle(0.3, 33), lambda s, o: s.OneCycleLR(o, 0.3, 33, cycle_momentum=False)),
    "inverse": (InverseScaling(0.3, 0.7), lambda s, o: s.LambdaLR(o, lambda t: (t + 1) ** -0.7)),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
@pytest.mark.parametrize("name", TORCH)
def test_values_are_torchs(name):
    schedule, make = TORCH[name]
    n = getattr(schedule, "total", None) or 60
    expected = torch_values(make, n)
    np.testing.assert_allclose([schedule(t) for t in range(n)], expected, rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(schedule.rates(np.arange(n, dtype=float)), expected, rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize("schedule", [entry[0] for entry in TORCH.values()], ids=list(TORCH))
def test_config_round_trip(schedule):
    assert schedules.from_config(schedule.to_config()) == schedule


def test_every_schedule_is_compared_with_torch():
    assert {type(entry[0]) for entry in TORCH.values()} == set(schedules.SCHEDULES)


def test_the_end_is_held():
    assert CosineDecay(0.1, 10, minimum=0.01)(99) == 0.01
    assert OneCycle(1.0, 10)(99) == OneCycle(1.0, 10)(9) == pytest.approx(1 / 25e4)
    assert OneCycle(1.0, 1)(0) > 0


def test_length_of_the_run_is_filled_in():
    assert CosineDecay(0.1).bind(steps_per_epoch=5, epochs=4) == CosineDecay(0.1, 20)
    assert CosineDecay(0.1, per="epoch").bind(5, 4) == CosineDecay(0.1, 4, per="epoch")
    assert CosineDecay(0.1, 7).bind(5, 4) == CosineDecay(0.1, 7)
    assert StepDecay(0.1).bind(5, 4) == StepDecay(0.1)
    assert CosineDecay(0.1, 100, warmup=0.1)(9) == CosineDecay(0.1, 100, warmup=10)(9)
    with pytest.raises(ValueError, match="OneCycle does not know its length"):
        OneCycle(0.1)(0)


def test_epoch_rates():
    np.testing.assert_array_equal(StepDecay(1.0, 1, 0.5).epoch_rates(2, 20, 3), [0.25] * 3)
    np.testing.assert_array_equal(InverseScaling(1.0, 1.0).epoch_rates(2, 1, 3), [1 / 2, 1 / 3, 1 / 4])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantSchedule(0.0), "learning_rate must be a finite number in"),
        (lambda: ConstantSchedule(float("nan")), "learning_rate"),
        (lambda: StepDecay(0.1, 0), "step_size must be an integer >= 1, got 0"),
        (lambda: StepDecay(0.1, per="batch"), "per must be one of step, epoch; got 'batch'"),
        (lambda: CosineDecay(0.1, 10, warmup=10), "shorter than total=10"),
        (lambda: CosineDecay(0.1, minimum=0.2), "minimum"),
        (lambda: OneCycle(0.1, pct_start=2.0), "pct_start"),
        (lambda: InverseScaling(0.1, -1.0), "power"),
        (lambda: ConstantSchedule(0.1)(-1), "t must be an integer >= 0"),
        (lambda: schedules.from_config({"class": "Nothing"}), "schedule class"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_of_ones_own():
    class Sawtooth(schedules.Schedule):
        def rates(self, t):
            return self.learning_rate * (1 + t % 3)

    assert [Sawtooth(0.5)(t) for t in range(4)] == [0.5, 1.0, 1.5, 0.5]
    with pytest.raises(NotImplementedError, match="must define rates"):
        schedules.Schedule(0.1)(0)
