"""Checks of parameters: what came, what was expected, in which argument.

A message has one line of bounded length, whatever came.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable

import numpy as np

from fastbp.spellings import did_you_mean

__all__ = [
    "check_choice",
    "check_count",
    "check_number",
    "check_plain",
    "check_threads",
    "one_line",
    "parse_call",
    "shown",
]

_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*")
# NumPy registers its durations as integers.
_NO_NUMBER = (bool, np.bool_, np.timedelta64)


def shown(value: object, width: int = 80) -> str:
    """Return `repr(value)` for a message: in one line, of at most `width` characters.

    >>> shown(10**100, 20)
    '10000000000000000...'
    """
    try:
        text = repr(value)
    except (
        Exception
    ):  # an integer of more digits than Python writes, or an object that cannot describe itself
        bits = f" of {value.bit_length()} bits" if isinstance(value, int) else ""
        text = f"<{type(value).__name__}{bits}>"
    return one_line(text, width)


def one_line(text: str, width: int) -> str:
    """Return a text in one line of at most `width` characters.

    >>> one_line("much\\n  text", 8)
    'much ...'
    """
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 3]}..."


def check_count(value: object, name: str, minimum: int = 1, maximum: int | None = 2**63 - 1) -> int:
    """Return `value` as an int in [minimum, maximum], or raise an error that names the argument.

    >>> check_count(3, "epochs")
    3
    """
    if type(value) is int and value >= minimum and (maximum is None or value <= maximum):
        return value
    if isinstance(value, _NO_NUMBER) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{name} must be an integer >= {minimum}, got {shown(value)} ({type(value).__name__})"
        )
    if int(value) < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {shown(value)}")
    if maximum is not None and int(value) > maximum:
        raise ValueError(f"{name} must be an integer <= {maximum}, got {shown(value)}")
    return int(value)


def check_number(
    value: object,
    name: str,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return `value` as a finite float in [low, high] (an end is excluded when `open_low` / `open_high`).

    >>> check_number(0.5, "rate", 0, 1, open_high=True)
    0.5
    """
    if (
        type(value) is float
        and (low < value < high or (value == low and not open_low))
        and math.isfinite(value)
    ):
        return value
    expected = f"a finite number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
    if isinstance(value, _NO_NUMBER) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {expected}, got {shown(value)} ({type(value).__name__})")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    too_low = number <= low if open_low else number < low
    too_high = number >= high if open_high else number > high
    if not math.isfinite(number) or too_low or too_high:
        raise ValueError(f"{name} must be {expected}, got {shown(value)}")
    return number


def check_threads(value: object, name: str = "n_threads") -> int | None:
    """Return how many threads are asked for, or None for all cores, which -1 stands for too, as in ``n_jobs``.

    >>> check_threads(2), check_threads(None), check_threads(-1)
    (2, None, None)
    """
    if value is None or (type(value) is int and value > 0):
        return value
    expected = f"{name} must be an integer >= 1, or None or -1 for all cores"
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{expected}, got {value!r} ({type(value).__name__})")
    if value == -1:
        return None
    if int(value) < 1:
        raise ValueError(f"{expected}, got {value!r}")
    return int(value)


def check_choice(value: object, name: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`; the error lists them and guesses what was meant.

    >>> check_choice("relu", "activation", ("relu", "tanh"))
    'relu'
    """
    known = tuple(choices)
    if isinstance(value, str) and value in known:
        return value
    guess = did_you_mean(value, known) if isinstance(value, str) else ""
    raise ValueError(f"{name} must be one of {', '.join(known)}; got {shown(value)}{guess}")


def check_plain(model: object, base: type, methods: Iterable[str]) -> None:
    """Refuse an object whose class has its own version of a method of `base`: an export would not have it.

    >>> check_plain("a", str, ["upper"])
    """
    for name in methods:
        if getattr(type(model), name, None) is not getattr(base, name, None) or name in getattr(
            model, "__dict__", {}
        ):
            kind = type(model).__name__
            raise TypeError(f"{kind} has its own {name}, which an export of a {base.__name__} would not have")


def parse_call(text: str, name: str) -> tuple[str, tuple[float, ...]]:
    """Read ``"name"`` or ``"name(1, 2)"``: a name and its numbers.

    >>> parse_call("uniform(-0.1, 0.1)", "initializer")
    ('uniform', (-0.1, 0.1))
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise ValueError(f"{name} must read like 'name' or 'name(0.5)', got {shown(text)}")
    word, inside = match.groups()
    try:
        values = tuple(float(part) for part in inside.split(",")) if inside and inside.strip() else ()
    except ValueError:
        raise ValueError(f"{name}: the arguments in {shown(text)} must be numbers") from None
    return word, values
