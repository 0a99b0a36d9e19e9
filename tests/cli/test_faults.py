"""Tables and files that `fastbp train` refuses, in one line, before anything is written."""

import importlib.util

import pytest

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
    """Without matplotlib nothing knows the kinds: then the error says that the package is missing."""
    (tmp_path / "t.csv").write_text(GOOD)
    there = importlib.util.find_spec("matplotlib") is not None
    parts = ["curve.xyz", ".png"] if there else ['--plot needs matplotlib: pip install "fastbp[plot]"']
    fails("train", "t.csv", "--plot", "curve.xyz", parts=parts)


def test_a_foreign_model_is_not_overwritten(fails, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    fails("train", "iris", parts=["model.safetensors", "--out"])
