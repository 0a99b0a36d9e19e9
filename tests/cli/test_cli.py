"""The command line as a user meets it: in a process of its own, in a folder of its own."""

import csv
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp import cli
from fastbp.cli import arguments
from fastbp.cli.report import OPTIMIZERS
from fastbp.tables import read as data
from fastbp.tables.preprocessing import Preprocessor


@pytest.fixture
def run(tmp_path):
    """Run a command in an empty folder; returns the finished process."""

    def start(*arguments, code=0, **options):
        options = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "stdin": subprocess.DEVNULL,
            **options,
        }
        done = subprocess.run(
            [sys.executable, "-m", "fastbp", *map(str, arguments)], text=True, cwd=tmp_path, **options
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in (done.stderr or "")
        return done

    return start


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """The same in this process, which saves loading everything anew; returns standard output."""
    monkeypatch.chdir(tmp_path)

    def start(*arguments):
        assert cli.main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return start


@pytest.fixture
def fails(run, tmp_path):
    """Run a command that must end with exit code 1, one line on stderr with these parts, and nothing written."""

    def check(*arguments, parts):
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        done = run(*arguments, code=1)
        line = done.stderr.removesuffix("\n")
        assert line.startswith("fastbp: error: ") and "\n" not in line
        for part in parts:
            assert part in line
        assert done.stdout == ""
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        return line

    return check


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Files made once: iris as a CSV file with text labels, and a model of it."""
    folder = tmp_path_factory.mktemp("models")
    export("iris", folder / "iris.csv", "species")
    command = [sys.executable, "-m", "fastbp", "train", "iris.csv", "--json", "--target", "species"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "report.json").write_text(done.stdout)
    return folder


def export(name, path, target="target"):
    """Write a dataset of scikit-learn as CSV, with the names of its classes."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    labels = bunch.target_names[bunch.target] if "target_names" in bunch else bunch.target
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*bunch.feature_names, target])
        writer.writerows(
            [*row, label] for row, label in zip(bunch.data.tolist(), labels.tolist(), strict=True)
        )


def table(text):
    """Header and rows of CSV text."""
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


# ----------------------------------------------------------------------------------------------------------- usage


