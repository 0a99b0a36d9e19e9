"""Threads that share objects, forks and interrupts during a training, disks that fail in the middle of a file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import fastbp as fb
from bench.probes.fuzz.case import CLASSES, check, estimator, network, rows

CHILD_SECONDS = 20.0  # a child that takes longer hangs


def threads(rng: np.random.Generator, folder: Path) -> None:
    """Many threads predict with one object, each other's trainings around them: everybody gets the right numbers."""
    model: Any = [network(rng), estimator(rng, True), estimator(rng, False)][int(rng.integers(3))]
    inputs = [rng.normal(size=(int(rng.choice([1, 3, 300, 3000])), 4)).astype("float32") for _ in range(8)]
    answers = [model.predict(x) for x in inputs]
    seeds = rng.integers(2**31, size=2)

    def trained(seed: int) -> np.ndarray:
        net = network(np.random.default_rng(seed))
        net.fit(*rows(np.random.default_rng(seed), 400), epochs=2, batch_size=40, verbose=0)
        return net.engine.theta

    alone = [trained(seed) for seed in seeds]
    with ThreadPoolExecutor(6) as pool:
        nets = [pool.submit(trained, seed) for seed in seeds]
        told = [pool.submit(model.predict, inputs[k]) for k in np.resize(np.arange(8), 40)]
        for k, future in enumerate(told):
            check(
                np.array_equal(future.result(60), answers[k % 8]), "a prediction beside others is another one"
            )
        for future, theta in zip(nets, alone, strict=True):
            check(np.array_equal(future.result(60), theta), "a training beside others gives other weights")


def trainings(rng: np.random.Generator, folder: Path) -> None:
    """Many threads train one object with batches of different sizes: every step counts, and nothing is broken."""
    net, sizes = network(rng), [int(rng.choice([1, 3, 300, 3000])) for _ in range(24)]
    trainer = fb.Trainer(net, optimizer=fb.SGD(1e-3))
    with ThreadPoolExecutor(4) as pool:
        for loss in pool.map(lambda n: trainer.step(*rows(np.random.default_rng(n), n)), sizes):
            check(np.isfinite(loss), "a step beside others has a loss that is not finite")
    check(
        trainer.steps == len(sizes), f"{len(sizes)} steps beside each other were counted as {trainer.steps}"
    )
    model = estimator(rng, True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: model.partial_fit(np.ones((n, 4)), np.resize(CLASSES, n)), sizes))
    check(all(np.isfinite(w).all() for w in model.coefs_), "trainings of one estimator leave no numbers")


