"""`fastbp info` and `fastbp warmup`."""

import json
import os
import subprocess
import sys

import pytest

import fastbp


def test_info(run):
    lines = dict(line.split(maxsplit=1) for line in run("info").stdout.splitlines())
    facts = json.loads(run("info", "--json").stdout)
    assert lines.keys() | {"warm", "bytes"} == facts.keys()
    assert lines["fastbp"] == facts["fastbp"] == fastbp.__version__
    assert facts["threads"] >= 1 and "adam" in facts["optimizers"]
    for name in ("cpu", "vector", "blas", "numba", "llvmlite", "cache", "others"):
        assert lines[name]


def test_info_without_a_cache(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("info", env={**os.environ, "FASTBP_CACHE_DIR": str(tmp_path / "file" / "cache")})
    assert "none: every process compiles anew" in done.stdout
    assert done.stderr.startswith("fastbp: warning: ") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_warmup_fills_the_cache(run, tmp_path):
    environment = {**os.environ, "FASTBP_CACHE_DIR": str(tmp_path / "cache"), "FASTBP_QUIET": ""}
    assert not json.loads(run("info", "--json", env=environment).stdout)["warm"]
    assert str(tmp_path / "cache") in run("warmup", env=environment).stdout
    assert json.loads(run("info", "--json", env=environment).stdout)["warm"]
    assert "compiling" not in run("train", "iris", "--epochs", 2, env=environment).stderr


def test_warmup_without_a_folder(fails, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTBP_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    fails("warmup", parts=["FASTBP_CACHE_DIR"])


def test_info_lists_folders(run, tmp_path):
    other = tmp_path / "cache" / ("0" * 20)
    other.mkdir(parents=True)
    (other / "network.run-1.nbc").write_bytes(bytes(2_000_000))
    environment = {**os.environ, "FASTBP_CACHE_DIR": str(tmp_path / "cache")}
    facts = json.loads(run("info", "--json", env=environment).stdout)
    assert facts["others"] == {str(other): 2_000_000}
    assert facts["bytes"] == 0
    assert not facts["warm"]
    line = next(
        line for line in run("info", env=environment).stdout.splitlines() if line.startswith("others")
    )
    assert "1 folders beside it, 2.0 MB" in line and "fastbp warmup --clean" in line


# `fastbp warmup` of one small entry, on a disk on which no file may be larger than so many bytes.
WARMUP = """
import resource, sys
import numpy as np
import fastbp.kernels as kernels
from fastbp.cli import main
from fastbp.kernels import compiled, warm

def one(dtypes, progress):
    _, plan, params, _ = warm._smallest("float32")
    row = np.zeros((1, 1), "float32")
    compiled.predict_row(plan, params, row, row)

kernels.warmup = one
size = {size}
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
sys.exit(main(["warmup", "--clean"]))
"""


@pytest.mark.slow
def test_warmup_sees_that_everything_is_kept(tmp_path):
    """A full disk is an error, and what others left is removed only after all is well."""
    pytest.importorskip("resource")
    other = tmp_path / ("0" * 20)
    other.mkdir()
    environment = {**os.environ, "FASTBP_CACHE_DIR": str(tmp_path), "FASTBP_QUIET": "1"}
    for size, code in ((4096, 1), (10_000_000, 0), (4096, 0)):
        done = subprocess.run(
            [sys.executable, "-c", WARMUP.format(size=size)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
        assert other.exists() == (code == 1)
        if code:
            last = done.stderr.splitlines()[-1]
            assert last.startswith("fastbp: error: 1 of 1 kernels could not be kept in ")
            assert str(tmp_path) in last and "File too large" in last
            assert "kept in" not in done.stdout
        else:
            assert "1 kernels kept in" in done.stdout
            assert "removed what others left" in done.stdout
            other.mkdir()


def test_warmup_without_compilation():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "fastbp", "warmup"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nothing is compiled while NUMBA_DISABLE_JIT is set" in done.stderr.splitlines()[-1]


def test_a_forbidden_compilation_is_an_error_in_one_line(run, tmp_path):
    environment = {**os.environ, "FASTBP_CACHE_DIR": str(tmp_path / "cache"), "FASTBP_COMPILE": "never"}
    done = run("train", "iris", "--epochs", 2, env=environment, code=1)
    assert done.stderr.count("\n") == 1
    assert "would have to be compiled, and FASTBP_COMPILE is never" in done.stderr
    assert not (tmp_path / "model.safetensors").exists()
