"""Scaling, categories, classes and splits: learned on the training rows, kept with the model."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fastbp.tables import read as data
from fastbp.tables.preprocessing import Categorical, Numeric, Preprocessor, prepare
from fastbp.tables.table import InputError, Table


def table_of(n=40, **columns):
    """A table of arrays, named t."""
    return Table("t", {name: np.asarray(values)[:n] for name, values in columns.items()})


def text(values):
    return np.array(values, dtype=object)


@pytest.fixture
def mixed(rng):
    return table_of(
        a=rng.normal(5, 3, 40),
        color=text(["red", "green", "blue", "red"] * 10),
        flag=rng.random(40) < 0.5,
        y=rng.normal(100, 20, 40),
    )


def test_scaling_knows_the_training_rows_only(mixed):
    prepared = prepare(mixed, dtype="float64")
    a, color, flag = prepared.preprocessor.features
    assert (a.name, color.name, flag.name) == ("a", "color", "flag")
    train = mixed.columns["a"][prepared.train]
    assert a.mean == pytest.approx(train.mean())
    assert a.scale == pytest.approx(train.std())
    assert color.categories == ("blue", "green", "red")
    assert prepared.x.shape == (40, 5)
    assert prepared.x[:, 0] == pytest.approx((mixed.columns["a"] - a.mean) / a.scale)
    assert np.array_equal(prepared.x[:, 3] == 1, mixed.columns["color"] == "red")
    assert prepared.y[prepared.train].mean() == pytest.approx(0)
    decoded = prepared.preprocessor.decode(prepared.y)
    assert decoded[:, 0] == pytest.approx(mixed.columns["y"])


@pytest.mark.parametrize("name", data.BUNDLED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bundled_datasets(name, dtype):
    prepared = prepare(data.read(name), dtype=dtype)
    rows = np.concatenate([prepared.train, prepared.validation, prepared.test])
    assert sorted(rows) == list(range(len(prepared.x)))
    assert len(prepared.test) == -(-len(rows) // 5)
    assert prepared.x.dtype == dtype and prepared.x.flags.c_contiguous
    assert prepared.x[prepared.train].mean() == pytest.approx(0, abs=1e-5)
    if prepared.preprocessor.task == "classification":
        assert prepared.y.dtype == np.int64
        shares = [np.bincount(prepared.y[part]) / len(part) for part in (prepared.train, prepared.test)]
        assert np.abs(shares[0] - shares[1]).max() < 0.03
    assert Preprocessor.from_json(prepared.preprocessor.to_json()) == prepared.preprocessor
    again = prepared.preprocessor.encode(data.read(name), dtype)
    assert np.array_equal(again, prepared.x)
    assert np.array_equal(prepared.preprocessor.encode_target(data.read(name), dtype), prepared.y)


def test_split_is_a_function_of_the_seed(mixed):
    first, same, other = (prepare(mixed, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.train, same.train)
    assert not np.array_equal(first.train, other.train)


@pytest.mark.parametrize("y", [text(["a", "b"] * 5), np.arange(10), text(["a", "b", "c", "d", "e"] * 2)])
def test_smallest_table(y):
    prepared = prepare(table_of(10, x=np.arange(10.0), y=y))
    assert (len(prepared.train), len(prepared.validation), len(prepared.test)) == (7, 1, 2)


def test_no_validation_rows_unless_asked_for(mixed):
    prepared = prepare(mixed, validation_size=0.0, test_size=0.5)
    assert (len(prepared.train), len(prepared.validation), len(prepared.test)) == (20, 0, 20)


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (text(["no", "yes"] * 20), "classification", ("no", "yes")),
        ([0.0, 1.0, 2.0, 10.0] * 10, "classification", ("0", "1", "2", "10")),
        ([-1, 1] * 20, "classification", ("-1", "1")),
        ([True, False] * 20, "classification", ("False", "True")),
        (np.arange(40), "regression", ()),
        (np.arange(40) % 21, "regression", ()),
        ([0.5, 1.0] * 20, "regression", ()),
    ],
)
def test_task_and_classes(y, task, classes):
    prepared = prepare(table_of(x=np.arange(40.0), y=y))
    assert (prepared.preprocessor.task, prepared.preprocessor.classes) == (task, classes)


def test_the_user_may_say_otherwise():
    table = table_of(zip=[11, 12, 13, 14] * 10, x=np.arange(40.0), y=[1, 2] * 20)
    prepared = prepare(table, task="regression", text=["zip"], drop=["x"])
    assert prepared.preprocessor.features == (Categorical("zip", ("11", "12", "13", "14")),)
    assert prepared.preprocessor.task == "regression"
    assert prepare(table, text=["y"]).preprocessor.classes == ("1", "2")
    with pytest.raises(InputError, match="not classes to learn"):
        prepare(table, target=["x"], task="classification")
    with pytest.raises(InputError, match="regression needs numbers"):
        prepare(table, text=["y"], task="regression")


def test_targets(mixed):
    assert prepare(mixed).preprocessor.target == ("y",)
    assert prepare(mixed, target=["color"]).preprocessor.classes == ("blue", "green", "red")
    both = prepare(mixed, target=["y", "a"]).preprocessor
    assert (both.target, both.n_outputs, [f.name for f in both.features]) == (
        ("y", "a"),
        2,
        ["color", "flag"],
    )
    named = replace(mixed, columns={"target": mixed.columns["a"], **mixed.columns})
    assert prepare(named).preprocessor.target == ("target",)
    with pytest.raises(InputError, match="several targets"):
        prepare(mixed, target=["y", "color"])
    with pytest.raises(InputError, match='no array "y"'):
        prepare(replace(mixed, positional=True))


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"x": np.arange(40), "y": np.zeros(40)}, {}, r'column "y": one class only \("0" in all 40 rows\)'),
        ({"x": np.arange(40), "y": text(["a"] * 40)}, {}, "one class only"),
        ({"x": np.arange(40), "y": text([f"{i}" for i in range(40)])}, {}, "40 different values in 40 rows"),
        ({"x": np.arange(40), "y": np.full(40, 0.5)}, {}, "0.5 in every row"),
        ({"x": np.arange(9), "y": np.arange(9)}, {}, "at least 10 rows are needed, there are 9"),
        ({"x": np.arange(40), "y": np.arange(40)}, {"test_size": 0.99}, "0 rows would be left"),
        ({"y": np.arange(40)}, {}, "no column is left"),
        ({"x": np.arange(40), "y": np.arange(40)}, {"drop": ["x"]}, "no column is left"),
        ({"x": np.arange(40), "y": np.arange(40)}, {"target": ["price"]}, 'no column "price"'),
        ({"x": np.arange(40), "y": np.arange(40)}, {"drop": ["price"]}, 'no column "price"'),
        ({"x": np.full(40, 1e308), "y": np.arange(40)}, {}, "too large"),
        ({"x": [*np.zeros(39), np.inf], "y": np.arange(40)}, {}, 'row 40, column "x"'),
    ],
)
def test_faults(columns, options, message):
    with pytest.raises(InputError, match=message):
        prepare(table_of(**columns), **options)


def test_too_many_categories():
    names = text([f"name {i}" for i in range(1500)])
    with pytest.raises(InputError, match="leave it out: --drop"):
        prepare(table_of(1500, name=names, y=np.arange(1500)))


def test_columns_that_cannot_be_used_can_be_dropped():
    table = replace(table_of(x=np.arange(40), y=np.arange(40)), unsupported={"when": "timestamp"})
    with pytest.raises(InputError, match='column "when": holds timestamp'):
        prepare(table, target=["y"])
    assert prepare(table, target=["y"], drop=["when"]).x.shape == (40, 1)


def test_rare_classes_do_not_stop_the_split():
    prepared = prepare(table_of(x=np.arange(40.0), y=text(["a"] * 20 + ["b"] * 19 + ["rare"])))
    assert prepared.preprocessor.classes == ("a", "b", "rare")


def test_constant_columns_are_harmless():
    prepared = prepare(table_of(x=np.arange(40.0), c=np.full(40, 7.0), y=np.arange(40)))
    assert not prepared.x[:, 1].any()


SCALED = Preprocessor(
    "regression", (Numeric("a", 1.0, 2.0), Categorical("c", ("u", "v"))), ("y",), (), (10.0,), (5.0,)
)


def test_new_rows():
    table = Table("new", {"c": ("v", "w"), "extra": ("", ""), "a": ("3", "1")})
    notes = []
    x = SCALED.encode(table, "float32", notes.append)
    assert x.tolist() == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert notes == ['new: row 2, column "c": "w" was not among the training rows']
    with pytest.raises(InputError, match='new: no column "a"'):
        SCALED.encode(Table("new", {"c": ("v",)}), "float32")
    with pytest.raises(InputError, match='row 1, column "a": too large for float32'):
        SCALED.encode(Table("new", {"c": ("v",), "a": ("1e39",)}), "float32")


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
        classes.encode_target(Table("t", {"y": ("w",)}), "float32")


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
    ],
)
def test_a_damaged_record_is_refused(change):
    fields = {**json.loads(SCALED.to_json()), **change}
    with pytest.raises(InputError, match="damaged"):
        Preprocessor.from_json(json.dumps(fields))


@pytest.mark.parametrize("record", ["", "{", "[]", "3", "null", "{}", "[" * 100_000])
def test_a_record_that_is_none_is_refused(record):
    with pytest.raises(InputError, match="damaged"):
        Preprocessor.from_json(record)
