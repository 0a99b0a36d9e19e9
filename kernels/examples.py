"""Arguments of the types that kernels get in calls for a dtype: what an entry is compiled for before it is called."""

import numpy as np

from .machine.records import View
from .machine.sync import Team
from .plan import CALL, NETWORK, TOTALS
from .tuples import Net, Part, Rows, Sums

_WORDS, _NUMBERS, _INDEX = np.zeros(256, np.int64), np.zeros(0), np.zeros(0, np.int32)

RATES, TEAM = _NUMBERS, Team(_WORDS, 1, 0)
CALLED = View(_WORDS, 0, CALL)
SUMS = Sums(
    totals=View(_WORDS, 0, TOTALS),
    passes=_NUMBERS,
    coefficients=_NUMBERS,
    values=_NUMBERS,
    weights=_NUMBERS,
    blocks=_NUMBERS,
    units=_NUMBERS,
    costs=_NUMBERS,
    waiting=_WORDS,
)
PART = Part(0, 0, 0, 0.0, 0.0, 0, 0.0, False, False, False, 0, 0, False)


def net(dtype):
    """Return a network."""
    array = np.zeros(0, dtype)
    return Net(View(_WORDS, 0, NETWORK), array, array, array, array)


def rows(dtype):
    """Return the caller's rows."""
    array = np.zeros(0, dtype)
    return Rows(array, _INDEX, _INDEX, array, _NUMBERS, _WORDS, _WORDS)
