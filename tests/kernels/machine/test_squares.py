"""The transpose by squares against NumPy's; bands around the result stay untouched."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastbp.kernels.machine import squares, target
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
