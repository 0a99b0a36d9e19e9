"""`fastbp info` and `fastbp warmup`."""

import json
import os

import pytest

import fastbp


def test_info(run):
    lines = dict(line.split(maxsplit=1) for line in run("info").stdout.splitlines())
    facts = json.loads(run("info", "--json").stdout)
    assert lines.keys() | {"warm"} == facts.keys()
    assert lines["fastbp"] == facts["fastbp"] == fastbp.__version__
    assert facts["threads"] >= 1 and "adam" in facts["optimizers"]
    for name in ("cpu", "vector", "blas", "numba", "llvmlite", "cache"):
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
