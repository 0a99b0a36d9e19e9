"""`fastbp predict`: its answers, the rows that it takes, and model files that are not its own."""

import csv
import os

import numpy as np
import pytest

import fastbp
from fastbp.formats.safetensors import read_model
from fastbp.tables import raw
from fastbp.tables.preprocessor import RECORD, Preprocessor
from fastbp.tables.read import read
from tests.cli.tables import table


def test_predict_equals_the_model(run, models, tmp_path):
    run("predict", models / "model.safetensors", models / "iris.csv", "--out", "p.csv")
    header, rows = table((tmp_path / "p.csv").read_text())
    assert header == ["prediction", "probability_setosa", "probability_versicolor", "probability_virginica"]
    net = read_model(models / "model.safetensors")
    preprocessor = Preprocessor.from_json(net.metadata[RECORD])
    x = preprocessor.encode(read(str(models / "iris.csv")), net.dtype)
    expected = preprocessor.decode(net.predict(x))
    assert np.array([row[1:] for row in rows], dtype=float) == pytest.approx(expected, abs=1e-6)
    assert [row[0] for row in rows] == [preprocessor.classes[k] for k in expected.argmax(axis=1)]


def test_a_trained_model_in_python_takes_raw_columns(run, models, tmp_path):
    """Loading says once what has to be done to the columns; then Python's answers are those of the command."""
    pd = pytest.importorskip("pandas")
    run("predict", models / "model.safetensors", models / "iris.csv", "--out", "p.csv")
    header, rows = table((tmp_path / "p.csv").read_text())
    expected = np.array([row[1:] for row in rows], dtype=float)
    with pytest.warns(UserWarning) as caught:
        net = fastbp.load(models / "model.safetensors")
    (warning,) = caught
    assert warning.filename == __file__
    text = str(warning.message)
    assert "takes prepared columns, not raw ones: (" in text and "softmax gives the probabilities of " in text
    assert "from fastbp.tables.raw import predict" in text
    frame = pd.read_csv(models / "iris.csv")
    features = [feature.name for feature in raw.preprocessor_of(net).features]
    for given in (str(models / "iris.csv"), frame, frame[features].to_numpy(), frame[features[::-1]]):
        assert raw.predict(net, given) == pytest.approx(expected, abs=1e-6)
    for export in (fastbp.formats.to_c, net.save):
        with pytest.warns(UserWarning, match="the export of this model has no preprocessing in it: made by"):
            export(*([net] if export is fastbp.formats.to_c else [tmp_path / "m.c"]))


def test_raw_columns_of_a_regression_with_categories(call, tmp_path):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    color, size, when = rng.choice(["red", "blue"], 200), rng.normal(50, 9, 200), rng.integers(0, 2, 200) > 0
    price = 1000 + 20 * size + 300 * (color == "red") + 100 * when
    frame = pd.DataFrame({"color": color, "size": size, "new": when, "price": price})
    frame.to_csv(tmp_path / "t.csv", index=False)
    call("train", "t.csv", "--target", "price", "--epochs", 200)
    with pytest.warns(UserWarning, match="color as 2 inputs: 1 for the row's own of blue, red"):
        net = fastbp.load(tmp_path / "model.safetensors")
    answers = raw.predict(net, frame)
    assert np.corrcoef(answers[:, 0], price)[0, 1] > 0.99
    assert np.array_equal(answers, raw.predict(net, str(tmp_path / "t.csv")))
    array = frame.drop(columns="price").to_numpy()
    assert np.array_equal(answers, raw.predict(net, array))
    with pytest.raises(ValueError, match="X has 2 columns, but the model takes 3"):
        raw.predict(net, array[:, :2])
    with pytest.raises(ValueError, match="no record of how columns are prepared"):
        raw.predict(fastbp.Sequential([fastbp.Dense(1)], n_inputs=3), array)


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


def test_a_missing_truth_value(run, fails, tmp_path):
    """Parquet can say that a truth value is missing; a column of them was a column of text then, and no number."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"flag": [True, False] * 20, "a": range(40), "y": ["u", "v"] * 20})
    frame.to_parquet(tmp_path / "t.parquet")
    run("train", "t.parquet", "--epochs", 1, "--hidden", 2)
    frame.astype({"flag": "boolean"}).replace({"flag": {False: None}}).to_parquet(tmp_path / "gaps.parquet")
    fails("predict", "model.safetensors", "gaps.parquet", parts=['row 2, column "flag": missing value'])


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
    net = read_model(models / "model.safetensors")
    other = fastbp.Sequential([fastbp.Dense(3)], n_inputs=5)
    for record in (net.metadata[RECORD], "{}"):
        other.metadata[RECORD] = record
        other.save(tmp_path / "m.safetensors")
        fails("predict", "m.safetensors", models / "iris.csv", parts=["m.safetensors: the record"])
