"""Arrays as kernels want them: aligned, padded, flat, writable.

Rows are padded to a cache line and buffers start on one: a vector that straddles two lines costs half the speed.
"""

from __future__ import annotations

from ctypes import addressof, c_char
from typing import Any

import numpy as np

LINE = 64  # bytes
Array = np.ndarray[Any, Any]


def padded(count: int, itemsize: int) -> int:
    """Return a number of elements rounded up to whole cache lines."""
    return -(-count * itemsize // LINE) * LINE // itemsize


def stride(count: int, itemsize: int) -> int:
    """Return the distance of rows in elements: padded, and no multiple of 2048 bytes, which would share cache sets."""
    distance = padded(count, itemsize)
    return distance + LINE // itemsize if distance * itemsize % 2048 == 0 else distance


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Return an array of zeros that begins at the start of a cache line."""
    raw = np.zeros(size * dtype.itemsize + LINE, np.uint8)
    start = -addressof(c_char.from_buffer(raw.data)) % LINE  # in a third of the time of raw.ctypes.data
    return raw[start : start + size * dtype.itemsize].view(dtype)


class _Writable:
    """A read-only array shown as a writable one, without a copy: kernels know one type, and only read it."""

    def __init__(self, array: Array) -> None:
        self._owner = array
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.__array_interface__["data"][0], False),
        }


def flat(array: Array) -> Array:
    """Return a C-contiguous array as a plain, flat, writable view."""
    if type(array) is not np.ndarray or not array.flags.writeable:
        array = np.asarray(_Writable(array))
    return array.reshape(-1)
