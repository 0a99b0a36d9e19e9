"""What was learned about columns: applied to new rows, undone for outputs, kept as JSON and read back with care."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import mean_squared_error, r2_score

from fastbp.tables.columns import CELLS
from fastbp.tables.errors import InputError
from fastbp.tables.preprocessor import Categorical, Numeric, Preprocessor
from fastbp.tables.table import Table


def cells(*texts):
    """A column of a CSV file."""
    return np.array(texts, CELLS)


SCALED = Preprocessor(
    "regression", (Numeric("a", 1.0, 2.0), Categorical("c", ("u", "v"))), ("y",), (), (10.0,), (5.0,)
)


def test_new_rows():
    table = Table("new", {"c": cells("v", "w"), "extra": cells("", ""), "a": cells("3", "1")})
    notes = []
    x = SCALED.encode(table, "float32", notes.append)
    assert x.tolist() == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert notes == ['new: row 2, column "c": "w" was not among the training rows']
    with pytest.raises(InputError, match='new: no column "a"'):
        SCALED.encode(Table("new", {"c": cells("v")}), "float32")
    with pytest.raises(InputError, match='row 1, column "a": too large for float32'):
        SCALED.encode(Table("new", {"c": cells("v"), "a": cells("1e39")}), "float32")


def test_columns_by_position():
    numbers = replace(SCALED, features=(Numeric("a", 0.0, 1.0), Numeric("b", 0.0, 1.0)))
    table = Table(
        "new.npz", {"x0": np.ones(3), "x1": np.zeros(3), "y": np.ones(3)}, target=("y",), positional=True
    )
    assert numbers.encode(table, "float64").tolist() == [[1.0, 0.0]] * 3
    with pytest.raises(InputError, match="X has 2 columns, but the model takes 3"):
        replace(numbers, features=numbers.features + (Numeric("c", 0.0, 1.0),)).encode(table, "float64")


def test_probabilities():
    classes = Preprocessor("classification", (Numeric("a", 0.0, 1.0),), ("y",), ("u", "v"))
    p = classes.decode(np.array([[0.0, 0.0], [1000.0, -1000.0]], dtype=np.float32))
    assert p.tolist() == [[0.5, 0.5], [1.0, 0.0]]
    with pytest.raises(InputError, match='row 1, column "y": "w" is none of the classes: u, v'):
        classes.encode_target(Table("t", {"y": cells("w")}), "float32")


def test_scores_of_two_targets_are_those_of_scikit_learn(rng):
    two = replace(SCALED, target=("y", "z"), target_mean=(10.0, -1.0), target_scale=(5.0, 2.0))
    outputs, y = rng.normal(size=(2, 20, 2))
    truth, found = two.decode(y), two.decode(outputs)
    assert two.score(outputs, y) == pytest.approx(
        {"r2": r2_score(truth, found), "rmse": np.sqrt(mean_squared_error(truth, found))}
    )
    y[:, 1] = 3.0
    assert two.score(outputs, y)["r2"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"task": "clustering"},
        {"task": ["regression"]},
        {"task": "classification"},
        {"features": []},
        {"features": 3},
        {"features": [{"name": "a"}]},
        {"features": [{"name": "a", "mean": "x", "scale": 1}]},
        {"features": [{"name": "a", "mean": 1e999, "scale": 1}]},
        {"features": [{"name": "a", "mean": None, "scale": 1}]},
        {"target": []},
        {"target": ["y", "z"]},
        {"target_mean": None},
        {"target": "y"},
        {"positional": 1},
        {"more": 1},
        {"features": [{"name": "a", "mean": 0, "scale": 0}]},
        {"features": [{"name": "a", "categories": "abc"}]},
        {"features": [{"name": "a\n" * 10_000, "mean": 0}]},
        {"t" * 10_000: 1},
    ],
)
def test_a_damaged_record_is_refused(change):
    fields = {**json.loads(SCALED.to_json()), **change}
    with pytest.raises(InputError, match="damaged") as caught:
        Preprocessor.from_json(json.dumps(fields))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("record", ["", "{", "[]", "3", "null", "{}", "[" * 100_000])
def test_a_record_that_is_none_is_refused(record):
    with pytest.raises(InputError, match="damaged"):
        Preprocessor.from_json(record)
