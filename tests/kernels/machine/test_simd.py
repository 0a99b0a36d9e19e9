"""Vectors: every operation against NumPy, nothing touched beyond its lanes, and what they are compiled for."""

import operator
import subprocess
import sys

import numba
import numpy as np
import pytest

from fastbp.kernels.machine import lanes as trace
from fastbp.kernels.machine import simd
from fastbp.kernels.machine.simd import (
    fill,
    first,
    lanes,
    largest,
    load,
    load_first,
    scratch,
    select,
    store,
    total,
)
from fastbp.kernels.machine.target import VECTOR_BYTES, describe, vector_bytes
from tests.kernels.oracles import BOUNDSCHECK, INTERPRETED, Guarded, apply, compiled, vectorwise

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv]
SPECIAL = [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 1e-30]


@compiled
def copy_vector(source, i, target, j):
    store(target, j, load(source, i))


@compiled
def width_of(array):
    return lanes(array)


@pytest.mark.parametrize("i", range(4))
def test_load_and_store_move_one_vector(i, dtype, rng):
    width = VECTOR_BYTES // dtype.itemsize
    assert width_of(np.zeros(1, dtype)) == width
    source = rng.normal(size=3 * width).astype(dtype)
    target = Guarded(np.zeros(width, dtype))
    copy_vector(source, i, target.whole, target.start)
    assert np.array_equal(target.content, source[i : i + width])
    assert target.intact()


def test_reaching_outside_raises_where_that_is_asked_for(dtype, monkeypatch):
    """NUMBA_BOUNDSCHECK=1 is read when code is written: what is compiled under it checks its reach."""
    monkeypatch.setattr(simd.config, "BOUNDSCHECK", 1)

    @compiled
    def checked(source, i, target, j):
        store(target, j, load(source, i))

    width = VECTOR_BYTES // dtype.itemsize
    inside, short = np.zeros(width, dtype), np.zeros(width - 1, dtype)
    checked(inside, 0, inside, 0)
    for source, i, target, j in (
        (short, 0, inside, 0),
        (inside, 0, short, 0),
        (inside, 1, inside, 0),
        (inside, 0, inside, 1),
        (inside, -1, inside, 0),
        (inside, 0, inside, -1),
    ):
        with pytest.raises(IndexError, match="a kernel reached outside its array"):
            checked(source, i, target, j)


@pytest.mark.skipif(INTERPRETED, reason="NumPy has its own rules")
def test_what_has_no_meaning_is_not_typed(dtype):
    """Vectors of one type store into arrays of that type, and add to vectors and numbers."""
    other = np.zeros(64, np.float64 if dtype.itemsize == 4 else np.float32)

    @compiled
    def mixed(source, target):
        store(target, 0, load(source, 0))

    @compiled
    def with_text(source, target):
        store(target, 0, load(source, 0) + "text")

    for function, target in ((mixed, other), (with_text, np.zeros(64, dtype))):
        with pytest.raises(numba.TypingError):
            function(np.zeros(64, dtype), target)


def pairs(dtype):
    a, b = np.meshgrid(SPECIAL, SPECIAL)
    return a.reshape(-1).astype(dtype), b.reshape(-1).astype(dtype)


@pytest.mark.parametrize("op", ARITHMETIC)
def test_arithmetic_is_ieee(op, dtype):
    """The operators of kernels, on vectors and numbers, and the ones that are traced."""

    @compiled
    def run(a, b, out, left, right):
        for j in range(0, a.size, lanes(a)):
            store(out, j, op(load(a, j), load(b, j)))
            store(left, j, op(2.5, load(b, j)))
            store(right, j, op(load(a, j), 2.5))

    a, b = pairs(dtype)
    out, left, right = np.empty_like(a), np.empty_like(a), np.empty_like(a)
    with np.errstate(all="ignore"):
        run(a, b, out, left, right)
        number = dtype.type(2.5)
        for got, want in ((out, op(a, b)), (left, op(number, b)), (right, op(a, number))):
            assert np.array_equal(got, want, equal_nan=True)
            assert np.array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0]))
        assert np.array_equal(apply(vectorwise(TRACED[op], 2), a, b), op(a, b), equal_nan=True)


