"""The one loop over epochs, and what is made once for it."""

import numpy as np
import pytest

import fastbp as fb
from fastbp.callbacks import Run
from fastbp.engine import spare
from fastbp.engine.session import Session
from fastbp.engine.workspace import Workspace
from fastbp.training import Fit
from fastbp.training.loop import Loop


class Counting(Loop):
    """Trains nothing: every epoch is three chunks of ten rows."""

    def __init__(self, callbacks=(), epochs=4):
        super().__init__(Run(None, np.zeros(1), epochs, 30), callbacks)
        self.over = []

    def chunks(self):
        for number in range(1, 4):
            yield 10, float(number)

    def measure(self):
        return {"loss": self.run.loss_sum / self.run.samples_done}

    def epoch_over(self):
        self.over.append(self.run.epoch)


class Stop:
    """Stops in some hook."""

    def __init__(self, hook, at):
        self.hook, self.at, self.calls = hook, at, []

    def on_chunk_end(self, seconds, samples):
        self.calls.append(("chunk", samples))
        return self.hook == "chunk" and len(self.calls) == self.at

    def on_epoch_end(self, epoch, logs):
        self.calls.append(("epoch", epoch))
        return self.hook == "epoch" and epoch == self.at

    def on_fit_end(self):
        self.calls.append(("end", None))


def test_epochs_are_recorded():
    loop = Counting()
    loop.train()
    assert loop.over == [1, 2, 3, 4]
    assert loop.run.epoch == 4
    assert loop.run.history["loss"] == [0.1] * 4
    assert set(loop.run.history) == {"loss", "learning_rate", "epoch_seconds"}
    assert min(loop.run.history["epoch_seconds"]) >= 0.0


@pytest.mark.parametrize("resumable", [False, True])
def test_a_stop_within_an_epoch(resumable):
    """A training that can be resumed has not finished that epoch; another one has, by the rows it has seen."""
    stop = Stop("chunk", 6)
    loop = Counting([stop])
    loop.resumable = resumable
    loop.train()
    assert loop.run.history["loss"] == [0.1, 2.0 / 20]
    assert loop.over == ([1] if resumable else [1, 2])
    assert (("epoch", 1) in stop.calls) is not resumable
    assert stop.calls[-1] == ("end", None)
    assert loop.run.samples_done == (20 if resumable else 0)


def test_own_rules_end_it_after_the_callbacks():
    class Patient(Counting):
        def ends(self):
            return self.run.epoch == 2

    stop = Stop("", 0)
    loop = Patient([stop])
    loop.train()
    assert loop.ended and not loop.run.stopped
    assert [call for call in stop.calls if call[0] == "epoch"] == [("epoch", 0), ("epoch", 1)]


@pytest.mark.parametrize("kept", [False, True])
def test_ctrl_c(kept):
    class Interrupted(Counting):
        def chunks(self):
            raise KeyboardInterrupt
            yield

        def interrupted(self):
            return kept

    stop = Stop("", 0)
    loop = Interrupted([stop])
    if kept:
        loop.train()
        assert stop.calls == [("end", None)]
    else:
        with pytest.raises(KeyboardInterrupt):
            loop.train()
        assert stop.calls == []


def test_the_parameters_of_a_fit_cannot_change():
    settings = Fit(epochs=3)
    with pytest.raises(AttributeError):
        settings.epochs = 4
    for wrong in ({"epochs": 0}, {"batch_size": 0}, {"verbose": 3}, {"validation_split": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Fit(**wrong)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["Sequential", "batches", "MLPClassifier", "MLPRegressor", "partial_fit"])
def test_a_session_is_made_once_per_fit(kind, monkeypatch, rng):
    """And its workspace: neither the optimizer's state nor the buffers are made twice."""
    monkeypatch.setattr(spare, "_KEPT", {})  # of earlier fits
    made = []
    for cls in (Session, Workspace):
        init = cls.__init__

        def counted(self, *arguments, init=init, **options):
            if isinstance(self, Session) or options.get("gradient"):
                made.append(type(self).__name__)
            init(self, *arguments, **options)

        monkeypatch.setattr(cls, "__init__", counted)
    x, y = rng.normal(size=(60, 4)), rng.integers(0, 2, 60)
    if kind == "Sequential":
        fb.Sequential([fb.Dense(3, "relu"), fb.Dense(1)], 4).fit(x, y, epochs=3, batch_size=20, verbose=0)
    elif kind == "batches":
        batches = [(x[i : i + 20], y[i : i + 20]) for i in range(0, 60, 20)]
        fb.Sequential([fb.Dense(3, "relu"), fb.Dense(1)], 4).fit(batches, epochs=3, verbose=0)
    elif kind == "partial_fit":
        net = fb.MLPRegressor(hidden_layer_sizes=(3,))
        for rows in (20, 20, 60):
            net.partial_fit(x[:rows], y[:rows])
        assert made == ["Session", "Workspace", "Workspace"]  # more rows, and a workspace for them
        return
    else:
        getattr(fb, kind)(hidden_layer_sizes=(3,), max_iter=3).fit(x, y)
    assert made == ["Session", "Workspace"]
