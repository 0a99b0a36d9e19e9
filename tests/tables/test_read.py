"""Readers: what a file may look like, and the one line that says what is wrong with it."""

import csv
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.tables.columns import CELLS, MISSING, Text, number
from fastbp.tables.errors import InputError, listed, quoted
from fastbp.tables.read import BLOCK, BUNDLED, read
from fastbp.tables.table import Table


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(path)


@pytest.fixture
def csv_file(tmp_path):
    return lambda content: write(tmp_path / "t.csv", content)


def fails(source, *parts):
    """The message of the InputError: one line that contains every part."""
    with pytest.raises(InputError) as caught:
        table = read(source)
        for name in table.columns:
            table.column(name)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


# ------------------------------------------------------------------------------------------------- good CSV files


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2.5,y\n",
        "a,b\r\n1,x\r\n2.5,y\r\n",
        "a,b\r1,x\r2.5,y\r",
        "a,b\n1,x\n2.5,y",
        "a;b\n1;x\n2.5;y\n",
        "a;b\n1;x\n2,5;y\n",
        "a\tb\n1\tx\n2.5\ty\n",
        "a|b\n1|x\n2.5|y\n",
        "\ufeffa,b\n1,x\n2.5,y\n",
        '"a","b"\n"1","x"\n"2.5","y"\n',
        "a, b\n 1 , x\n2.5,y \n",
        "\n\na,b\n\n1,x\n\n2.5,y\n\n",
        ",a,b\n0,1,x\n1,2.5,y\n",
        ",a,b\n1,1,x\n2,2.5,y\n",
    ],
)
def test_spellings_of_one_table(csv_file, content):
    table = read(csv_file(content))
    assert list(table.columns) == ["a", "b"]
    assert table.n_rows == 2
    assert table.column("a").tolist() == [1.0, 2.5]
    assert table.column("b").tolist() == ["x", "y"]


def test_row_count_column_is_noted(csv_file):
    assert "left out" in read(csv_file(",a\n0,5\n1,6\n")).notes[0]
    assert read(csv_file("a,b\n0,5\n1,6\n")).notes == ()


def test_quoted_delimiters_quotes_and_newlines(csv_file):
    table = read(csv_file('name,n\n"Doe, ""J""\nJr",1\nRoe,2\n'))
    assert table.column("name").tolist() == ['Doe, "J"\nJr', "Roe"]
    assert list(table.lines) == [3, 4]


def test_header_of_unicode_names(csv_file):
    assert list(read(csv_file("größe,価格\n1,2\n")).columns) == ["größe", "価格"]


def test_kinds_of_columns(csv_file):
    table = read(csv_file("n,t,b,z\n1e3,a1,True,007\n-2,b,False,008\n"))
    assert table.column("n").tolist() == [1000.0, -2.0]
    assert table.column("t").tolist() == ["a1", "b"]
    assert table.column("b").tolist() == ["True", "False"]
    assert table.column("z").tolist() == [7.0, 8.0]
    assert table.text("z").tolist() == ["007", "008"]


def test_a_word_for_missing_is_a_category_among_words(csv_file):
    assert read(csv_file("garage\nNone\nAttached\n?\n")).column("garage").tolist() == [
        "None",
        "Attached",
        "?",
    ]


@given(st.lists(st.sampled_from(["1", "2.5", "-3e2", "1_0", "x", "NA", "?", "", "nan", "Y"]), min_size=1))
def test_a_column_is_what_most_of_its_cells_are(cells):
    n_numbers = n_others = 0
    for cell in cells:
        try:
            number(cell)
            n_numbers += 1
        except ValueError:
            n_others += cell.lower() not in MISSING
    table = Table("t", {"a": np.array(cells, CELLS)})
    try:
        column = table.column("a")
    except InputError as error:
        assert " is not a number" in str(error) or "missing value" in str(error)
    else:
        assert isinstance(column, Text) == (0 < n_others >= n_numbers)
        assert column.tolist() == (cells if isinstance(column, Text) else [float(cell) for cell in cells])


def test_rows_beyond_a_block(csv_file):
    """A file is read in blocks: rows, lines and faults are those of the file."""
    rows = [f"{i},{'uv'[i % 2]} ,{i / 8}" for i in range(2 * BLOCK + 5)]
    table = read(csv_file("\n".join(["a,b,c", *rows])))
    assert table.n_rows == 2 * BLOCK + 5
    assert table.column("a").tolist() == list(range(2 * BLOCK + 5))
    assert table.column("b").tolist() == ["uv"[i % 2] for i in range(2 * BLOCK + 5)]
    assert table.lines[-1] == 2 * BLOCK + 6
    place = f"row {BLOCK + 1} (line {BLOCK + 2})"
    rows[BLOCK] = "x,u,1"
    fails(csv_file("\n".join(["a,b,c", *rows])), place, 'column "a"', '"x" is not a number')
    rows[BLOCK] = "1,u"
    fails(csv_file("\n".join(["a,b,c", *rows])), place, "2 cells")


