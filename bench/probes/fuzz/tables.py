"""Tables: a well-formed one is read as Python's csv reads it; anything else is refused in one line that names it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from bench.probes.fuzz.case import check, one_line
from fastbp.tables.errors import InputError
from fastbp.tables.read import read

NUMBERS = ["0", "-1", "3.25", "1e-3", "+7", ".5", "12345678", "1E5"]
WORDS = ["red", "a b", "ü", 'say "hi"', "x;y", "x,y", "line\nbreak", "naïve", "-"]
DIRT = [
    b"\0",
    b"\xff",
    b'"',
    b"\r",
    b"\n",
    b",",
    b";",
    b"\xef\xbb\xbf",
    b"nan",
    b"",
    b"'",
    b"1e999",
    b"\t",
    b"|",
]


def case(rng: np.random.Generator, folder: Path) -> None:
    """Read one table, whole or soiled."""
    if rng.random() < 0.2:
        archive(rng, folder)
        return
    mark = str(rng.choice([",", ";", "\t", "|"]))
    n, kinds = (
        int(rng.integers(1, 30)),
        [str(rng.choice(["numbers", "words"])) for _ in range(rng.integers(2, 5))],
    )
    cells = [[str(rng.choice(NUMBERS if kind == "numbers" else WORDS)) for kind in kinds] for _ in range(n)]
    text = io.StringIO()
    names = [f"c{i}" for i in range(len(kinds))]
    csv.writer(text, delimiter=mark, lineterminator=str(rng.choice(["\n", "\r\n"]))).writerows(
        [names, *cells]
    )
    data = bytearray(text.getvalue().encode())
    soiled = rng.random() < 0.5
    for _ in range(int(rng.integers(1, 4)) if soiled else 0):
        place = int(rng.integers(len(data) + 1))
        data[place : place + int(rng.integers(3))] = DIRT[int(rng.integers(len(DIRT)))]
    path = folder / "t.csv"
    path.write_bytes(data)
    try:
        table = read(str(path))
        columns = {
            name: table.numbers(name) for name, kind in zip(names, kinds, strict=True) if kind == "numbers"
        }
        words = {name: table.text(name) for name, kind in zip(names, kinds, strict=True) if kind == "words"}
    except InputError as error:
        one_line(error)
        check(str(path) in str(error), f"a message does not name the file: {error}")
        check(soiled, f"a well-formed table is refused: {error}")
        return
    if soiled:
        return
    check(table.n_rows == n, f"{table.n_rows} rows of {n}")
    for i, name in enumerate(names):
        expected = [row[i] for row in cells]
        if name in columns:
            check(
                np.array_equal(columns[name], [float(cell) for cell in expected]), f"other numbers in {name}"
            )
        else:
            told = np.array(words[name].values, object)[words[name].codes]
            check(list(told) == [cell.strip() for cell in expected], f"other words in {name}")


def archive(rng: np.random.Generator, folder: Path) -> None:
    """Read an npz file, most often a damaged one."""
    path = folder / "t.npz"
    n = int(rng.integers(1, 20))
    x, y = rng.normal(size=(n, 3)), rng.integers(0, 3, n)
    np.savez(path, X=x, y=y)
    data = bytearray(path.read_bytes())
    damaged = rng.random() < 0.8
    for _ in range(int(rng.integers(1, 4)) if damaged else 0):
        place = int(rng.integers(len(data)))
        if rng.random() < 0.3:
            del data[place:]
            data += b"\0"
        else:
            data[place] ^= int(rng.integers(1, 256))
    path.write_bytes(data)
    try:
        table = read(str(path))
        columns = [table.numbers(name) for name in table.columns if name not in table.target]
    except InputError as error:
        one_line(error)
        check(damaged, f"a whole archive is refused: {error}")
        return
    if not damaged:
        check(np.array_equal(np.column_stack(columns), x), "other numbers in an archive")
