"""What can be chosen on a page: the options of every field, and the link that holds the choices.

A choice is one of a few strings. So a link, or a message that no widget of ours has sent, can ask for nothing that
takes long or does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from fastbp.optimizers import SGD, Adagrad, Adam, Optimizer, RMSProp
from fastbp.validation import shown

__all__ = [
    "BATCH_SIZES",
    "OPTIMIZERS",
    "RATES",
    "SEEDS",
    "Field",
    "batch_size",
    "checked",
    "link",
    "read_link",
]

OPTIMIZERS: dict[str, Callable[[float], Optimizer]] = {
    "SGD": lambda rate: SGD(rate),
    "momentum": lambda rate: SGD(rate, momentum=0.9),
    "Adagrad": lambda rate: Adagrad(rate),
    "RMSProp": lambda rate: RMSProp(rate),
    "Adam": lambda rate: Adam(rate),
}
"""The optimizers that are shown side by side, of a learning rate."""

# The preferred numbers of IEC 60063, 24 a decade: neighbors differ by a tenth.
STEPS = (
    "1.0 1.1 1.2 1.3 1.5 1.6 1.8 2.0 2.2 2.4 2.7 3.0 3.3 3.6 3.9 4.3 4.7 5.1 5.6 6.2 6.8 7.5 8.2 9.1".split()
)
RATES = (*(f"{float(f'{step}e{power}'):g}" for power in range(-4, 1) for step in STEPS), "10")
"""Learning rates."""

BATCH_SIZES = {
    "all rows (batch)": None,
    "100": 100,
    "32": 32,
    "10 (mini-batch)": 10,
    "3": 3,
    "1 (stochastic)": 1,
}
"""Rows per step; None is all of them."""

SEEDS = tuple(map(str, range(100)))


@dataclass(frozen=True, slots=True)
class Field:
    """Something that can be chosen.

    Parameters
    ----------
    title : str
    options : tuple of str
    default : str         One of them.
    """

    title: str
    options: tuple[str, ...]
    default: str


def batch_size(option: str, rows: int) -> int:
    """Return the rows per step of an option of `BATCH_SIZES`, at most `rows`.

    >>> batch_size("all rows (batch)", 140), batch_size("32", 20)
    (140, 20)
    """
    return min(BATCH_SIZES[option] or rows, rows)


def checked(fields: Mapping[str, Field], values: Mapping[str, str]) -> dict[str, str]:
    """Return a value for every field: that of `values`, or the default.

    Raises
    ------
    ValueError         There is no such field, or it has no such option.

    >>> checked({"seed": Field("seed", SEEDS, "0")}, {"seed": "7"})
    {'seed': '7'}
    """
    for name, value in values.items():
        if name not in fields:
            raise ValueError(f"there is no field {shown(name)}; there are {', '.join(fields)}")
        if value not in fields[name].options:
            raise ValueError(f"{fields[name].title} cannot be {shown(value)}")
    return {name: values.get(name, field.default) for name, field in fields.items()}


def link(tab: str, fields: Mapping[str, Field], values: Mapping[str, str]) -> str:
    """Return the query string that opens a tab with these values; those by default are left out.

    >>> link("learning", {"seed": Field("seed", SEEDS, "0")}, {"seed": "7"})
    '?tab=learning&seed=7'
    """
    changed = {name: values[name] for name, field in fields.items() if values[name] != field.default}
    return f"?{urlencode({'tab': tab, **changed})}"


def read_link(
    tab: str, fields: Mapping[str, Field], arguments: Mapping[str, Sequence[bytes]]
) -> tuple[dict[str, str], list[str]]:
    """Return the values in a query string, and what is wrong with those that are left out.

    Parameters
    ----------
    tab : str                               Links to other tabs say nothing of this one.
    fields : dict of str to Field
    arguments : dict of str to list         As the server has read them.

    >>> fields = {"seed": Field("seed", SEEDS, "0")}
    >>> read_link("learning", fields, {"tab": [b"learning"], "seed": [b"-1"]})
    ({'seed': '0'}, ["seed cannot be '-1'"])
    """
    given = {name: values[-1].decode("utf-8", "replace") for name, values in arguments.items() if values}
    values: dict[str, str] = {}
    faults: list[str] = []
    if given.pop("tab", tab) == tab:
        for name, value in given.items():
            try:
                values |= {name: checked(fields, {name: value})[name]}
            except ValueError as error:
                faults.append(str(error))
    return checked(fields, values), faults[:3]
