"""The fault of an input, in one line that says what and where, and the words of such lines."""

from __future__ import annotations

from collections.abc import Sequence

from fastbp.validation import one_line

LONGEST = 600  # characters of a message


class InputError(ValueError):
    """The input is at fault; the message is one line that says what and where."""

    def __init__(self, message: str) -> None:
        # Messages of other libraries are quoted in ours: they may have several lines, and hold whatever the file does.
        super().__init__(one_line(message, LONGEST))


def quoted(text: object) -> str:
    """Quote a name or a cell for a message, on one line and not longer than a line should be.

    >>> quoted("a" * 50)
    '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."'
    """
    line = " ".join(str(text).split())
    return f'"{line[:37]}..."' if len(line) > 40 else f'"{line}"'


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Names for a message: the first few, and how many more there are.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    shown = ", ".join(" ".join(name.split()) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"