def test_unused_columns_may_be_faulty(csv_file):
    table = read(csv_file("a,b\n1,\n2,\n"))
    assert table.column("a").tolist() == [1.0, 2.0]


@given(
    st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
        min_size=1,
        max_size=20,
    )
)
def test_numbers_survive(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b", "c"], *rows])
    table = read(write(path, text.getvalue()))
    assert np.array_equal(np.column_stack([table.column(name) for name in "abc"]), np.array(rows))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_an_input_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("t.csv", "t.npz"):
        try:
            table = read(write(folder / name, content))
            for column in table.columns:
                table.column(column)
        except InputError as error:
            assert "\n" not in str(error)


# -------------------------------------------------------------------------------------------------- bad CSV files


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["empty"]),
        (" \n \n", ["empty"]),
        ("\ufeff", ["empty"]),
        ("a,b\n", ["no rows"]),
        ("a,b", ["no rows"]),
        ("a,b\n1,2\n3\n", ["row 2 (line 3)", "1 cells", "2 columns"]),
        ("a,b\n1,2\n3,4,5\n", ["row 2 (line 3)", "3 cells", "2 columns"]),
        ("a,b\n1,2\n3,\n", ["row 2 (line 3)", 'column "b"', "missing value"]),
        ("a,b\n1,2\nNaN,4\n", ["row 2 (line 3)", 'column "a"', "missing value"]),
        ("a,b\n1,2\nNA,4\n", ["row 2 (line 3)", 'column "a"', "missing value"]),
        ("a,b\nx,2\n,4\n", ["row 2 (line 3)", 'column "a"', "missing value"]),
        ("a,b\n1,inf\n", ["row 1 (line 2)", 'column "b"', "infinite"]),
        ("a,b\n1,1e999\n", ["row 1 (line 2)", 'column "b"', "infinite"]),
        ("a\n1\n2\n3o\n4\n", ["row 3 (line 4)", 'column "a"', '"3o" is not a number', "3 other cells"]),
        ("a\n1\n2\n1_000\n4\n", ["row 3 (line 4)", '"1_000" is not a number']),
        ("a,a\n1,2\n", ['named "a"']),
        ("a,,c\n1,2,3\n", ["column 2 has no name"]),
        (",b\nx,2\n", ["column 1 has no name"]),
        ("1,2\n3,4\n", ["first line should name the columns"]),
        ('a,b\n1,"2\n3,4\n', ["line 3"]),
        ('a,b\n1,"2"x\n', ["line 2"]),
        (b"a,b\n1,\xe9\n", ["byte 7", "UTF-8"]),
        ("a,b\n1,2\n".encode("utf-16"), ["UTF-8"]),
        ('a,b\n"x\n\ny",2\nz,\n', ["row 2 (line 5)", "missing value"]),
        ("a,b\n" + "1,2\n" * 3 + "x" * 200_000 + ",2\n", ["line 5"]),
    ],
)
def test_faults_of_csv_files(csv_file, content, parts):
    fails(csv_file(content), "t.csv: ", *parts)


def test_messages_stay_on_one_short_line(csv_file):
    message = fails(csv_file('"a\nb",c\n1,2\n2,3\n3,4\n"' + "x\n" * 300 + '",5\n'))
    assert len(message) < 400


def test_paths(tmp_path):
    fails(str(tmp_path / "none.csv"), "no such file", "digits")
    fails(str(tmp_path), "a folder")
    fails(write(tmp_path / "t.xlsx", "x"), ".csv")
    fails(write(tmp_path / "t.npz", ""), "empty")


# ----------------------------------------------------------------------------------------------------------- npz


def save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def test_npz(tmp_path, rng):
    x = rng.normal(size=(6, 2, 3))
    table = read(save(tmp_path / "t.npz", X=x, y=np.arange(6)))
    assert list(table.columns) == ["x0", "x1", "x2", "x3", "x4", "x5", "y"]
    assert table.target == ("y",)
    assert np.array_equal(table.column("x4"), x[:, 1, 1])
    table = read(save(tmp_path / "u.npz", x=np.array([1, 2], np.uint8), y=np.array(["a", "b"])))
    assert table.column("x0").tolist() == [1.0, 2.0]
    assert table.column("y").tolist() == ["a", "b"]
    assert read(save(tmp_path / "v.npz", X=x, y=rng.normal(size=(6, 2)))).target == ("y0", "y1")
    assert read(save(tmp_path / "w.npz", X=x)).target == ()
    truths = read(save(tmp_path / "w.npz", X=x, y=x[:, 0] > 0)).text("y0").tolist()
    assert truths == [str(value) for value in (x[:, 0, 0] > 0).tolist()]


