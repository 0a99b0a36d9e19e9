"""The smaller measurements, each tried once: `bench.probes.dropin`, `backends`, `neighbors`, `roofline`, ..."""

import json
import subprocess
import sys

import numpy as np
import pytest
from numba.core import config

from bench import fair, stolen
from bench.fair import ROOT
from bench.probes import backends, dropin, footprint
from bench.report import footprint as report


def run(module, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", f"bench.probes.{module}", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_dropin(tmp_path, monkeypatch, capfd):
    """The variable slows nobody: what is measured runs in a process without it."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "r.json"
    code = fair.again("bench.probes.dropin", ["--quick", "--only", "one-hidden-unit", "--json", str(path)])
    said, complaint = capfd.readouterr()
    assert "was set" not in complaint
    if code == 1 and "would be slowed" in complaint:
        pytest.skip("this OpenBLAS does not know the best of this processor")
    assert code == 0, complaint
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = content["rows"]
    assert [(row["name"], row["threads"]) for row in rows] == [("one-hidden-unit", 1), ("one-hidden-unit", 2)]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["sklearn_seconds"] / row["fastbp_seconds"])
        assert len(row["sklearn_stolen"]) == len(row["fastbp_stolen"]) == 1
    assert said.count("slower than scikit-learn:") == 2
    assert content["machine"]["date"] in said
    for kernel in content["kernels"]:
        assert f"kernels: {fair.describe(kernel)}, threads {kernel['threads']}" in said
        assert kernel["architecture"] != "Nehalem"


def test_dropin_refuses_to_measure_a_slowed_scikit_learn(monkeypatch, capsys):
    monkeypatch.setattr(fair, "reasons", lambda *_: ["the reason"])
    assert dropin.main(["--only", "one-hidden-unit"]) == 1
    said = capsys.readouterr()
    assert said.err == "scikit-learn would be slowed, nothing was measured: the reason\n"
    assert said.out == ""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_dropin_without_a_clean_run_has_no_ratio(monkeypatch):
    monkeypatch.setattr(stolen.Watch, "share", lambda _: 0.5)
    data = np.arange(20.0).reshape(10, 2), np.arange(10.0)
    fit = dropin.Fit(
        "tiny",
        "adam",
        "small",
        lambda classes: classes["regressor"](hidden_layer_sizes=(1,), max_iter=2).fit(*data),
    )
    (row,) = dropin.measure([fit], 1, 1)
    assert row["ratio"] is row["sklearn_seconds"] is None
    assert len(row["sklearn_lost"]) == len(row["fastbp_lost"]) == stolen.TRIES
    assert dropin.table([row]).endswith("no clean run, so no ratio: tiny")
    assert "6 that lost more do not count" in dropin.stolen_sentence([row])


def test_dropin_names_who_is_slower():
    rows = [
        {"name": name, "solver": "adam", "size": "small", "ratio": ratio}
        for name, ratio in (("a", 4.0), ("b", 0.5), ("c", 1.0))
    ]
    head, *families, slower = dropin.table(rows).splitlines()
    assert head.split() == ["family", "fits", "median", "least", "most"]
    assert families[0].split() == ["adam", "small", "3", "1.00x", "0.50x", "4.00x"]
    assert slower == "slower than scikit-learn: b (0.50x)"


@pytest.mark.slow
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="what is measured is not compiled")
def test_neighbors(tmp_path):
    run(
        "neighbors",
        "tabular-small",
        "--repeats",
        "1",
        "--seconds",
        "0.05",
        "--json",
        str(tmp_path / "r.json"),
    )
    (row,) = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    keys = ("idle one", "idle team", "loaded one", "loaded team", "neighbors of one", "neighbors of team")
    assert all(row[key] > 0 for key in keys)


@pytest.mark.slow
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="what is measured is not compiled")
def test_roofline(tmp_path):
    text = run("roofline", "tabular-small", "--json", str(tmp_path / "r.json"))
    (account,) = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert account["sum_us"] == pytest.approx(sum(phase["us"] for phase in account["phases"]))
    products = [phase for phase in account["phases"] if phase["flops"]]
    # Forward and weight gradient of three layers, delta of two.
    assert sum(phase["flops"] for phase in products) == 32 * (
        4 * (20 * 64 + 64 * 64 + 64) + 2 * (64 * 64 + 64)
    )
    assert all(phase["phase"] in text for phase in account["phases"])


@pytest.mark.slow
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="what is measured is not compiled")
def test_sizes(tmp_path):
    text = run("sizes", "--quick", "--json", str(tmp_path / "r.json"))
    content = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [row["chosen"] for row in content["rows"]] == [
        "per_lane",
        "per_lane",
        "per_lane",
        "one_by_one",
    ]
    assert all(row["per_lane"] > 0 and row["one_by_one"] > 0 for row in content["rows"])
    assert "4-8-1" in text and content["peak"] > 1e9


@pytest.mark.slow
def test_backends(tmp_path):
    text = run("backends", "--quick", "--json", str(tmp_path / "r.json"))
    found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    for name in (backends.ALONE, backends.THREADS, backends.STARTED, backends.AGAIN):
        assert found[name]["seconds"] > 0
        assert name in text
    assert found["a worker adds"] > 0  # it imports
    assert f"each process that is started adds {found['a worker adds']:.2f} CPU seconds" in text


def test_backends_without_a_clean_run():
    text = backends.table({backends.ALONE: {"seconds": 1.0, "processor": 2.0}, "jobs": 2})
    assert "n_jobs=1                  1.00          2.00" in text
    assert "threading: no clean run" in text
    assert "add" not in text


def test_footprint(tmp_path, monkeypatch, capsys):
    """Every package that an installation brings, once; an editable fastbp has no size."""
    asked = footprint.distributions("fastbp")
    assert asked["fastbp"] == "" and asked["numba"] == "fastbp" and asked["llvmlite"] == "numba"
    assert {
        "numpy",
        "scipy",
        "scikit-learn",
        "safetensors",
        "tqdm",
        "joblib",
        "threadpoolctl",
    } <= asked.keys()
    assert "pytest" not in asked
    assert 10 < footprint.megabytes("numpy") < 200
    monkeypatch.setattr(footprint, "megabytes", lambda name: 2.0)
    monkeypatch.setattr(footprint, "STATEMENTS", ("import fastbp",))
    path = tmp_path / "footprint.json"
    monkeypatch.setattr(sys, "argv", ["footprint", "--repeats", "1", "--json", str(path)])
    footprint.main()
    found = report.load(path)
    assert capsys.readouterr().out == report.rst(found)
    assert f'"together", "", "", "{2 * len(asked)}"' in report.rst(found)
    assert 0 < found["empty_seconds"] < 10


def test_footprint_refuses_an_editable_installation(monkeypatch):
    class Editable:
        files = ()

        def read_text(self, name):
            return '{"url": "file:///x", "dir_info": {"editable": true}}'

    monkeypatch.setattr(footprint.metadata, "distribution", lambda name: Editable())
    with pytest.raises(ValueError, match="fastbp is installed in editable mode"):
        footprint.megabytes("fastbp")


@pytest.mark.slow
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="what is measured is not compiled")
def test_door():
    """Every call but a whole fit has its kernel beside it, which takes less."""
    head, *lines = run("door", "--rounds", "1").splitlines()
    assert head.split()[-4:] == ["call", "kernel", "ratio", "more"]
    assert len(lines) == 5
    for line in lines[:-1]:
        assert float(line.split()[-2]) > 1.0
