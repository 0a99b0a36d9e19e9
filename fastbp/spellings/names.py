"""What a name means that a user types: our own, one of another library, one in other case, or a slip."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Call", "Names", "Spelling", "did_you_mean", "plain", "with_names"]

LONGEST = 40  # letters of a word that may be a slip


class Call(NamedTuple):
    """A class or function of another library, with the arguments that make it the same as ours.

    >>> str(Call("GELU", {"approximate": "none"}))
    "GELU(approximate='none')"
    """

    name: str
    arguments: Mapping[str, Any] = {}

    def __str__(self) -> str:
        """Return it as it is written in a program; without arguments the name alone."""
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.name}({arguments})" if arguments else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How other libraries spell one entry. Only what gives the same numbers counts.

    Attributes
    ----------
    torch, keras : Call or None
        The class in `torch.nn` or `torch.optim`; the name that Keras takes. None: it has none.
    sklearn : str or None
        The value of the estimators' parameter.
    synonyms : tuple of str
        Other names of the same thing.
    """

    torch: Call | None = None
    keras: Call | None = None
    sklearn: str | None = None
    synonyms: tuple[str, ...] = ()

    def words(self) -> Iterator[str]:
        """All of these names."""
        for call in (self.torch, self.keras):
            if call:
                yield call.name
        if self.sklearn:
            yield self.sklearn
        yield from self.synonyms


class Names:
    """The names of one kind of entry.

    Parameters
    ----------
    rows : mapping of str to Spelling
        By our own name.
    strangers : mapping of str to str
        What the field calls something that is not here, or that is not the same; each with the advice that an error
        gives, or "". They are never taken for slips.

    >>> names = Names({"silu": Spelling(synonyms=("swish",))}, {"relu6": ""})
    >>> names.find("Swish"), names.find("relu6")
    ('silu', None)
    """

    def __init__(self, rows: Mapping[str, Spelling], strangers: Mapping[str, str]) -> None:
        self.rows = dict(rows)
        self._known: dict[str, str] = {}
        for name, row in self.rows.items():
            for word in (name, *row.words()):
                other = self._known.setdefault(plain(word), name)
                if other != name:
                    raise ValueError(f"{word!r} is spelled for {other!r} and for {name!r}")
        self._strangers = {plain(word): advice for word, advice in strangers.items()}
        if both := self._known.keys() & self._strangers:
            raise ValueError(f"known and a stranger: {', '.join(both)}")

    def find(self, word: str) -> str | None:
        """Return our name of what a word means, None if it means nothing: exact names first, then any spelling."""
        return word if word in self.rows else self._known.get(plain(word))

    def check(self, value: object, argument: str) -> str:
        """Return our name of what a value means.

        Parameters
        ----------
        value : object
            What the user gave.
        argument : str
            How the message calls it.

        Raises
        ------
        ValueError
            It is none of them. The message lists them and says what may have been meant.

        >>> Names({"silu": Spelling(synonyms=("swish",))}, {}).check("swihs", "activation")
        Traceback (most recent call last):
        ...
        ValueError: activation must be one of silu; got 'swihs' (did you mean 'swish', here 'silu'?)
        """
        found = self.find(value) if isinstance(value, str) else None
        if found is not None:
            return found
        known = sorted(self.rows)
        raise ValueError(
            f"{argument} must be one of {', '.join(known)}; got {value!r:.80}{self.advice(value)}"
        )

    def advice(self, value: object, here: Mapping[str, str] | None = None) -> str:
        """Return what an error says behind a value that means nothing, "" if there is nothing to say.

        Parameters
        ----------
        value : object
            What the user gave.
        here : mapping of str to str, optional
            What the entries are called in this place, by our name, if it is not all of them or not so.
        """
        if not isinstance(value, str):
            return ""
        stranger = self._strangers.get(plain(value))
        if stranger is not None:
            return f": {stranger}" if stranger else ""
        choices: dict[str, str] = {}
        for ours, name in (here or {name: name for name in self.rows}).items():
            words = self.rows[ours].words() if ours in self.rows else ()
            choices |= dict.fromkeys((name, ours, *words), name)
        return did_you_mean(value, choices)


def plain(word: str) -> str:
    """Return a word without case and without what joins its parts: LeakyReLU and leaky-relu are leaky_relu.

    >>> plain("Leaky_ReLU")
    'leakyrelu'
    """
    return word.casefold().replace("_", "").replace("-", "").replace(" ", "")


def with_names(doc: str | None, lists: Mapping[str, Iterable[str]]) -> str | None:
    """Return a docstring with names in place of each line that is the key of a list in braces.

    >>> with_names("One of\\n    {activations}", {"activations": ["relu", "tanh"]})
    'One of\\n    "relu", "tanh".'
    """
    if doc is None:
        return None
    lines = doc.split("\n")
    for k, line in enumerate(lines):
        word = line.strip()
        if word[:1] == "{" and word[1:-1] in lists:
            indent = line[: len(line) - len(line.lstrip())]
            text = ", ".join(f'"{name}"' for name in lists[word[1:-1]])
            lines[k] = textwrap.fill(f"{text}.", 110, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)


def did_you_mean(word: str, choices: Mapping[str, str] | Iterable[str]) -> str:
    """Return the question whether a near choice was meant, with a space before it; "" if none is near.

    Near is one slip: a letter too many, too few or wrong, or two letters in the wrong order; in words of eight
    letters and more it may be two. Near is also what begins so, from four letters on.

    Parameters
    ----------
    word : str
        What the user gave.
    choices : mapping of str to str, or iterable of str
        What might have been meant, and the name of each here.

    >>> did_you_mean("rleu", ["relu", "elu", "tanh"]), did_you_mean("leaky", ["relu", "leaky_relu"])
    (" (did you mean 'relu'?)", " (did you mean 'leaky_relu'?)")
    """
    names = dict(choices) if isinstance(choices, Mapping) else {choice: choice for choice in choices}
    typed = plain(word)
    if not 3 <= len(typed) <= LONGEST:
        return ""
    slips = {choice: _slips(typed, plain(choice)) for choice in names}
    least = min(slips.values(), default=LONGEST)
    if least <= (1 if len(typed) < 8 else 2):
        near = [choice for choice in names if slips[choice] == least]
    else:
        near = [choice for choice in names if len(typed) > 3 and plain(choice).startswith(typed)]
    spelled: dict[str, str] = {}  # of several spellings of one entry the first: our own comes first
    for choice in near:
        spelled.setdefault(names[choice], choice)
    asked = [
        repr(choice) if choice == name else f"{choice!r}, here {name!r}" for name, choice in spelled.items()
    ]
    return f" (did you mean {' or '.join(asked)}?)" if asked else ""


def _slips(a: str, b: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbors that lead from a to b (Damerau, 1964)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(b, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other)))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                row[j] = min(row[j], earlier[j - 2] + 1)
    return row[-1]
