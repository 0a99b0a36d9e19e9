"""`fastbp train`: data sets, options, what is said and what is saved."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from fastbp.formats.safetensors import read_model
from fastbp.reference import RULES
from fastbp.tables.read import BUNDLED
from tests.cli.tables import export, table


def test_train_without_arguments(run, tmp_path):
    done = run("train")
    lines = done.stdout.splitlines()
    accuracy = float(next(line for line in lines if line.startswith("held-out accuracy")).split()[2])
    assert accuracy >= 96
    assert "samples/s" in done.stdout and lines[-1] == "saved model.safetensors"
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert "\r" not in done.stderr and "%|" not in done.stderr  # no progress bar in a pipe
    done = run("predict", "model.safetensors", "digits")
    header, rows = table(done.stdout)
    assert header == ["prediction", *(f"probability_{digit}" for digit in range(10))]
    assert len(rows) == 1797
    from sklearn.datasets import load_digits

    assert (
        np.mean([int(row[0]) == digit for row, digit in zip(rows, load_digits().target, strict=True)]) > 0.96
    )
    assert "digits holds the target: accuracy" in done.stderr


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_datasets(call, name):
    report = json.loads(call("train", name, "--json"))
    if name == "diabetes":
        assert report["r2"] > 0.25 and 40 < report["rmse"] < 65
    else:
        assert report["accuracy"] > 0.9
    assert report["rows"]["test"] > 25 and report["samples_per_second"] > 0
    call("predict", "model.safetensors", name, "--out", "p.csv")


@pytest.mark.parametrize("hidden", ["60000,60000,60000", "65536," * 9 + "65536"])
def test_networks_beyond_the_memory(run, hidden, tmp_path):
    """Refused before anything is allocated: the machine would stand still, or the process be killed."""
    done = run("train", "iris", "--hidden", hidden, code=1)
    assert done.stderr.startswith(f"fastbp: error: --hidden {hidden}: to train ")
    assert "GB of memory, and this machine has" in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == "" and not list(tmp_path.iterdir())


def test_json_is_one_object(models):
    report = json.loads((models / "report.json").read_text())
    assert report["classes"] == ["setosa", "versicolor", "virginica"]
    assert report["target"] == ["species"] and report["task"] == "classification"
    assert report["accuracy"] > 0.85 and report["model"] == "model.safetensors"


@pytest.mark.parametrize(
    "options",
    [
        "--hidden none --optimizer sgd --lr 0.5",
        "--hidden 16 --activation tanh --optimizer rmsprop --dtype float64 --batch-size 8",
        "--hidden 8,8,8 --optimizer rprop --batch-size all --dropout 0.1 --threads 1 --seed 7",
        "--optimizer nadam --patience 3 --test-size 0.4 --epochs 30",
    ],
)
def test_options(call, options, models):
    report = json.loads(call("train", models / "iris.csv", "--epochs", 20, "--json", *options.split()))
    assert report["accuracy"] > 0.5
    if "--patience" not in options:
        assert report["epochs"] == 20 and report["rows"]["validation"] == 0


@pytest.mark.parametrize("optimizer", RULES)
def test_every_optimizer_learns_by_default(call, optimizer):
    report = json.loads(call("train", "digits", "--optimizer", optimizer, "--epochs", 30, "--json"))
    assert report["accuracy"] > (0.9 if optimizer != "rprop" else 0.7)


def test_the_same_seed_gives_the_same_file(call, tmp_path):
    for out, seed in {"a.safetensors": 3, "b.safetensors": 3, "c.safetensors": 4}.items():
        call("train", "iris", "--epochs", 5, "--seed", seed, "--out", out)
    a, b, c = (read_model(tmp_path / f"{name}.safetensors").weights[0] for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_regression_in_the_units_of_the_target(call, tmp_path):
    export("diabetes", tmp_path / "diabetes.csv", "progression")
    report = json.loads(call("train", "diabetes.csv", "--target", "progression", "--json"))
    assert report["r2"] > 0.25
    call("predict", "model.safetensors", "diabetes.csv", "--out", "predictions.csv")
    header, rows = table((tmp_path / "predictions.csv").read_text())
    assert header == ["prediction"] and len(rows) == 442
    values = np.array(rows, dtype=float)[:, 0]
    assert 100 < values.mean() < 200 and values.std() > 20


def test_several_targets_and_text_features(run, tmp_path, rng):
    x = rng.normal(size=60)
    color = rng.choice(["red", "blue"], 60)
    rows = [f"{a},{c},{2 * a + (c == 'red')},{100 - a}" for a, c in zip(x, color, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["x,color,y,z", *rows]))
    report = json.loads(run("train", "t.csv", "--target", "y", "--target", "z", "--json").stdout)
    assert report["inputs"] == 3 and report["r2"] > 0.9
    (tmp_path / "new.csv").write_text("color,x\nred,1\ngreen,0\n")
    done = run("predict", "model.safetensors", "new.csv")
    header, rows = table(done.stdout)
    assert header == ["prediction_y", "prediction_z"]
    assert np.array(rows[0], dtype=float) == pytest.approx([3, 99], abs=0.7)
    assert 'row 2 (line 3), column "color": "green" was not among the training rows' in done.stderr


def test_npz(call, tmp_path, rng):
    x = rng.normal(size=(80, 3)).astype(np.float32)
    np.savez(tmp_path / "t.npz", X=x, y=(x[:, 0] > 0).astype(np.int64))
    assert json.loads(call("train", "t.npz", "--json"))["classes"] == ["0", "1"]
    np.savez(tmp_path / "new.npz", x=x[:5])
    assert len(table(call("predict", "model.safetensors", "new.npz"))[1]) == 5


def test_parquet(call, tmp_path, rng):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    x = rng.normal(size=(80, 3)).astype(np.float32)
    frame = pandas.DataFrame({"a": x[:, 0], "b": x[:, 1], "t": np.where(x[:, 0] > 0, "yes", "no")})
    frame.to_parquet(tmp_path / "t.parquet")
    assert json.loads(call("train", "t.parquet", "--json"))["classes"] == ["no", "yes"]
    call("predict", "model.safetensors", "t.parquet")


def test_plot(call, tmp_path):
    pytest.importorskip("matplotlib")
    call("train", "iris", "--epochs", 5, "--plot", "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_progress_bar_on_a_terminal(run, tmp_path):
    pty = pytest.importorskip("pty")
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    done = run("train", "digits", "--epochs", 40, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 1 << 16):
            shown += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert b"samples/s" in shown and b"loss=" in shown
    assert "saved model.safetensors" in done.stdout


def test_divergence_is_reported(fails):
    fails("train", "diabetes", "--optimizer", "sgd", "--lr", "1e6", "--json", parts=["learning rate"])


@pytest.mark.skipif(os.name == "nt", reason="signals work differently on Windows")
def test_interrupt(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "fastbp", "train", "digits", "--epochs", "10000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    for line in process.stdout:
        if line.startswith("network"):
            break
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "fastbp: interrupted, nothing was written"
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.iterdir())
