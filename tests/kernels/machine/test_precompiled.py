"""What a wheel brings is used only if it fits and computes right; else everything is compiled as ever.

The folder is an empty one here. The wheel itself is built and used in bench/tests/probes/test_precompiled.py.
"""

import json

import numpy as np
import pytest

from fastbp.engine import example
from fastbp.kernels import network
from fastbp.kernels import plan as p
from fastbp.kernels.machine import cache, disk, key, levels, precompiled
from tests.kernels.machine.programs import compiles


@pytest.fixture
def brought(fresh_choice, tmp_path):
    """An empty folder for this processor's level, as if a wheel had brought it."""
    fresh_choice.setenv("FASTBP_CACHE_DIR", str(tmp_path / "cache"))
    level, reason = levels.choose()
    if level is None:
        pytest.skip(reason)
    folder = tmp_path / "precompiled"
    name = key.fingerprint(level.processor, level.vector_bytes)
    (folder / name).mkdir(parents=True)
    (folder / precompiled.MADE).write_text(json.dumps(key.facts()))
    fresh_choice.setattr(precompiled, "FOLDER", folder)
    fresh_choice.setattr(precompiled, "_ignored", "")
    return folder / name


def test_a_level_that_fits_is_used(brought):
    assert precompiled.state() == (brought, levels.choose()[1])


def reason():
    folder, told = precompiled.state()
    assert folder is None
    return told


def test_reasons_are_told(brought, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(precompiled, "FOLDER", brought / "none")
        assert "this installation brings none" in reason()
    with monkeypatch.context() as patch:
        patch.setattr(precompiled, "_example", None)
        assert reason() == "nothing checks them"
    with monkeypatch.context() as patch:
        patch.setattr(levels, "choose", lambda: (None, "no level"))
        assert reason() == "no level"
    with monkeypatch.context() as patch:
        patch.setattr(key.numba, "__version__", "0.1")
        assert reason().endswith("here is 0.1") and "made with numba 0." in reason()
    with monkeypatch.context() as patch:
        patch.setattr(key, "kernels", lambda: "other")
        assert reason() == "they were made from other kernels"
    with monkeypatch.context() as patch:
        patch.setattr(key.config, "OPT", 1)
        assert reason() == "other settings are in force: OPT"
    (brought.parent / precompiled.MADE).write_text("not JSON")
    assert precompiled.state()[0] == brought
    brought.rmdir()
    assert "cannot be read" in reason()
    (brought.parent / precompiled.MADE).write_text(json.dumps(key.facts()))
    assert reason() == f"there are none for {levels.choose()[1]}"


def test_no_folder_is_needed_beside_what_a_wheel_brought(brought, fresh_choice, tmp_path):
    """A read-only image: nothing is compiled, so nothing has to be kept, and nothing is said."""
    (tmp_path / "file").write_text("")
    fresh_choice.setenv("FASTBP_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert precompiled.state()[0] == brought


def test_what_is_compiled_for_the_processor_itself_wins(brought):
    """After `fastbp warmup`."""
    cache.mark_complete()
    assert "`fastbp warmup` compiled for this processor" in reason()


@compiles
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_worked_example_finds_wrong_numbers(dtype):
    assert example.fault(dtype, network.run) is None

    def scaled(which):
        def run(*arguments):
            done = network.run(*arguments)
            if which == "loss":
                job = arguments[0]
                end = p.PLAN + p.HEADER + 2 * p.RECORD
                job[end:].view(np.float64)[p.LOSS_SUM] *= 1.001
            else:
                arguments[2][...] *= 1.001
            return done

        return run

    assert "the loss of the 3-2-1 example is " in example.fault(dtype, scaled("loss"))
    assert "the gradient of layer 0" in example.fault(dtype, scaled("gradient"))


@compiles
def test_nothing_is_used_if_the_example_goes_wrong(brought, monkeypatch):
    monkeypatch.setattr(disk, "_VERDICTS", {})
    monkeypatch.setattr(disk, "_REBUILT", {})
    assert not disk._is_right(brought, "float64", None)
    assert "the worked example went wrong: network.run is damaged" in reason()
    monkeypatch.setattr(precompiled, "_ignored", "")
    (brought / f"network.run-float64-0{cache.SUFFIX}").write_bytes(b"")
    monkeypatch.setattr(disk, "_VERDICTS", {})
    monkeypatch.setattr(disk, "_rebuilt", lambda *_: type("Made", (), {"entry_point": None}))
    monkeypatch.setattr(precompiled, "_example", lambda dtype, run: f"the loss is 2 ({dtype})")
    assert not disk._is_right(brought, "float64", None)
    assert "the worked example went wrong: the loss is 2 (float64)" in reason()
