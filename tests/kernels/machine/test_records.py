"""Fields of an int64 array by their names: where they are, of which type, and nothing beyond."""

import numba
import numpy as np
import pytest

from fastbp.kernels.machine.records import Record, record_at, record_behind, stretches
from tests.kernels.oracles import BOUNDSCHECK, INTERPRETED, compiled

HEAD = Record("TestHead", {"count": 0, "code": 1, "rate": 2}, 2)
ITEM = Record("TestItem", {"size": 0, "weight": 1}, 1)
head_at = record_at(HEAD)
item_of = record_behind(HEAD, ITEM, "count")
numbers_at, words_at = stretches("float64"), stretches("int64")


@compiled
def read(array, place):
    head = head_at(array, place)
    return head.count, head.code, head.rate


@compiled
def write(array, place, code, rate):
    head = head_at(array, place)
    head.code = code
    head.rate = rate
    head.rate += 1


@compiled
def total(array, place):
    head = head_at(array, place)
    size, weight = 0, 0.0
    for k in range(head.count):
        size += item_of(head, k).size
        weight += item_of(head, k).weight
    return size, weight


@compiled
def item(array, place, k):
    return item_of(head_at(array, place), k).size


@compiled
def scale(array, place, count, factor):
    numbers = numbers_at(array, place, count)
    for k in range(numbers.size):
        numbers[k] *= factor
    words = words_at(array, place, count)
    return numbers.size, words.size, numbers_at(array, array.size, 0).size


def example():
    """Return an array with a head at place 4 and two items behind it."""
    array = np.full(16, -77, np.int64)
    array[4:6] = 2, 9
    array[[7, 9]] = 5, 6
    array[[6, 8, 10]] = np.array([0.5, 0.25, 1.5]).view(np.int64)
    return array


def test_fields_are_read_by_their_names():
    assert read(example(), 4) == (2, 9, 0.5)
    assert total(example(), 4) == (11, 1.75)
    assert [item(example(), 4, k) for k in range(2)] == [5, 6]


def test_fields_are_written_and_nothing_else_is():
    array, before = example(), example()
    write(array, 4, 3, 0.125)
    assert read(array, 4) == (2, 3, 1.125)
    array[5:7] = before[5:7]
    assert np.array_equal(array, before)


@pytest.mark.parametrize(("place", "count"), [(0, 1), (3, 5), (0, 16), (15, 1), (16, 0)])
def test_a_stretch_is_the_memory_itself(place, count):
    array = np.arange(16.0).view(np.int64)
    assert scale(array, place, count, 3.0) == (count, count, 0)
    want = np.arange(16.0)
    want[place : place + count] *= 3.0
    np.testing.assert_array_equal(array.view(np.float64), want)


def test_a_name_that_is_none_is_refused():
    @compiled
    def other(array):
        return head_at(array, 0).other

    with pytest.raises(KeyError if INTERPRETED else numba.TypingError, match="other"):
        other(example())


@pytest.mark.skipif(
    not (BOUNDSCHECK or INTERPRETED), reason="reach is checked under NUMBA_BOUNDSCHECK=1 only"
)
def test_reaching_outside_raises():
    for place in (-1, 14):
        with pytest.raises(IndexError, match="a kernel reached outside its array"):
            read(example(), place)
    for place, count in ((-1, 2), (14, 3), (2, -1)):
        with pytest.raises(IndexError, match="a kernel reached outside its array"):
            scale(example(), place, count, 2.0)
    for k in (-1, 2):
        with pytest.raises(IndexError, match="a kernel reached outside its array"):
            item(example(), 4, k)