def test_faults_of_npz_files(tmp_path):
    x = np.ones((4, 2))
    path = tmp_path / "t.npz"
    fails(save(path, a=x), '"X" or "x"', "holds: a")
    fails(save(path, X=x, x=x), '"X" or "x"')
    fails(save(path), "nothing")
    fails(save(path, X=x[:0], y=[]), "empty")
    fails(save(path, X=np.float64(1)), "shape ()")
    fails(save(path, X=x, y=np.ones(3)), "y has shape (3,)")
    fails(save(path, X=x + 0j), "complex128")
    fails(save(path, X=x, y=np.ones(4) + 0j), "complex128")
    fails(save(path, X=np.array([[None]])), "plain arrays")
    for member in (b"no array", b"", b"\x93NUMPY\x01\x00\x05\x00{}   "):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("X.npy", member)
        fails(str(path), "not an array" if member[:1] != b"\x93" else "damaged")
    x[2, 1] = np.nan
    assert fails(save(path, X=x)).endswith('t.npz: row 3, column "x1": missing value')
    content = path.read_bytes()
    fails(write(path, content[: len(content) // 2]), "damaged")
    fails(write(path, "text"), "damaged")
    with path.open("wb") as file:
        np.save(file, x)
    assert fails(str(path), "one array").endswith(
        "t.npz: one array, but an archive with X and y is needed (numpy.savez)"
    )


# ------------------------------------------------------------------------------------------------------- parquet


@pytest.fixture
def parquet_file(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def make(**columns):
        names = [name.removesuffix("_") for name in columns]
        parquet.write_table(pyarrow.Table.from_arrays(list(columns.values()), names), tmp_path / "t.parquet")
        return str(tmp_path / "t.parquet")

    return pyarrow, make


def test_parquet(parquet_file):
    import datetime
    import decimal

    pa, make = parquet_file
    table = read(
        make(
            i=pa.array([1, 2]),
            f=pa.array([0.5, 1.5], pa.float32()),
            d=pa.array([decimal.Decimal("1.25"), decimal.Decimal("2.5")]),
            s=pa.array(["a", "b"]),
            c=pa.array(["u", "v"]).dictionary_encode(),
            b=pa.array([True, False]),
            n=pa.array([1, None]),
            m=pa.array([True, None]),
            when=pa.array([datetime.date(2000, 1, 1)] * 2),
            __index_level_0__=pa.array([0, 1]),
        )
    )
    assert list(table.columns) == ["i", "f", "d", "s", "c", "b", "n", "m"]
    assert table.column("i").tolist() == [1.0, 2.0]
    assert table.column("f").tolist() == [0.5, 1.5]
    assert table.column("d").tolist() == [1.25, 2.5]
    assert table.column("s").tolist() == ["a", "b"]
    assert table.column("c").tolist() == ["u", "v"]
    assert table.column("b").tolist() == [1.0, 0.0]
    assert table.text("b").tolist() == ["True", "False"]
    assert table.text("i").tolist() == ["1", "2"]
    for name, part in {"n": "row 2", "m": "row 2", "when": "date32"}.items():
        with pytest.raises(InputError, match=part):
            table.column(name)


def test_faults_of_parquet_files(parquet_file, tmp_path):
    pa, make = parquet_file
    fails(make(a=pa.array([1]), a_=pa.array([2])), 'named "a"')
    fails(make(a=pa.array([], pa.int64())), "without rows")
    content = (tmp_path / "t.parquet").read_bytes()
    fails(write(tmp_path / "t.parquet", content[:-3]), "damaged")


# ------------------------------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled(name):
    table = read(name)
    assert table.target == ("target",)
    assert table.n_rows > 100
    assert all(len(table.column(column)) == table.n_rows for column in table.columns)
    assert isinstance(table.column("target"), Text) == (name != "diabetes")


def test_demanded_numbers(csv_file):
    table = read(csv_file("a\nx\ny\n1\n"))
    with pytest.raises(InputError, match=r'row 1 \(line 2\), column "a": "x" is not a number$'):
        table.numbers("a")
    with pytest.raises(InputError, match='no column "b"; its columns are: a'):
        table.column("b")


def test_names_in_messages():
    assert quoted("a\nb") == '"a b"'
    assert listed([str(i) for i in range(3000)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 2,992 more"
    assert str(Table("t", {}).fault("x", column="c")) == 't: column "c": x'
    assert Table("t", {}).n_rows == 0