TRACED = {
    operator.add: lambda a, b: a + b,
    operator.sub: lambda a, b: a - b,
    operator.mul: lambda a, b: a * b,
    operator.truediv: lambda a, b: a / b,
}


# name: (traced, NumPy), each of two vectors
OPERATIONS = {
    "negative": (lambda a, b: -a, lambda a, b: -a),
    "number on the left": (lambda a, b: 2.0 - a + 1.0 / b, lambda a, b: 2.0 - a + 1.0 / b),
    "less": (lambda a, b: trace.select(a < b, a, b), lambda a, b: np.where(a < b, a, b)),
    "less or equal": (lambda a, b: trace.select(a <= b, 1.0, a), lambda a, b: np.where(a <= b, 1.0, a)),
    "greater": (lambda a, b: trace.select(a > b, a, 0.0), lambda a, b: np.where(a > b, a, 0.0)),
    "greater or equal": (lambda a, b: trace.select(a >= b, a, b), lambda a, b: np.where(a >= b, a, b)),
    "equal": (lambda a, b: trace.select(trace.equal(a, b), a, 7.0), lambda a, b: np.where(a == b, a, 7.0)),
    "absolute": (lambda a, b: trace.absolute(a), lambda a, b: np.abs(a)),
    "copysign": (trace.copysign, np.copysign),
    "sqrt": (lambda a, b: trace.sqrt(a), lambda a, b: np.sqrt(a)),
    "bits": (lambda a, b: trace.from_bits(trace.bits(a)), lambda a, b: a),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_traced_operations(name, dtype):
    """As instructions and as NumPy: the same numbers to the bit, NaN comparing false everywhere."""
    mine, oracle = OPERATIONS[name]
    a, b = pairs(dtype)
    with np.errstate(all="ignore"):
        want = oracle(a, b).astype(dtype)
        assert np.array_equal(apply(vectorwise(mine, 2), a, b), want, equal_nan=True)
        twin = mine(a, b)
    assert twin.dtype == dtype
    assert np.array_equal(twin, want, equal_nan=True)


def test_fma_is_one_or_two_roundings(dtype, rng):
    a, b, c = rng.normal(size=(3, 500)).astype(dtype)
    got = apply(vectorwise(trace.fma, 3), a, b, c).astype(np.longdouble)
    exact = a.astype(np.longdouble) * b + c
    bound = np.finfo(dtype).eps * (np.abs(a.astype(np.longdouble) * b) + np.abs(exact))
    assert np.all(np.abs(got - exact) <= bound)


def test_bit_arithmetic(dtype):
    """What the range reductions do: shifts, masks and sums of bit patterns."""

    def scaled(v):
        single = trace.is_single(v)
        low, mantissa = (0x7FFFFF, 23) if single else (0xFFFFFFFFFFFFF, 52)
        u = trace.bits(v)
        exponent = u >> mantissa
        return (
            trace.from_bits(((exponent + 3) << mantissa) + ((u & low) ^ 0))
            + trace.to_float(u >> mantissa) * 0.0
        )

    v = np.array([1.0, 1.5, 3.75, 1e-3, 12345.0], dtype)
    assert np.array_equal(apply(vectorwise(scaled), v), 8 * v)
    assert np.array_equal(scaled(v), 8 * v)


@compiled
def reductions(x, out):
    for j in range(0, x.size, lanes(x)):
        out[2 * (j // lanes(x))] = total(load(x, j))
        out[2 * (j // lanes(x)) + 1] = largest(load(x, j))


def test_reductions(dtype, rng):
    x = rng.normal(size=64).astype(dtype)
    x[:16] = np.arange(16)
    width = VECTOR_BYTES // dtype.itemsize
    out = np.zeros(2 * (64 // width), dtype)
    reductions(x, out)
    rows = x.reshape(-1, width)
    assert np.allclose(out[::2], rows.sum(1, dtype=np.float64), rtol=0, atol=20 * np.finfo(dtype).eps)
    assert np.array_equal(out[1::2], rows.max(1))


@compiled
def masked(x, count, out):
    for j in range(0, x.size, lanes(x)):
        store(out, j, select(first(x, count - j), load(x, j), fill(x, -1)))


@pytest.mark.parametrize("count", [-3, 0, 1, 2, 5, 31, 32, 40])
def test_first_masks_the_remainder(count, dtype, rng):
    x = rng.uniform(1, 2, 32).astype(dtype)
    out = np.empty_like(x)
    masked(x, count, out)
    assert np.array_equal(out, np.where(np.arange(32) < count, x, -1))


@compiled
def begin_of_row(x, i, count, out):
    store(out, 0, load_first(x, i, count))


def test_load_first_reads_so_many_and_no_more(dtype, rng):
    width = VECTOR_BYTES // dtype.itemsize
    x = rng.normal(size=3 * width).astype(dtype)
    out = np.empty(width, dtype)
    for count in range(width + 1):
        for i in (0, 1, x.size - count):
            out[:] = np.nan
            begin_of_row(x, i, count, out)
            assert np.array_equal(out[:count], x[i : i + count])
            assert not out[count:].any()


@pytest.mark.skipif(
    not (BOUNDSCHECK or INTERPRETED), reason="reach is checked under NUMBA_BOUNDSCHECK=1 only"
)
@pytest.mark.parametrize(("i", "count"), [(-1, 1), (0, 3), (2, 1)])
def test_load_first_outside_raises(i, count, dtype):
    with pytest.raises(IndexError, match="a kernel reached outside its array"):
        begin_of_row(np.zeros(2, dtype), i, count, np.zeros(64, dtype))


@compiled
def through_scratch(x, out):
    held = scratch(x, x.size)
    for j in range(x.size):
        held[j] = x[x.size - 1 - j]
    for j in range(x.size):
        out[j] = held[j]


def test_scratch_is_memory_of_the_call(dtype, rng):
    x = rng.normal(size=37).astype(dtype)
    out = np.zeros_like(x)
    through_scratch(x, out)
    assert np.array_equal(out, x[::-1])


def test_description():
    facts = describe()
    assert facts["vector_bytes"] in (16, 32, 64)
    assert facts["vector_registers"] in (16, 32)
    assert facts["lanes"] == {"float32": facts["vector_bytes"] // 4, "float64": facts["vector_bytes"] // 8}
    assert facts["cpu"]


def test_an_impossible_width_is_refused(monkeypatch):
    monkeypatch.setenv("FASTBP_VECTOR_BYTES", "48")
    with pytest.raises(ValueError, match="must be 16, 32 or 64, got '48'"):
        vector_bytes()
    for size in (16, 32, 64):
        monkeypatch.setenv("FASTBP_VECTOR_BYTES", str(size))
        assert vector_bytes() == size
    monkeypatch.delenv("FASTBP_VECTOR_BYTES")
    monkeypatch.setattr("fastbp.kernels.machine.target.config.CPU_NAME", "generic")
    assert vector_bytes() == 16


def test_select_of_two_numbers_has_no_type():
    mask = trace.Lanes(None, None)
    with pytest.raises(TypeError, match="at least one vector"):
        trace.select(mask, 1.0, 2.0)


def test_the_folder_is_no_package_of_its_own(tmp_path):
    """From the root of the checkout a bare `import kernels` would find this folder first."""
    from pathlib import Path

    import fastbp.kernels

    folder = Path(fastbp.kernels.__file__).resolve().parent
    (tmp_path / "kernels").symlink_to(folder, target_is_directory=True)
    done = subprocess.run(
        [sys.executable, "-c", "import kernels"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "import this folder as fastbp.kernels" in done.stderr
