"""Who trains a model is alone with it: steps that are made again take a quick way, everybody else the lock."""

import os
import threading
import time

import numpy as np
import pytest

import fastbp
from fastbp.engine import teams
from fastbp.engine.teams import TrainingLock, held, training_lock
from tests.kernels.oracles import INTERPRETED


def make(dtype="float32"):
    return fastbp.Sequential([fastbp.Dense(5, "tanh"), fastbp.Dense(2)], n_inputs=4, dtype=dtype, seed=0)


@pytest.fixture
def batch(rng):
    return rng.normal(size=(6, 4)).astype("float32"), rng.normal(size=(6, 2)).astype("float32")


@pytest.fixture
def entered(monkeypatch):
    """How often a lock was entered."""
    count = []
    enter = TrainingLock.__enter__
    monkeypatch.setattr(TrainingLock, "__enter__", lambda self: count.append(self) or enter(self))
    return count


def test_a_step_like_the_last_one_does_not_enter(batch, entered):
    trainer = fastbp.Trainer(make())
    trainer.step(*batch)
    trainer.step(*batch)
    entered.clear()
    for _ in range(5):
        trainer.step(*batch)
    assert not entered
    assert trainer.steps == 7
    assert trainer.engine.training_lock.turn.free


@pytest.mark.parametrize(
    "other",
    [
        lambda net, trainer, x, y: net.fit(x, y, verbose=0),
        lambda net, trainer, x, y: trainer.forward(x),
        lambda net, trainer, x, y: trainer.apply(trainer.gradient(x, y)[1]),
        lambda net, trainer, x, y: fastbp.Trainer(net).step(x[:3], y[:3]),
        lambda net, trainer, x, y: fastbp.fit_many([net, net.copy()], x, y),
    ],
    ids=["fit", "forward", "apply", "another trainer", "fit_many"],
)
def test_whoever_enters_closes_the_quick_way(other, batch, entered):
    """A step opens it again; the numbers are those of steps that always enter."""
    nets = make(), make()
    trainers = [fastbp.Trainer(net) for net in nets]
    for _ in range(3):
        for net, trainer in zip(nets, trainers, strict=True):
            for _ in range(3):
                if net is nets[1]:
                    net.engine.training_lock.turn.closed = True
                    trainer.session.prepared = None
                trainer.step(*batch)
            other(net, trainer, *batch)
            if net is nets[0]:
                entered.clear()
                trainer.step(*batch)
                assert len(entered) <= 1
                entered.clear()
                trainer.step(*batch)
                assert not entered
            else:
                trainer.step(*batch)
                trainer.step(*batch)
    assert np.array_equal(nets[0].engine.theta, nets[1].engine.theta)
    assert trainers[0].steps == trainers[1].steps


def test_a_step_in_a_callback_leaves_it_closed(batch):
    net = make()
    trainer = fastbp.Trainer(net)
    turn = net.engine.training_lock.turn
    seen = []

    class Steps(fastbp.Callback):
        def on_epoch_end(self, epoch, logs):
            for _ in range(3):
                trainer.step(*batch)
                seen.append(turn.closed)

    trainer.step(*batch)
    assert not turn.closed
    net.fit(*batch, epochs=2, callbacks=[Steps()], verbose=0)
    assert seen == [True] * 6
    assert trainer.steps == 7


def test_who_enters_waits_for_the_step_that_has_the_turn():
    lock, inside = training_lock(), threading.Event()
    del lock.turn.free

    def enter():
        with lock:
            inside.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert not inside.wait(0.05)
    assert lock.turn.closed  # nobody can take the turn before it
    lock.turn.free = True
    assert inside.wait(60)
    thread.join()


def test_it_is_entered_again_by_its_owner_and_by_nobody_else():
    lock, entered = training_lock(), []
    assert not held(lock)

    def enter():
        with lock:
            entered.append(1)

    with lock, lock:
        assert held(lock)
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(0.05)
        assert not entered
    thread.join(60)
    assert entered
    assert not held(lock)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter mode runs one thread at a time")
def test_two_threads_step_one_trainer(batch):
    """Every step counts, whichever thread makes it: all are alike, so the numbers are those of one thread."""
    alone, together = fastbp.Trainer(make()), fastbp.Trainer(make())
    for _ in range(601):
        alone.step(*batch)

    def work():
        for k in range(300):
            together.step(*batch)
            if k % 50 == 0:
                together.forward(batch[0])

    together.step(*batch)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together.steps == 601
    assert np.array_equal(together.engine.theta, alone.engine.theta)


def test_an_interrupted_step_gives_the_turn_back(batch):
    trainer = fastbp.Trainer(make())
    trainer.step(*batch)
    prepared, turn = trainer.session.prepared, trainer.engine.training_lock.turn

    def interrupted(x, y, rate):
        assert not hasattr(turn, "free")
        raise KeyboardInterrupt

    trainer.session.prepared = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.step(*batch)
    assert turn.free
    trainer.session.prepared = prepared
    trainer.step(*batch)
    assert trainer.steps == 2


def test_an_interrupted_wait_does_not_keep_the_lock(monkeypatch):
    lock = training_lock()
    del lock.turn.free

    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt), lock:
        raise AssertionError("entered")
    assert not held(lock)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_waits_for_no_step_of_its_parent():
    lock = training_lock()
    del lock.turn.free  # of another thread, which the child does not have
    child = os.fork()
    if child == 0:
        teams.time.sleep = lambda seconds: os._exit(1)
        with lock:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_interrupts_a_step_does_not_wait_for_who_waits_for_it(batch):
    """Another thread is inside the lock, and waits for the step that a signal handler has interrupted."""
    trainer = fastbp.Trainer(make())
    trainer.step(*batch)
    prepared, told = trainer.session.prepared, []
    lock = trainer.engine.training_lock
    other = threading.Thread(target=trainer.forward, args=(batch[0],), daemon=True)

    def interrupted(x, y, rate):
        other.start()
        while not lock.turn.closed:
            time.sleep(1e-3)
        trainer.session.prepared = prepared
        with pytest.raises(RuntimeError, match="train it later"):
            trainer.step(*batch)
        told.append(True)
        return prepared(x, y, rate)

    trainer.session.prepared = interrupted
    thread = threading.Thread(target=trainer.step, args=batch, daemon=True)
    thread.start()
    thread.join(60)
    assert told
    other.join(60)
    assert not thread.is_alive() and not other.is_alive()
    trainer.step(*batch)
    assert trainer.steps == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_made_within_a_step_goes_on_with_it(batch):
    trainer = fastbp.Trainer(make())
    trainer.step(*batch)
    prepared, children = trainer.session.prepared, []

    def forks(x, y, rate):
        children.append(os.fork())
        return prepared(x, y, rate)

    trainer.session.prepared = forks
    state = trainer.engine.training_lock.turn
    try:
        trainer.step(*batch)
        free = hasattr(state, "free")
    finally:
        if children and children[0] == 0:
            os._exit(0 if free and trainer.steps == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
