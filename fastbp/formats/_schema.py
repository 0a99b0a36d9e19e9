"""What a record that was read from a file must look like, said once and checked before anything is built from it.

A check is a function of a value and its name. It returns nothing, or raises a ValueError of one line: the name, what
was expected, what is there. Checks are put together: ``record({"epoch": integer(0), "slots": table(array("f"))})``.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from fastbp.validation import shown

__all__ = [
    "Check",
    "array",
    "flag",
    "integer",
    "items",
    "like",
    "number",
    "one_of",
    "optional",
    "record",
    "table",
    "text",
]

Check = Callable[[Any, str], None]


def record(fields: Mapping[str, Check], maybe: Mapping[str, Check] | None = None) -> Check:
    """Return the check of a dict with these fields, perhaps those of `maybe`, and no others.

    >>> record({"epoch": integer(0)})({"epoch": -1}, "training")
    Traceback (most recent call last):
    ValueError: training.epoch must be an integer >= 0, got -1
    """
    every = {**fields, **(maybe or {})}

    def check(value: Any, name: str) -> None:
        if not isinstance(value, dict):
            _refuse(name, "a record", value)
        for key in value:
            if key not in every:
                raise ValueError(f"{name} has the unknown entry {shown(key, 40)}")
        for key in fields:
            if key not in value:
                raise ValueError(f"{name} lacks the entry {key!r}")
        for key, content in value.items():
            every[key](content, f"{name}.{key}")

    return check


def table(of: Check) -> Check:
    """Return the check of a dict from text to what `of` checks.

    >>> table(text)({"unit": 3}, "metadata")
    Traceback (most recent call last):
    ValueError: metadata['unit'] must be text, got 3
    """

    def check(value: Any, name: str) -> None:
        if not isinstance(value, dict):
            _refuse(name, "a record", value)
        for key, content in value.items():
            text(key, f"the key {shown(key, 40)} of {name}")
            of(content, f"{name}[{shown(key, 40)}]")

    return check


def items(*of: Check) -> Check:
    """Return the check of a list of what `of` checks; of several checks, one per item.

    >>> items(text, flag)(["a"], "pair")
    Traceback (most recent call last):
    ValueError: pair must be a list of 2 items, got ['a']
    """

    def check(value: Any, name: str) -> None:
        if not isinstance(value, list):
            _refuse(name, "a list", value)
        if len(of) > 1 and len(value) != len(of):
            _refuse(name, f"a list of {len(of)} items", value)
        for i, content in enumerate(value):
            of[i if len(of) > 1 else 0](content, f"{name}[{i}]")

    return check


def optional(of: Check) -> Check:
    """Return the check of None or of what `of` checks.

    >>> optional(text)(None, "note")
    """

    def check(value: Any, name: str) -> None:
        if value is not None:
            of(value, name)

    return check


def one_of(*choices: Any) -> Check:
    """Return the check of a value that is one of these, and of its type.

    >>> one_of("float32", "float64")("object", "dtype")
    Traceback (most recent call last):
    ValueError: dtype must be 'float32' or 'float64', got 'object'
    """

    def check(value: Any, name: str) -> None:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            _refuse(name, " or ".join(map(repr, choices)), value)

    return check


def integer(low: int, high: int = 2**63 - 1) -> Check:
    """Return the check of an integer in [low, high].

    >>> integer(1)(2.0, "units")
    Traceback (most recent call last):
    ValueError: units must be an integer >= 1, got 2.0
    """

    def check(value: Any, name: str) -> None:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool | np.timedelta64)
        if not whole or value < low:
            _refuse(name, f"an integer >= {low}", value)
        if value > high:
            _refuse(name, f"an integer <= {high}", value)

    return check


def number(low: float = -math.inf, high: float = math.inf, *, finite: bool = False) -> Check:
    """Return the check of a real number in [low, high]; NaN passes, and infinity, unless it must be finite.

    >>> number(0.0, finite=True)(float("nan"), "seconds")
    Traceback (most recent call last):
    ValueError: seconds must be a finite number in [0, inf], got nan
    """

    def check(value: Any, name: str) -> None:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool | np.timedelta64)
        # The comparison with infinity refuses no integer, however large; float() would.
        outside = real and (value < low or value > high or (isinstance(value, int) and abs(value) > 2**1023))
        if not real or outside or (finite and not math.isfinite(value)):
            _refuse(name, f"a {'finite ' * finite}number in [{low:g}, {high:g}]", value)

    return check


def text(value: Any, name: str) -> None:
    """Check that a value is text.

    >>> text("mm", "unit")
    """
    if type(value) is not str:
        _refuse(name, "text", value)


def flag(value: Any, name: str) -> None:
    """Check that a value is True or False.

    >>> flag(True, "shuffle")
    """
    if type(value) is not bool:
        _refuse(name, "True or False", value)


def array(kinds: str, ndim: int | None = None) -> Check:
    """Return the check of an array whose dtype is of one of these kinds (NumPy's letters), with so many axes.

    >>> array("f", 1)(np.zeros((2, 2)), "b")
    Traceback (most recent call last):
    ValueError: b must be an array of kind f with 1 axes, got float64 (2, 2)
    """
    expected = f"an array of kind {kinds}" + ("" if ndim is None else f" with {ndim} axes")

    def check(value: Any, name: str) -> None:
        if (
            not isinstance(value, np.ndarray)
            or value.dtype.kind not in kinds
            or ndim not in (None, value.ndim)
        ):
            _refuse(name, expected, value)

    return check


def like(example: Any) -> Check:
    """Return the check of a value made like an example: the types, the keys, the dtypes, shapes and lengths.

    >>> like({"state": 1, "b": [np.zeros(2)]})({"state": 1, "b": [np.zeros(3)]}, "generator")
    Traceback (most recent call last):
    ValueError: generator.b[0] must be float64 (2,), got float64 (3,)
    """
    if isinstance(example, Mapping):
        return record({key: like(content) for key, content in example.items()})
    if type(example) in (list, tuple):
        checks = [like(content) for content in example]

        def check(value: Any, name: str) -> None:
            if type(value) is not type(example) or len(value) != len(checks):
                _refuse(name, f"a {type(example).__name__} of {len(checks)} items", value)
            for i, content in enumerate(value):
                checks[i](content, f"{name}[{i}]")

        return check

    def check_one(value: Any, name: str) -> None:
        if isinstance(example, np.ndarray):
            if (
                not isinstance(value, np.ndarray)
                or value.shape != example.shape
                or value.dtype != example.dtype
            ):
                _refuse(name, _found(example), value)
        elif type(value) is not type(example):
            _refuse(name, "None" if example is None else f"of type {type(example).__name__}", value)

    return check_one


def _refuse(name: str, expected: str, value: Any) -> NoReturn:
    raise ValueError(f"{name} must be {expected}, got {_found(value)}")


def _found(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else shown(value)
