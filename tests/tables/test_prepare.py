"""Choice of target and task, split, scaling, categories: learned on the training rows, every row encoded once."""

from dataclasses import replace

import numpy as np
import pytest

from fastbp.tables.columns import Text
from fastbp.tables.errors import InputError
from fastbp.tables.prepare import prepare
from fastbp.tables.preprocessor import Categorical, Preprocessor
from fastbp.tables.read import BUNDLED, read
from fastbp.tables.table import Table


def table_of(n=40, **columns):
    """A table named t of arrays and text."""
    return Table(
        "t", {name: (v if isinstance(v, Text) else np.asarray(v))[:n] for name, v in columns.items()}
    )


@pytest.fixture
def mixed(rng):
    return table_of(
        a=rng.normal(5, 3, 40),
        color=Text.of(["red", "green", "blue", "red"] * 10),
        flag=rng.random(40) < 0.5,
        y=rng.normal(100, 20, 40),
    )


def test_scaling_knows_the_training_rows_only(mixed):
    prepared = prepare(mixed, dtype="float64")
    a, color, flag = prepared.preprocessor.features
    assert (a.name, color.name, flag.name) == ("a", "color", "flag")
    columns = {name: column[prepared.rows] for name, column in mixed.columns.items()}
    train = columns["a"][prepared.train]
    assert a.mean == pytest.approx(train.mean())
    assert a.scale == pytest.approx(train.std())
    assert color.categories == ("blue", "green", "red")
    assert prepared.x.shape == (40, 5)
    assert prepared.x[:, 0] == pytest.approx((columns["a"] - a.mean) / a.scale)
    assert [row == 1 for row in prepared.x[:, 3]] == [color == "red" for color in columns["color"].tolist()]
    assert prepared.y[prepared.train].mean() == pytest.approx(0)
    decoded = prepared.preprocessor.decode(prepared.y)
    assert decoded[:, 0] == pytest.approx(columns["y"])


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bundled_datasets(name, dtype):
    prepared = prepare(read(name), dtype=dtype)
    assert sorted(prepared.rows) == list(range(len(prepared.x)))
    assert sum(prepared.n_rows.values()) == len(prepared.x)
    assert prepared.n_rows["test"] == -(-len(prepared.x) // 5)
    assert prepared.x.dtype == dtype and prepared.x.flags.c_contiguous
    assert prepared.x[prepared.train].mean() == pytest.approx(0, abs=1e-5)
    if prepared.preprocessor.task == "classification":
        assert prepared.y.dtype == np.int64
        parts = [prepared.y[part] for part in (prepared.train, prepared.test)]
        shares = [np.bincount(part) / len(part) for part in parts]
        assert np.abs(shares[0] - shares[1]).max() < 0.03
    assert Preprocessor.from_json(prepared.preprocessor.to_json()) == prepared.preprocessor
    again = prepared.preprocessor.encode(read(name), dtype)
    assert np.array_equal(again[prepared.rows], prepared.x)
    targets = prepared.preprocessor.encode_target(read(name), dtype)
    assert np.array_equal(targets[prepared.rows], prepared.y)


def test_each_column_is_read_once(mixed, monkeypatch):
    read_values, asked = Table._values, []

    def counted(table, name):
        asked.append(name)
        return read_values(table, name)

    monkeypatch.setattr(Table, "_values", counted)
    prepare(mixed)
    prepare(mixed, target=["color"])
    assert asked == ["a", "color", "flag", "y", "a", "flag", "y", "color"]


def test_split_is_a_function_of_the_seed(mixed):
    first, same, other = (prepare(mixed, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.rows, same.rows)
    assert not np.array_equal(first.rows, other.rows)


@pytest.mark.parametrize(
    "y", [Text.of(["a", "b"] * 5), np.arange(10), Text.of(["a", "b", "c", "d", "e"] * 2)]
)
def test_smallest_table(y):
    prepared = prepare(table_of(10, x=np.arange(10.0), y=y))
    assert prepared.n_rows == {"train": 7, "validation": 1, "test": 2}


def test_no_validation_rows_unless_asked_for(mixed):
    prepared = prepare(mixed, validation_size=0.0, test_size=0.5)
    assert prepared.n_rows == {"train": 20, "validation": 0, "test": 20}


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (Text.of(["no", "yes"] * 20), "classification", ("no", "yes")),
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
        ({"x": np.arange(40), "y": Text.of(["a"] * 40)}, {}, "one class only"),
        (
            {"x": np.arange(40), "y": Text.of([f"{i}" for i in range(40)])},
            {},
            "40 different values in 40 rows",
        ),
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
    names = Text.of([f"name {i}" for i in range(1500)])
    with pytest.raises(InputError, match="leave it out: --drop"):
        prepare(table_of(1500, name=names, y=np.arange(1500)))


def test_columns_that_cannot_be_used_can_be_dropped():
    table = replace(table_of(x=np.arange(40), y=np.arange(40)), unsupported={"when": "timestamp"})
    with pytest.raises(InputError, match='column "when": holds timestamp'):
        prepare(table, target=["y"])
    assert prepare(table, target=["y"], drop=["when"]).x.shape == (40, 1)


def test_rare_classes_do_not_stop_the_split():
    prepared = prepare(table_of(x=np.arange(40.0), y=Text.of(["a"] * 20 + ["b"] * 19 + ["rare"])))
    assert prepared.preprocessor.classes == ("a", "b", "rare")


def test_constant_columns_are_harmless():
    prepared = prepare(table_of(x=np.arange(40.0), c=np.full(40, 7.0), y=np.arange(40)))
    assert not prepared.x[:, 1].any()
