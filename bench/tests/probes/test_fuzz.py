"""The random cases find nothing in a sound fastbp, and a fault of each sort that is planted."""

import sys
import threading
import time

import numpy as np
import pytest

import fastbp as fb
from bench.probes.fuzz import __main__ as fuzz
from bench.probes.fuzz import files, processes
from fastbp import arrays
from fastbp.formats import _container
from fastbp.tables.table import Table

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, alarms and limits are POSIX'")


SLOW = {"beginnings"}  # each case starts a process


@pytest.mark.parametrize(
    "sort", [pytest.param(sort, marks=[pytest.mark.slow] if sort in SLOW else []) for sort in fuzz.SORTS]
)
def test_nothing_is_found(sort):
    assert fuzz.run(sort, 3, range(25 if fuzz.SORTS[sort][2] == 1 else 2)) == []


def nan_passes(monkeypatch):
    monkeypatch.setattr(arrays, "refuse_nonfinite", lambda *_: None)


def nobody_compares_the_checksum(monkeypatch):
    files.originals()  # of a sound fastbp
    monkeypatch.setattr(_container, "_checksum", lambda document, arrays: document.get("checksum"))


def columns_are_rounded(monkeypatch):
    plain = Table.numbers
    monkeypatch.setattr(Table, "numbers", lambda table, name: plain(table, name).astype(np.float32))


def answers_share_a_place(monkeypatch):
    plain, place = fb.Sequential.predict, {}

    def predict(net, x, **options):
        place["answer"] = plain(net, x, **options)
        time.sleep(0.002)
        return place["answer"]

    monkeypatch.setattr(fb.Sequential, "predict", predict)


def a_lock_is_held_at_the_fork(monkeypatch):
    plain, lock = fb.Sequential.fit, threading.Lock()

    def fit(net, *data, **options):
        with lock:
            time.sleep(0.03)
            return plain(net, *data, **options)

    monkeypatch.setattr(fb.Sequential, "fit", fit)
    monkeypatch.setattr(processes, "CHILD_SECONDS", 1.0)


def nobody_waits(monkeypatch):
    """A step forgets the one before it, as if both had read the same count."""
    plain = fb.Trainer.step

    def step(trainer, x, y):
        before = trainer.steps if trainer._session else 0
        loss = plain(trainer, x, y)
        if before % 5 == 4:
            trainer.steps = before
        return loss

    monkeypatch.setattr(fb.Trainer, "step", step)


def interrupts_spoil_the_weights(monkeypatch):
    plain = fb.Sequential.fit

    def fit(net, *data, **options):
        try:
            return plain(net, *data, **options)
        except KeyboardInterrupt:
            net.weights[0][0, 0] = np.nan
            raise

    monkeypatch.setattr(fb.Sequential, "fit", fit)


def nobody_waits_at_a_fork(monkeypatch):
    hasty = "import fastbp.forks; fastbp.forks.PATIENCE = 0.0\n"
    monkeypatch.setattr(processes, "BEGINNING", hasty + processes.BEGINNING)
    monkeypatch.setattr(processes, "CHILD_SECONDS", 1.0)


def files_are_written_in_place(monkeypatch):
    monkeypatch.setattr(_container, "atomic_write", lambda path: open(path, "wb"))


@pytest.mark.parametrize(
    ("sort", "plant", "cases"),
    [
        ("arrays", nan_passes, 300),
        ("files", nobody_compares_the_checksum, 40),
        ("tables", columns_are_rounded, 10),
        ("threads", answers_share_a_place, 4),
        ("trainings", nobody_waits, 2),
        ("forks", a_lock_is_held_at_the_fork, 1),
        ("interrupts", interrupts_spoil_the_weights, 4),
        ("disks", files_are_written_in_place, 16),
        pytest.param("beginnings", nobody_waits_at_a_fork, 6, marks=pytest.mark.slow),
    ],
)
def test_a_planted_fault_is_found(sort, plant, cases, monkeypatch):
    plant(monkeypatch)
    found = fuzz.run(sort, 0, range(cases))
    assert found
    assert all(line.startswith(f"{sort}, case ") for line in found)


def test_a_crash_is_a_finding(monkeypatch):
    calls, plain = [], fuzz.subprocess.run

    def run(command, **options):
        calls.append(int(command[-2]))
        crash = "print(5, flush=True); import os; os.kill(os.getpid(), 11)" if len(calls) == 1 else ""
        return plain([sys.executable, "-c", crash], **options)

    monkeypatch.setattr(fuzz.subprocess, "run", run)
    (finding,) = fuzz.conduct("arrays", 0, range(9))
    assert finding.startswith("arrays, case 5: the process ended with -11")
    assert calls == [0, 6]
