"""What makes a comparison unfair: variables that slow a peer, kernels below the processor's; who is refused for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import fair
from bench.peers import worker


def process(architecture="SkylakeX", library="openblas", **variables):
    """The report of a process with one BLAS."""
    kernel = {"owner": "numpy", "library": library, "version": "0.3", "threads": 1}
    return {"variables": variables, "kernels": [kernel | {"architecture": architecture}]}


def test_a_peer_starts_without_what_slows_it(monkeypatch):
    for name in fair.HANDICAPS:
        monkeypatch.setenv(name, "Haswell")
    monkeypatch.setenv("UNRELATED", "kept")
    env = worker.environment(2, "float32")
    assert not set(fair.HANDICAPS) & set(env)
    assert env["UNRELATED"] == "kept"
    assert {env[name] for name in fair.THREADS} == {"2"}
    assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"


@pytest.mark.parametrize(
    ("architecture", "processor"),
    [
        ("SkylakeX", "avx512"),
        ("Cooperlake", "avx512"),
        ("skx", "avx512"),
        ("Haswell", "avx2"),
        ("Zen", "avx2"),
        ("SkylakeX", "avx2"),
        ("neoversen1", None),
    ],
)
def test_the_best_kernels_are_no_reason(architecture, processor):
    assert fair.reasons(process(architecture), processor) == []


@pytest.mark.parametrize(
    ("architecture", "processor"),
    [("Haswell", "avx512"), ("Zen", "avx512"), ("Prescott", "avx2"), ("Sandybridge", "avx2")],
)
def test_weaker_kernels_are_refused(architecture, processor):
    (reason,) = fair.reasons(process(architecture), processor)
    ran = fair.LEVEL_OF[architecture.lower()]
    assert reason == f"numpy's openblas 0.3 {architecture}: {ran} kernels on a processor with {processor}"


@pytest.mark.parametrize("architecture", ["TheNext", None])
def test_kernels_that_nobody_knows_are_refused(architecture):
    (reason,) = fair.reasons(process(architecture), "avx2")
    assert "does not know" in reason


def test_a_library_that_chooses_by_itself_is_not_judged():
    assert fair.reasons(process("AVX2", "mkl"), "avx512") == []


def test_a_variable_is_refused_whatever_ran():
    assert fair.reasons(process(OPENBLAS_L2_SIZE="1"), "avx512") == ["OPENBLAS_L2_SIZE=1 was set"]
    assert fair.reasons(process("neoversen1", OPENBLAS_CORETYPE="x"), None) == ["OPENBLAS_CORETYPE=x was set"]


@pytest.mark.parametrize(
    ("features", "level"),
    [
        ({}, None),
        ({"neon": True}, None),
        ({"sse2": True}, "sse"),
        ({"sse2": True, "avx": True, "avx2": True}, "avx"),
        ({"sse2": True, "avx": True, "avx2": True, "fma": True, "avx512f": True}, "avx2"),
    ],
)
def test_level_of_a_processor(monkeypatch, features, level):
    monkeypatch.setattr(fair, "features", lambda: features)
    assert fair.level() == level


def test_level_with_all_of_avx512(monkeypatch):
    names = ("sse2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl")
    monkeypatch.setattr(fair, "features", lambda: dict.fromkeys(names, True))
    assert fair.level() == "avx512"


def test_no_level_knows_a_name_twice():
    names = " ".join(fair._X86.values()).lower().split()
    assert len(names) == len(set(names)) == len(fair.LEVEL_OF)


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/env/lib/python3.11/site-packages/numpy.libs/libscipy_openblas64_.so", "numpy"),
        ("/env/lib/python3.11/site-packages/scipy/.dylibs/libscipy_openblas.dylib", "scipy"),
        ("/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0", "libopenblas.so.0"),
    ],
)
def test_a_library_is_named_by_who_brings_it(path, owner):
    assert fair._owner(Path(path)) == owner


def in_a_process(code, **variables):
    """What a fresh interpreter prints as JSON."""
    env = fair.without(os.environ) | variables
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=fair.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def openblas_here():
    """Skip where NumPy's products are not OpenBLAS's, or the processor is none that is judged."""
    np.ones((2, 2)) @ np.ones((2, 2))
    if fair.level() in (None, "sse") or not any(k["library"] == "openblas" for k in fair.kernels()):
        pytest.skip("needs OpenBLAS on x86-64 with AVX")


def test_a_process_that_was_slowed_tells():
    """Even if the variable is gone by the time it is asked: what counts is what was loaded."""
    openblas_here()
    code = """
import json, os, numpy
from bench import fair
before = fair.report()
del os.environ["OPENBLAS_CORETYPE"]
print(json.dumps([before, fair.report()]))
"""
    before, after = in_a_process(code, OPENBLAS_CORETYPE="Nehalem")
    assert "OPENBLAS_CORETYPE=Nehalem was set" in fair.reasons(before, fair.level())
    (reason,) = fair.reasons(after, fair.level())
    assert "Nehalem: sse kernels on a processor with avx" in reason


def test_again_runs_in_a_clean_process_only_if_need_be(monkeypatch):
    clean = "import os; assert 'OPENBLAS_CORETYPE' not in os.environ and os.environ['UNRELATED'] == 'kept'"
    arguments = ["-n", "1", "-r", "1", clean]
    monkeypatch.setenv("UNRELATED", "kept")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    names = ("OPENBLAS_CORETYPE",)
    assert fair.again("timeit", arguments, names) is None
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert fair.again("timeit", arguments, names) == 0
    assert fair.again("timeit", ["-n", "1", "-r", "1", "assert False"], names) == 1


def test_the_library_inside_pytorch_is_asked():
    """As often as one likes, though it introduces itself once in a process."""
    pytest.importorskip("torch")
    code = """
import json, torch
from bench import fair
torch.set_num_threads(1)
print(json.dumps([torch.backends.mkl.is_available(), fair.kernels(), fair.kernels()]))
"""
    has_mkl, first, second = in_a_process(code)
    if not has_mkl:
        pytest.skip("this PyTorch has no MKL")
    assert first == second
    found = {kernel["owner"]: kernel for kernel in first}["torch"]
    assert (found["library"], found["threads"]) == ("mkl", 1)
    assert fair.describe(found).startswith(f"torch's mkl {found['version']} ")
    assert found["version"][0].isdigit()