def test_help_and_version(run):
    assert "train" in run("--help").stdout
    assert run("--version").stdout == f"fastbp {fastbp.__version__}\n"
    for command in ("train", "predict", "explain", "info", "warmup"):
        assert f"usage: fastbp {command}" in run(command, "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "fit",
        "--verbose",
        "train --epochs 0",
        "train --epochs many",
        "train --hidden 64,0",
        "train --hidden 64,,64",
        "train --hidden 100000000",
        "train --activation softmax",
        "train --optimizer lbfgs",
        "train --lr -1",
        "train --lr nan",
        "train --batch-size 0",
        "train --seed -1",
        "train --dropout 1",
        "train --test-size 1",
        "train --dtype float16",
        "train --task clustering",
        "train digits iris",
        "train --epo 3",
        "predict",
        "predict model.safetensors",
    ],
)
def test_wrong_usage(run, arguments, tmp_path):
    done = run(*arguments.split(), code=2)
    assert done.stderr.startswith("usage: fastbp") and "error: " in done.stderr
    assert done.stdout == "" and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", ["['--help']", "['train', '--help']", "['train', '--lr', '0']", "['predict']"]
)
def test_help_loads_nothing(arguments):
    """Help and usage errors come before NumPy, Numba and scikit-learn are loaded."""
    code = (
        "import sys\nfrom fastbp.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        "assert not {'numpy', 'numba', 'sklearn'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_console_script():
    from importlib.metadata import entry_points

    (script,) = [entry for entry in entry_points(group="console_scripts") if entry.name == "fastbp"]
    assert script.load() is cli.main


# ----------------------------------------------------------------------------------------------------------- train


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


@pytest.mark.parametrize("name", data.BUNDLED)
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


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns_by_default(call, optimizer):
    report = json.loads(call("train", "digits", "--optimizer", optimizer, "--epochs", 30, "--json"))
    assert report["accuracy"] > (0.9 if optimizer != "rprop" else 0.7)


def test_the_same_seed_gives_the_same_file(call, tmp_path):
    for out, seed in {"a.safetensors": 3, "b.safetensors": 3, "c.safetensors": 4}.items():
        call("train", "iris", "--epochs", 5, "--seed", seed, "--out", out)
    a, b, c = (fastbp.load(tmp_path / f"{name}.safetensors").weights[0] for name in "abc")
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


def test_the_first_compilation_is_announced(run, tmp_path):
    """A cold cache; in a process that does not compile, so that the test is quick."""
    environment = {**os.environ, "FASTBP_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_DISABLE_JIT": "1"}
    done = run("train", "iris", "--epochs", 1, "--hidden", 2, env=environment)
    assert "compiling the kernels for this machine" in done.stderr


# --------------------------------------------------------------------------------------------------------- predict


def test_predict_equals_the_model(run, models, tmp_path):
    run("predict", models / "model.safetensors", models / "iris.csv", "--out", "p.csv")
    header, rows = table((tmp_path / "p.csv").read_text())
    assert header == ["prediction", "probability_setosa", "probability_versicolor", "probability_virginica"]
    net = fastbp.load(models / "model.safetensors")
    preprocessor = Preprocessor.from_json(net.metadata["preprocessing"])
    x = preprocessor.encode(data.read(str(models / "iris.csv")), net.dtype)
    expected = preprocessor.decode(net.predict(x))
    assert np.array([row[1:] for row in rows], dtype=float) == pytest.approx(expected, abs=1e-6)
    assert [row[0] for row in rows] == [preprocessor.classes[k] for k in expected.argmax(axis=1)]


def test_predict_does_not_need_the_target_nor_the_order(run, models, tmp_path):
    header, rows = table((models / "iris.csv").read_text())
    with (tmp_path / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["id", *header[3::-1]], *([f"no {i}", *row[3::-1]] for i, row in enumerate(rows))]
        )
    with_target = run("predict", models / "model.safetensors", models / "iris.csv")
    without = run("predict", models / "model.safetensors", "new.csv")
    assert without.stdout == with_target.stdout
    assert without.stderr == ""


def test_a_closed_pipe_is_quiet(run, models):
    ours, theirs = os.pipe()
    os.close(ours)
    done = run("predict", models / "model.safetensors", models / "iris.csv", code=141, stdout=theirs)
    os.close(theirs)
    assert done.stderr == ""


def test_output_to_a_device(run, models):
    if not os.path.exists("/dev/stdout"):
        pytest.skip("no /dev/stdout on this system")
    done = run("predict", models / "model.safetensors", models / "iris.csv", "--out", "/dev/stdout")
    assert done.stdout.startswith("prediction,")


# ---------------------------------------------------------------------------------------------------------- faults

GOOD = "a,b,y\n" + "".join(f"{i},{i % 3},{'uv'[i % 2]}\n" for i in range(20))

BAD_TABLES = {
    "empty": ("", ["t.csv", "empty"]),
    "header only": ("a,b,y\n", ["t.csv", "no rows"]),
    "ragged": (GOOD + "1,2\n", ["t.csv: row 21 (line 22)", "2 cells", "3 columns"]),
    "nan": (GOOD + "nan,2,u\n", ["t.csv: row 21 (line 22)", 'column "a"', "missing value"]),
    "missing": (GOOD + "1,2,\n", ["t.csv: row 21 (line 22)", 'column "y"', "missing value"]),
    "infinite": (GOOD + "1,inf,u\n", ["t.csv: row 21 (line 22)", 'column "b"', "infinite"]),
    "typo": (GOOD + "1,2o,u\n", ["t.csv: row 21 (line 22)", 'column "b"', '"2o" is not a number']),
    "one class": (GOOD.replace("v", "u"), ["t.csv", 'column "y"', "one class only"]),
    "too few": ("a,y\n1,u\n2,v\n", ["t.csv", "at least 10 rows", "there are 2"]),
    "binary": ("a,b\n\0\0,\0\n", ["t.csv"]),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_bad_tables(fails, tmp_path, kind):
    content, parts = BAD_TABLES[kind]
    (tmp_path / "t.csv").write_text(content)
    fails("train", "t.csv", parts=parts)


def test_missing_things(fails, tmp_path):
    (tmp_path / "t.csv").write_text(GOOD)
    fails("train", "none.csv", parts=["none.csv: no such file"])
    fails("train", "t.csv", "--target", "price", parts=['t.csv: no column "price"', "a, b, y"])
    fails("train", "t.csv", "--drop", "price", parts=['no column "price"'])
    fails("train", "t.csv", "--out", "no/m.safetensors", parts=["no/m.safetensors: there is no folder"])
    fails("train", "t.csv", "--out", ".", parts=["folder"])
    fails("train", "t.csv", "--out", "t.csv", parts=["would overwrite the input"])
    fails("predict", "none.safetensors", "t.csv", parts=["none.safetensors"])


def test_a_picture_of_an_unknown_kind(fails, tmp_path):
    """Where matplotlib is missing, nothing knows the kinds: the missing package is what has to be said first."""
    (tmp_path / "t.csv").write_text(GOOD)
    there = importlib.util.find_spec("matplotlib") is not None
    parts = ["curve.xyz", ".png"] if there else ['--plot needs matplotlib: pip install "fastbp[plot]"']
    fails("train", "t.csv", "--plot", "curve.xyz", parts=parts)


def test_a_foreign_model_is_not_overwritten(fails, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    fails("train", "iris", parts=["model.safetensors", "--out"])


def test_divergence_is_reported(fails):
    fails("train", "diabetes", "--optimizer", "sgd", "--lr", "1e6", "--json", parts=["learning rate"])


def test_bad_rows_for_predict(fails, models, tmp_path):
    model = models / "model.safetensors"
    header = (models / "iris.csv").read_text().splitlines()[0]
    cases = {
        "a,b\n1,2\n": ["p.csv: no column", "sepal length"],
        f"{header}\n1,2,3,x,setosa\n": ["p.csv: row 1 (line 2)", "petal width", '"x" is not a number'],
        f"{header}\n1,2,3,4,\n1,,3,4,\n": ["p.csv: row 2 (line 3)", "sepal width", "missing value"],
        f"{header}\n1,2,3,1e300,\n": ["p.csv: row 1 (line 2)", "too large for float32"],
    }
    for content, parts in cases.items():
        (tmp_path / "p.csv").write_text(content)
        fails("predict", model, "p.csv", "--out", "out.csv", parts=parts)
    np.savez(tmp_path / "p.npz", X=np.ones((2, 3)))
    fails("predict", model, "p.npz", parts=["X has 3 columns, but the model takes 4"])
    fails("predict", model, "p.csv", "--out", "p.csv", parts=["would overwrite the input"])


def test_truncated_models(fails, models, tmp_path):
    content = (models / "model.safetensors").read_bytes()
    for tenth in range(10):
        (tmp_path / "m.safetensors").write_bytes(content[: len(content) * tenth // 10])
        fails("predict", "m.safetensors", models / "iris.csv", parts=["m.safetensors: "])


def test_altered_headers(fails, models, tmp_path):
    content = (models / "model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    altered = {
        "length": (size * 2).to_bytes(8, "little") + content[8:],
        "huge": (2**62).to_bytes(8, "little") + content[8:],
        "not json": content[:8] + b"x" + content[9:],
        "classes": content.replace(b"versicolor", b"versicoloR"),
        "units": content[: 8 + size].replace(b"64", b"32") + content[8 + size :],
        "a weight": content[:-1] + bytes([content[-1] ^ 1]),
    }
    for damaged in altered.values():
        assert damaged != content
        (tmp_path / "m.safetensors").write_bytes(damaged)
        fails("predict", "m.safetensors", models / "iris.csv", parts=["m.safetensors: "])


def test_models_without_a_record(fails, models, tmp_path):
    fastbp.Sequential([fastbp.Dense(3)], n_inputs=4).save(tmp_path / "m.safetensors")
    fails(
        "predict",
        "m.safetensors",
        models / "iris.csv",
        parts=["m.safetensors: ", "Sequential", "fastbp train"],
    )
    net = fastbp.load(models / "model.safetensors")
    other = fastbp.Sequential([fastbp.Dense(3)], n_inputs=5)
    for record in (net.metadata["preprocessing"], "{}"):
        other.metadata["preprocessing"] = record
        other.save(tmp_path / "m.safetensors")
        fails("predict", "m.safetensors", models / "iris.csv", parts=["m.safetensors: the record"])


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


def test_programming_errors_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(arguments, "_run", lambda argv: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.main([])


def test_other_faults_are_one_line(monkeypatch, capsys):
    for error, line in {
        MemoryError(): "not enough memory",
        MemoryError("9 GiB"): "not enough memory (9 GiB)",
        OSError(28, "No space left on device"): "No space left on device",
        PermissionError(13, "Permission denied", "a\nb.csv"): "a b.csv: Permission denied",
    }.items():

        def fail(argv, error=error):
            raise error

        monkeypatch.setattr(arguments, "_run", fail)
        assert cli.main([]) == 1
        assert capsys.readouterr().err == f"fastbp: error: {line}\n"


# ------------------------------------------------------------------------------------------------- info and warmup


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
    environment = {**os.environ, "FASTBP_CACHE_DIR": str(tmp_path / "cache")}
    assert not json.loads(run("info", "--json", env=environment).stdout)["warm"]
    assert str(tmp_path / "cache") in run("warmup", env=environment).stdout
    assert json.loads(run("info", "--json", env=environment).stdout)["warm"]
    assert "compiling" not in run("train", "iris", "--epochs", 2, env=environment).stderr


def test_warmup_without_a_folder(fails, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTBP_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    fails("warmup", parts=["FASTBP_CACHE_DIR"])


def test_module_is_importable_without_running():
    assert "main" in (Path(fastbp.__file__).parent / "__main__.py").read_text()
