"""The product C = I + A B against NumPy: every remainder, three orientations, three starts, nothing touched outside."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastbp.kernels.machine import target
from fastbp.kernels.machine.squares import transpose_squares
from fastbp.kernels.matmul import PACKED_BYTES, PACKED_ROWS, product, product_asking
from tests.kernels.oracles import BOUNDSCHECK, INTERPRETED, Guarded, compiled

LINE = 64  # bytes that rows are padded to


@compiled
def run(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, M, N, K, P, p0):  # noqa: E741
    product(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, M, N, K, P, p0)


@compiled
def turn(S, lds, rows, D, d0, ldd):
    transpose_squares(S, 0, lds, D, d0, ldd, rows, lds)


def padded(columns, dtype):
    """Return the row length of a matrix with so many columns."""
    per_line = LINE // dtype.itemsize
    return -(-columns // per_line) * per_line


def stored(matrix, dtype, fill=0.0):
    """Return a matrix as kernels keep it, rows padded to 64 bytes, between guard bands."""
    rows, columns = matrix.shape
    kept = np.full((rows, padded(columns, dtype)), fill, dtype)
    kept[:, :columns] = matrix
    return Guarded(kept), kept.shape[1]


def check(M, N, K, orientation, start, dtype, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(M, K)).astype(dtype), rng.normal(size=(K, N)).astype(dtype)
    if orientation == "x' delta":  # the rows of a batch are K, x is read down its columns
        A, lda = stored(a.T, dtype)
        sam, sak = 1, lda
    else:
        A, lda = stored(a, dtype)
        sam, sak = lda, 1
    if (
        orientation == "delta W'"
    ):  # W is kept, W' is made from it in squares, so that its rows are read in order
        W = np.zeros((padded(N, dtype), padded(K, dtype)), dtype)
        W[:N, :K] = b.T
        B, ldb = Guarded(np.zeros(W.shape[::-1], dtype)), W.shape[0]
        turn(W.reshape(-1), W.shape[1], W.shape[0], B.whole, B.start, ldb)
    else:
        B, ldb = stored(b, dtype)
    C, ldc = stored(np.full((M, N), 3.0), dtype, fill=3.0)
    if start == "accumulate":
        before = rng.normal(size=(M, N)).astype(dtype)
        C.content.reshape(M, ldc)[:, :N] = before
        I, i0, ldi = C.whole, C.start, ldc  # noqa: E741
    else:
        bias = rng.normal(size=N).astype(dtype) if start == "bias" else np.zeros(N, dtype)
        before = bias
        row = np.zeros(ldc, dtype)
        row[:N] = bias
        I, i0, ldi = row, 0, 0  # noqa: E741
    run(
        A.whole,
        A.start,
        sam,
        sak,
        B.whole,
        B.start,
        ldb,
        I,
        i0,
        ldi,
        C.whole,
        C.start,
        ldc,
        M,
        N,
        K,
        A.whole,
        -1,
    )
    got = C.content.reshape(M, ldc)
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble) + before
    size = np.abs(a).astype(np.float64) @ np.abs(b) + np.abs(before)
    assert np.all(np.abs(got[:, :N] - exact) <= (K + 2) * np.finfo(dtype).eps * size)
    # Behind the columns asked for a vector may be written, zeros times something; never behind the row's padding.
    assert np.all((got[:, N:] == 3.0) | (got[:, N:] == 0.0))
    assert A.intact() and B.intact() and C.intact()


most = 12 if INTERPRETED else 40
sizes = st.one_of(st.sampled_from([1, 2, 3, 7, 8]), st.integers(1, most))


@settings(max_examples=15 if INTERPRETED else 200)
@given(
    M=sizes,
    N=sizes,
    K=st.one_of(sizes, st.just(1)) if BOUNDSCHECK else st.one_of(sizes, st.sampled_from([0, 1])),
    orientation=st.sampled_from(["x W", "x' delta", "delta W'"]),
    start=st.sampled_from(["bias", "zero", "accumulate"]),
    single=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@example(M=1, N=1, K=1, orientation="x W", start="bias", single=True, seed=0)
@example(M=15, N=33, K=2, orientation="x' delta", start="accumulate", single=True, seed=0)
def test_product(M, N, K, orientation, start, single, seed):
    check(M, N, K, orientation, start, np.dtype(np.float32 if single else np.float64), seed)


@pytest.mark.parametrize("start", ["bias", "accumulate"])
def test_every_remainder(start, dtype):
    """Each count of rows with each count of columns: all tiles, all ways to cut a matrix into them."""
    lanes = LINE // dtype.itemsize
    rows = [1, 2, 3, 7] if INTERPRETED else range(1, 18)
    columns = [1, lanes // 2, lanes // 2 + 1] if INTERPRETED else range(1, 3 * lanes + 2)
    for M in rows:
        for N in columns:
            check(M, N, 3, "x W", start, dtype, 100 * M + N)


def test_rows_do_not_depend_on_their_neighbors(dtype, rng):
    """A row of the product is the same bits alone and among others: batches and threads may be cut anywhere."""
    M, N, K = (5, 6, 4) if INTERPRETED else (23, 37, 19)
    x, ldx = stored(rng.normal(size=(M, K)), dtype)
    W, ldw = stored(rng.normal(size=(K, N)), dtype)
    start = np.zeros(ldw, dtype)
    whole, ldc = stored(np.zeros((M, N)), dtype)
    W0, C0 = W.start, whole.start
    run(x.whole, x.start, ldx, 1, W.whole, W0, ldw, start, 0, 0, whole.whole, C0, ldc, M, N, K, start, -1)
    for cut in (1, 2, 3):
        pieces, _ = stored(np.zeros((M, N)), dtype)
        for m in range(0, M, cut):
            count = min(cut, M - m)
            run(
                x.whole, x.start + m * ldx, ldx, 1, W.whole, W0, ldw,
                start, 0, 0, pieces.whole, C0 + m * ldc, ldc, count, N, K, start, -1,
            )  # fmt: skip
        assert np.array_equal(pieces.content, whole.content)


@pytest.mark.parametrize("columns", [1, 3, 5])
def test_a_copied_panel_changes_nothing(dtype, rng, columns):
    """A large B is read from copies of its panels, to the same bits, which fit in the place that was given."""
    lanes = target.VECTOR_BYTES // dtype.itemsize
    M, K, N = PACKED_ROWS + 3, 8, columns * lanes - 1
    ldb = PACKED_BYTES // dtype.itemsize // K
    x, W = rng.normal(size=(M, K)).astype(dtype), rng.normal(size=(K, ldb)).astype(dtype)
    start = rng.normal(size=columns * lanes).astype(dtype)
    panel = Guarded(np.zeros(2 * lanes * K, dtype))
    results = []
    for p0 in (-1, panel.start):
        C, ldc = stored(np.zeros((M, N)), dtype)
        run(
            x.reshape(-1), 0, K, 1, W.reshape(-1), 0, ldb,
            start, 0, 0, C.whole, C.start, ldc, M, N, K, panel.whole, p0,
        )  # fmt: skip
        results.append(C.content.copy())
    assert np.array_equal(*results)
    assert np.allclose(results[0].reshape(M, ldc)[:, :N], x @ W[:, :N] + start[:N], rtol=1e-4, atol=1e-4)
    assert panel.intact()
    assert np.any(panel.content) == (columns > 1)


@compiled
def run_asking(A, a0, lda, B, b0, ldb, I, i0, C, c0, ldc, M, N, K, X, order, place):  # noqa: E741
    product_asking(A, a0, lda, B, b0, ldb, I, i0, C, c0, ldc, M, N, K, A, -1, X, order, place)


@settings(max_examples=10 if INTERPRETED else 100)
@given(
    M=sizes,
    N=st.one_of(sizes, st.integers(1, 20 if INTERPRETED else 200)),
    K=sizes,
    rows=st.integers(1, 30),
    place=st.integers(0, 60),
    single=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_asking_for_rows_changes_nothing(M, N, K, rows, place, single, seed):
    """Which rows come next, and whether there are any, has no say in the product."""
    dtype = np.dtype(np.float32 if single else np.float64)
    rng = np.random.default_rng(seed)
    A, lda = stored(rng.normal(size=(M, K)), dtype)
    B, ldb = stored(rng.normal(size=(K, N)), dtype)
    bias = rng.normal(size=ldb).astype(dtype)
    X, order = rng.normal(size=rows * K).astype(dtype), rng.integers(rows, size=rows)
    plain, ldc = stored(np.zeros((M, N)), dtype)
    asking, _ = stored(np.zeros((M, N)), dtype)
    run(
        A.whole, A.start, lda, 1, B.whole, B.start, ldb,
        bias, 0, 0, plain.whole, plain.start, ldc, M, N, K, A.whole, -1,
    )  # fmt: skip
    run_asking(
        A.whole, A.start, lda, B.whole, B.start, ldb,
        bias, 0, asking.whole, asking.start, ldc, M, N, K, X, order, place,
    )  # fmt: skip
    assert np.array_equal(asking.content, plain.content)
    assert A.intact() and B.intact() and asking.intact()


def test_no_rows_no_columns(dtype):
    """Nothing to do is done: no element is written."""
    for M, N in ((0, 3), (3, 0)):
        x, W, C = np.zeros(64, dtype), np.zeros(64, dtype), np.full(64, 5.0, dtype)
        run(x, 0, 16, 1, W, 0, 16, np.zeros(16, dtype), 0, 0, C, 0, 16, M, N, 3, x, -1)
        assert np.all(C == 5.0)


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="the interpreter mode has one width")
@pytest.mark.parametrize("width", [16, 32, 64])
def test_every_vector_width(width):
    """SSE2, AVX2 and AVX-512 layouts: LLVM lowers each to what this machine has."""
    if width == target.VECTOR_BYTES:
        pytest.skip("the width of this run")
    here = Path(__file__).parent
    names = "machine/simd machine/squares machine/tile matmul elementary activations losses optimizers network many"
    files = [str((here / name).with_name(f"test_{Path(name).name}.py")) for name in names.split()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *files],
        env={**os.environ, "FASTBP_VECTOR_BYTES": str(width)},
        cwd=here.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
