"""What is changed in Numba's pipeline changes how long it takes, not what comes out, and nothing for anybody else."""

import numba
import numpy as np
import pytest
from numba.core.types.functions import BaseFunction

from fastbp.kernels.machine.pipeline import remembering
from tests.kernels.oracles import INTERPRETED

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")


def operations(a, b, array):
    return a + b, a * b, a / b, a < b, a == b, -a, array[0] + a, array[1] * b, a**2, 2 * (a - b) + a * b


def compiled(function, remember):
    dispatcher = numba.njit(function)
    if remember:
        dispatcher.compile = remembering(dispatcher.compile)
    return dispatcher


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float32])
def test_operators_give_what_they_gave(dtype):
    """Types and values, where several combinations of types meet in one function."""
    found, plain = (compiled(operations, remember) for remember in (True, False))
    arguments = dtype(3), np.float64(0.5), np.arange(2, dtype=dtype)
    assert found(*arguments) == plain(*arguments)
    arguments = dtype(3), np.int32(2), np.arange(2, dtype=np.float32)
    assert found(*arguments) == plain(*arguments)
    assert found.nopython_signatures == plain.nopython_signatures


def test_numba_is_left_as_it_was():
    before = BaseFunction.get_call_type
    assert compiled(operations, True)(1, 2, np.ones(2))[0] == 3
    assert BaseFunction.get_call_type is before
    with pytest.raises(numba.TypingError, match="No implementation of function"):
        compiled(lambda: 1 + "text", True)()
    assert BaseFunction.get_call_type is before
