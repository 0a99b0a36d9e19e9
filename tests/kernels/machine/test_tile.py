"""The register tiles against loops; bands around every buffer stay untouched."""

import functools

import numpy as np
import pytest

from fastbp.kernels.machine import target, tile
from tests.kernels.oracles import BOUNDSCHECK, INTERPRETED, Guarded, compiled

# rows, vectors, half a vector
SHAPES = [(r, v, False) for r in (tile.TILE_ROWS, 4, 2, 1) for v in (1, 2)]
SHAPES += [(1, 4, False), *((r, 1, True) for r in (tile.TILE_ROWS, 4, 2, 1))]
NAMES = [f"{rows} x {'half' if half else vectors}" for rows, vectors, half in SHAPES]


@functools.cache
def compiled_tile(rows, vectors, half):
    """Return the tile as a function of arrays: tests call it as kernels do, from compiled code."""
    operation = tile.make_tile(rows, vectors, half=half)

    def run(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, K):  # noqa: E741
        operation(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, K)

    return compiled(run)


def loops(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, K, rows, columns):  # noqa: E741
    """C = I + A B with indices as the tile takes them, in float64."""
    out = np.zeros((rows, columns))
    for m in range(rows):
        for n in range(columns):
            out[m, n] = I[i0 + m * ldi + n]
            for k in range(K):
                out[m, n] += float(A[a0 + m * sam + k * sak]) * float(B[b0 + k * ldb + n])
    return out


def width_of(vectors, half, dtype):
    lanes = target.VECTOR_BYTES // dtype.itemsize
    return lanes // 2 if half else lanes * vectors


# Reach is computed from the last k, so under bounds checks a sum of no terms is not asked for; nor is it by any caller.
DEPTHS = [1, 2, 7] if BOUNDSCHECK else [0, 1, 2, 7]


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_tile(shape, dtype, rng):
    rows, vectors, half = shape
    run = compiled_tile(rows, vectors, half)
    width = width_of(vectors, half, dtype)
    eps = np.finfo(dtype).eps
    for depth in DEPTHS:
        for transposed in (False, True):
            for start in ("bias", "zero", "accumulate"):
                lda, ldb, ldc = (rows if transposed else depth) + 3, width + 5, width + 2
                A = rng.normal(size=(depth if transposed else rows, lda)).astype(dtype)
                B = Guarded(rng.normal(size=(max(1, depth), ldb)).astype(dtype))
                C = Guarded(np.full((rows, ldc), 7.0, dtype))
                A = Guarded(A)
                if start == "accumulate":
                    C.content[...] = rng.normal(size=C.size)
                    I, i0, ldi = C.whole, C.start, ldc  # noqa: E741
                else:
                    bias = rng.normal(size=width) if start == "bias" else np.zeros(width)
                    I, i0, ldi = bias.astype(dtype), 0, 0  # noqa: E741
                before = C.content.reshape(rows, ldc).copy()
                sam, sak = (1, lda) if transposed else (lda, 1)
                arguments = (
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
                    depth,
                )
                want = loops(*arguments, rows, width)
                run(*arguments)
                got = C.content.reshape(rows, ldc)
                assert np.allclose(got[:, :width], want, rtol=0, atol=20 * eps * (1 + depth))
                assert np.array_equal(got[:, width:], before[:, width:])
                assert C.intact()


def test_no_shape_changes_a_sum(dtype, rng):
    """One chain of multiply-adds in the order of k, whatever the tile: what makes results independent of the split."""
    depth, rows = 9, tile.TILE_ROWS
    width = width_of(2, False, dtype)
    A = rng.normal(size=(rows, depth)).astype(dtype)
    B = rng.normal(size=(depth, 2 * width)).astype(dtype)
    zeros = np.zeros(2 * width, dtype)
    results = []
    for r, v, half in SHAPES:
        C = np.zeros((rows, 2 * width), dtype)
        step = width_of(v, half, dtype)
        for m in range(0, rows - r + 1, r):
            for n in range(0, width, step):
                compiled_tile(r, v, half)(
                    A.reshape(-1), m * depth, depth, 1, B.reshape(-1), n, 2 * width,
                    zeros, 0, 0, C.reshape(-1), m * 2 * width + n, 2 * width, depth,
                )  # fmt: skip
        done = rows // r * r
        results.append((done, C[:, :width]))
    for done, C in results:
        assert np.array_equal(C[:done], results[0][1][:done])


def test_tile_is_honest_about_nan(dtype):
    rows, vectors = tile.TILE_ROWS, 1
    width = width_of(vectors, False, dtype)
    A, B = np.zeros((rows, 2), dtype), np.ones((2, width), dtype)
    A[1, 0], B[1, 1] = np.nan, np.inf
    C = np.zeros((rows, width), dtype)
    zeros = np.zeros(width, dtype)
    with np.errstate(invalid="ignore"):
        compiled_tile(rows, vectors, False)(
            A.reshape(-1), 0, 2, 1, B.reshape(-1), 0, width, zeros, 0, 0, C.reshape(-1), 0, width, 2
        )
        want = A @ B
    assert np.array_equal(C, want, equal_nan=True)


@pytest.mark.skipif(not BOUNDSCHECK or INTERPRETED, reason="reach is checked under NUMBA_BOUNDSCHECK=1 only")
@pytest.mark.parametrize("short", ["A", "B", "I", "C"])
def test_reaching_outside_raises(short, dtype):
    width = width_of(1, False, dtype)
    sizes = {"A": 4, "B": 2 * width, "I": width, "C": 2 * width}
    sizes[short] -= 1
    A, B, I, C = (np.zeros(size, dtype) for size in sizes.values())  # noqa: E741
    with pytest.raises(IndexError, match="a kernel reached outside its array"):
        compiled_tile(2, 1, False)(A, 0, 2, 1, B, 0, width, I, 0, 0, C, 0, width, 2)
