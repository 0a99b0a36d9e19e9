"""One peer in a process of its own, told over a pipe when to prepare and when to run.

`python -m bench.peers.worker '{"peer": ..., "suite": ..., ...}'`; one JSON object per line in, one per line out.
Thread counts come with the environment and the affinity is set before anything is imported that reads it. The first
answer says which kernels the process has, every other one how much of its time was stolen.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from bench import fair, stolen

if TYPE_CHECKING:  # NumPy is not imported before the process is pinned
    from bench.peers.subject import Subject

SLOW = 1.0
"""Seconds of a run from which on it is not warmed up again."""
SHORT = 1e-3
"""Seconds of a run below which it is timed by the hundred."""


def pin(threads: int) -> None:
    """Stay on the last `threads` of the cores this process may use (the first ones serve the interrupts)."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[-threads:])


def environment(threads: int, dtype: str) -> dict[str, str]:
    """Our own environment without what slows a library, with what holds every library to `threads` threads."""
    count = str(threads)
    env = fair.without(os.environ) | dict.fromkeys(fair.THREADS, count)
    env["JAX_PLATFORMS"] = "cpu"
    env["NPROC"] = count  # the size of XLA's thread pool
    env["TF_CPP_MIN_LOG_LEVEL"] = "3"
    env["JAX_ENABLE_X64"] = "1" if dtype == "float64" else "0"
    if threads == 1:
        env["XLA_FLAGS"] = (env.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false").strip()
    if "KERAS_BACKEND" not in env:
        import importlib.util

        env["KERAS_BACKEND"] = "jax" if importlib.util.find_spec("jax") else "torch"
    env["PYTHONUNBUFFERED"] = "1"
    return env


def load(factory: str) -> Any:
    """Import "module:callable" below bench.peers."""
    import importlib

    module, _, name = factory.partition(":")
    return getattr(importlib.import_module(f"bench.peers.{module}"), name)


def prepare(subject: Subject) -> dict[str, Any]:
    """Check the subject, warm it up, and time one run."""
    check = subject.check()  # which compiles what there is to compile
    note = getattr(subject, "note", "")
    if hasattr(subject, "rate"):
        return {"check": check, "once": 0.0, "note": note}
    once = 0.0
    for _ in range(3):
        if once < SLOW:
            subject.reset()
            start = time.perf_counter()
            subject.run(1)
            once = time.perf_counter() - start
    if once < SHORT:
        # One call is mostly the clock and cold caches: ask how long a hundred take.
        subject.reset()
        start = time.perf_counter()
        subject.run(100)
        once = (time.perf_counter() - start) / 100
    return {"check": check, "once": once, "note": note}


def measure(subject: Subject, times: int) -> dict[str, Any]:
    """One timed repeat, from the start."""
    if hasattr(subject, "rate"):
        watch = stolen.Watch()
        return {"rate": subject.rate(), "stolen": watch.share()}
    subject.reset()
    watch = stolen.Watch()
    start = time.perf_counter()
    subject.run(times)
    seconds = time.perf_counter() - start
    answer = {"rate": subject.work * times / seconds, "seconds": seconds, "stolen": watch.share()}
    return answer | {"told": subject.told()} if hasattr(subject, "told") else answer


def serve(subject: Subject, commands: TextIO, answers: TextIO) -> None:
    """Answer until the pipe closes."""

    def say(what: dict[str, Any]) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    say(prepare(subject) | {"process": fair.report()})
    for line in commands:
        say(measure(subject, json.loads(line)["times"]))


def main() -> None:
    """Child process: build the subject that the first argument names and serve."""
    # Libraries print; the answers must not be mixed with that.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    wanted = json.loads(sys.argv[1])
    pin(wanted["threads"])
    factory = wanted.pop("factory")
    from bench.peers.subject import Case

    serve(load(factory)(Case(**wanted)), sys.stdin, answers)


if __name__ == "__main__":
    main()
