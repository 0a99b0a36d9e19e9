"""Hashes of code: they tell what decides machine code, and nothing of where and when it was made."""

import numba
import pytest

from fastbp.kernels.machine.stamps import stamp
from tests.kernels.machine.programs import compiles

SOURCE = '''
def outer(x, *, y=1.5):
    """Text."""
    def inner(z):
        try:
            return {0.0: x, "a": z in {"b", "c", 1}}[y]
        except KeyError:
            return ...
    return inner
'''


def code(source=SOURCE, path="here.py"):
    return compile(source, path, "exec")


def test_the_same_code_from_elsewhere_has_the_same_stamp():
    assert stamp(code()) == stamp(code(path="/another/folder/there.py"))
    assert stamp(code()) == stamp(
        code(SOURCE.replace("\n    def inner", "\n\n    # A comment.\n    def inner"))
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.5", "1.25"),
        ("0.0", "-0.0"),
        ("0.0", "0"),
        ('"c"', '"d"'),
        ("1}", "True}"),
        ("KeyError", "IndexError"),
        ("return ...", "return None"),
        ("return inner", "return outer"),
        ("*, y", "y"),
        ("*, y=1.5", "*y"),
    ],
)
def test_other_code_has_another_stamp(old, new):
    assert old in SOURCE
    assert stamp(code()) != stamp(code(SOURCE.replace(old, new)))


def test_the_order_in_a_set_does_not_matter():
    assert stamp(frozenset([0, 8, "a"])) == stamp(frozenset(["a", 8, 0]))
    assert stamp(frozenset([0, 8])) != stamp(frozenset([0, 9]))


@pytest.mark.parametrize(
    ("one", "other"), [((1, (2, 3)), (1, (2,), 3)), (("ab", "c"), ("a", "bc")), ((1,), (1.0,))]
)
def test_what_is_nested_otherwise_has_another_stamp(one, other):
    assert stamp(one) != stamp(other)


@compiles
def test_functions_that_call_each_other_and_what_cannot_be_told():
    @numba.njit
    def even(n):
        return n == 0 or odd(n - 1)

    assert stamp(even) is None  # `odd` has no value yet

    @numba.njit
    def odd(n):
        return n != 0 and even(n - 1)

    assert stamp(even) == stamp(even) != stamp(odd)
    assert stamp(object()) is None
