"""Files that the first version wrote: every later one loads them, goes on from them and predicts the same."""

import json
from pathlib import Path

import numpy as np
import pytest

import fastbp as fb
from bench.probes import corpus

FOLDER = Path(__file__).with_name("corpus")
EXPECTED = json.loads((FOLDER / corpus.EXPECTED).read_text(encoding="utf-8"))


def assert_same(told, expected, tolerance):
    """Compare answers by method: numbers within the tolerance, classes exactly."""
    assert told.keys() == expected.keys()
    for name, values in expected.items():
        found, wanted = np.asarray(told[name]), np.asarray(values)
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance / 10, err_msg=name)
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=name)


def test_every_file_is_tried():
    there = {path.stem for path in FOLDER.glob("*.safetensors")}
    checkpoints = {f"checkpoint-{name}" for name in EXPECTED["checkpoints"]}
    assert there == EXPECTED["models"].keys() | checkpoints | {f"table-{name}" for name in EXPECTED["tables"]}
    assert EXPECTED["checkpoints"].keys() == corpus.TRAININGS.keys()


@pytest.mark.parametrize("name", EXPECTED["models"])
def test_models_predict_what_they_did(name):
    expected = EXPECTED["models"][name]
    if expected["course"] == "frame":
        pytest.importorskip("pandas")
    model = fb.load(FOLDER / f"{name}.safetensors")
    assert type(model).__name__ == expected["class"]
    assert_same(corpus.predictions(model, expected["course"]), expected["told"], 1e-4)
    if "later" in expected:
        assert_same(corpus.go_on(model, expected["target"]), expected["later"], 1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_a_number_comes_back_too(dtype):
    net = fb.load(FOLDER / f"layers-{dtype}.safetensors")
    assert net.metadata == {"unit": "µm", "note": "of the first version"}
    dropout, dense, *_ = net.layers
    assert (dropout, dense) == (fb.Dropout(0.1), fb.Dense(5, "relu", use_bias=False, l1=1e-4, l2=1e-3))
    assert net.layers[3].initializer == "normal(0.3)"
    assert net.dtype == dtype


@pytest.mark.parametrize("name", EXPECTED["checkpoints"])
def test_checkpoints_are_gone_on_from(name):
    assert_same(
        corpus.resumed(name, FOLDER / f"checkpoint-{name}.safetensors"), EXPECTED["checkpoints"][name], 1e-3
    )


@pytest.mark.parametrize("name", EXPECTED["tables"])
def test_models_of_the_command_line(name):
    told = corpus.command(FOLDER, "predict", f"table-{name}.safetensors", "table.csv").splitlines()
    assert len(told) == 61  # the header and 60 rows
    for line, expected in zip(told, EXPECTED["tables"][name], strict=False):
        for cell, wanted in zip(line.split(","), expected.split(","), strict=True):
            try:
                number = float(wanted)
            except ValueError:
                assert cell == wanted
            else:
                assert float(cell) == pytest.approx(number, rel=1e-4, abs=1e-5)
