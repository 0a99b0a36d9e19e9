"""The transpose by squares and the picking of lanes against NumPy's; bands around the result stay untouched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.kernels.machine import squares, target
from fastbp.kernels.machine.simd import store
from tests.kernels.oracles import Guarded, compiled


@compiled
def transpose(S, s0, lds, D, d0, ldd, rows, columns):
    squares.transpose_squares(S, s0, lds, D, d0, ldd, rows, columns)


@given(
    extra=st.tuples(*[st.integers(0, 9)] * 3), count=st.tuples(*[st.integers(0, 3)] * 2), single=st.booleans()
)
def test_transpose_squares(extra, count, single):
    dtype = np.dtype(np.float32 if single else np.float64)
    side = target.VECTOR_BYTES // dtype.itemsize
    rows, columns = side * count[0], side * count[1]
    lds, ldd, s0 = columns + extra[0], rows + extra[1], extra[2]
    S = np.arange(s0 + rows * lds, dtype=dtype)
    D = Guarded(np.full((columns, ldd), -1.0, dtype))
    transpose(S, s0, lds, D.whole, D.start, ldd, rows, columns)
    got = D.content.reshape(columns, ldd)
    assert np.array_equal(got[:, :rows], S[s0:].reshape(rows, lds)[:, :columns].T)
    assert np.all(got[:, rows:] == -1.0)
    assert D.intact()


@compiled
def pick(array, places, first, scale, offset, out):
    store(out, 0, squares.pick(array, places, first, scale, offset))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("first", "scale", "offset"), [(0, 1, 0), (3, 4, 2), (1, 7, 6)])
def test_pick_takes_a_number_from_a_row_for_each_lane(dtype, first, scale, offset):
    side = target.VECTOR_BYTES // np.dtype(dtype).itemsize
    rng = np.random.default_rng(0)
    array = rng.normal(size=50 * scale).astype(dtype)
    places = rng.integers(0, 50, first + side + 2)
    out = np.zeros(side, dtype)
    pick(array, places, first, scale, offset, out)
    assert np.array_equal(out, array.reshape(50, scale)[places[first : first + side], offset])