def forks(rng: np.random.Generator, folder: Path) -> None:
    """A child that is forked during a training trains itself, and ends."""
    net, data = network(rng), rows(rng, 2000)
    expected = network(np.random.default_rng(7))
    expected.fit(*rows(np.random.default_rng(7)), epochs=2, verbose=0)
    training = threading.Thread(target=lambda: net.fit(*data, epochs=20, batch_size=50, verbose=0))
    training.start()
    time.sleep(float(rng.uniform(0.0, 0.02)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of what is tried here
        child = os.fork()
    if child == 0:
        try:
            twin = network(np.random.default_rng(7))
            twin.fit(*rows(np.random.default_rng(7)), epochs=2, verbose=0)
            os._exit(0 if np.array_equal(twin.engine.theta, expected.engine.theta) else 1)
        finally:
            os._exit(2)
    training.join()
    end = time.monotonic() + CHILD_SECONDS
    status = None
    while status is None and time.monotonic() < end:
        done, code = os.waitpid(child, os.WNOHANG)
        status = code if done else None
        time.sleep(0.002)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    check(status == 0, f"a forked child {'hangs' if status is None else f'ends with status {status}'}")


# The first use of fastbp in a process imports and loads for a second. What is not fastbp's to guard is imported before.
BEGINNING = """
import os, signal, sys, threading, time, warnings
import numpy, scipy.optimize, scipy.sparse, sklearn.base, sklearn.metrics
import fastbp as fb

def use():
    x = numpy.linspace(-1.0, 1.0, 30).reshape(10, 3)
    net = fb.Sequential([fb.Dense(5, "tanh"), fb.Dense(2)], 3)
    net.fit(x, x[:, :2], epochs=2, metrics="r2", verbose=0)
    regressor = fb.MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", random_state=0)
    return [regressor.fit(x, x[:, 0]).predict(x), net.predict(x)]

warnings.simplefilter("ignore")
kind, patience, *moments = sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:])
if kind == "interrupt":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, moments[0])
    try:
        use()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        pass
else:
    begun, children = time.monotonic(), []
    thread = threading.Thread(target=use)
    thread.start()
    for moment in sorted(moments):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        child = os.fork()
        if child == 0:
            signal.alarm(patience)  # which ends a child that hangs
            use()
            os._exit(0)
        children.append(child)
    thread.join()
    for child in children:
        status = os.waitpid(child, 0)[1]
        if status:
            sys.exit(f"a child forked amid the first use ends with status {status}")
first, second = use(), use()
if not all(numpy.array_equal(a, b) for a, b in zip(first, second)):
    sys.exit("two equal trainings give different numbers")
"""


def beginnings(rng: np.random.Generator, folder: Path) -> None:
    """Ctrl-C or forks while fastbp is first used in a process: it works afterwards, and in the children."""
    kind = str(rng.choice(["interrupt", "fork"]))
    moments = [f"{moment:.4f}" for moment in rng.uniform(0.0, 2.0, 1 if kind == "interrupt" else 4)]
    done = subprocess.run(
        [sys.executable, "-c", BEGINNING, kind, str(int(3 * CHILD_SECONDS)), *moments],  # several at a time
        capture_output=True,
        text=True,
        check=False,
    )
    last = (done.stderr.strip().splitlines() or [""])[-1]
    check(done.returncode == 0, f"{kind} amid the first use, after {' '.join(moments)} s: {last}")


@contextlib.contextmanager
def interrupt_after(seconds: float) -> Iterator[None]:
    """Press Ctrl-C after so many seconds."""
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupts(rng: np.random.Generator, folder: Path) -> None:
    """Ctrl-C at any moment of a training: the model is whole, and can be trained, predict, and be saved."""
    net, (x, y) = network(rng), rows(rng, 3000)
    with contextlib.suppress(KeyboardInterrupt), interrupt_after(float(rng.uniform(0.0005, 0.1))):
        net.fit(x, y, epochs=2000, batch_size=20, verbose=0)
    check(np.isfinite(net.engine.theta).all(), "an interrupt has left weights that are not finite")
    wanted = np.tanh(x @ net.weights[0] + net.biases[0]) @ net.weights[1] + net.biases[1]
    check(np.allclose(net.predict(x), wanted, rtol=1e-3, atol=1e-4), "wrong predictions after an interrupt")
    net.fit(x, y, epochs=1, verbose=0)
    net.save(folder / "net")
    check(np.array_equal(fb.load(folder / "net").predict(x), net.predict(x)), "another model in the file")


def disks(rng: np.random.Generator, folder: Path) -> None:
    """A disk that is full, or an error of any call: the old file is whole, and nothing else is left."""
    if os.name != "posix":
        return
    path = folder / "m"
    old: Any = network(rng)
    old.save(path)
    before = path.read_bytes()
    new: Any = [network(rng), estimator(rng, True)][int(rng.integers(2))]
    saved = failing(rng, lambda: fb.formats.save(new, path))
    if saved:
        check(type(fb.load(path)) is type(new), "a save that succeeded has written something else")
    else:
        check(path.read_bytes() == before, "a save that failed has changed the file")
    check(sorted(os.listdir(folder)) == ["m"], f"a save has left {sorted(os.listdir(folder))}")


def failing(rng: np.random.Generator, action: Callable[[], None]) -> bool:
    """Do it while the disk fails; return whether it succeeded."""
    import resource

    kind = str(rng.choice(["size", "fsync", "replace", "chmod"]))
    try:
        if (
            kind == "size"
        ):  # the kernel's own limit: what a full disk is to a program, but for the number of the error
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(rng.integers(0, 2000)), limits[1]))
            try:
                action()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
                signal.signal(signal.SIGXFSZ, handler)
        else:
            plain = getattr(os, kind)

            def fail(*_: Any, **__: Any) -> None:
                raise OSError(28, "No space left on device")

            setattr(os, kind, fail)
            try:
                action()
            finally:
                setattr(os, kind, plain)
    except OSError:
        return False
    return True
