"""What the documentation says of activations, losses and optimizers: tables and lists made of their entries.

docs/conf.py writes them when the site is built: `names.inc` has a substitution for each list, the tables are included
by docs/reference/entries.rst, and `optimizers.rst` by docs/reference/index.rst.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from fastbp import initializers, optimizers, reference
from fastbp.estimators.choices import SKLEARN, beyond_sklearn
from fastbp.spellings import Spelling
from fastbp.spellings.activations import ACTIVATIONS
from fastbp.spellings.losses import LOSSES
from fastbp.spellings.optimizers import OPTIMIZERS

SPELLED = ("PyTorch", "Keras", "scikit-learn", "Also")


def code(text: object) -> str:
    """Return a text as code, nothing as nothing."""
    return f"``{text}``" if text else ""


def listed(names: Iterable[str]) -> str:
    """Return names as a list within a sentence."""
    return ", ".join(map(code, names))


def spelled(row: Spelling) -> list[str]:
    """Return the cells of what other libraries call an entry."""
    return [code(row.torch), code(row.keras), code(row.sklearn), listed(row.synonyms)]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table as reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (head, *rows):
        for k, cell in enumerate(row):
            lines.append(f"   {'* -' if k == 0 else '  -'} {cell}".rstrip())
    return "\n".join(lines) + "\n"


def activations_table() -> str:
    """Return every activation: its formula, its derivative, where it is from, and its names elsewhere."""
    return table(
        ("Name", "f(z)", "f'(z)", "Source", *SPELLED),
        (
            [
                code(name),
                code(entry.formula),
                code(entry.derivative),
                entry.source,
                *spelled(ACTIVATIONS[name]),
            ]
            for name, entry in reference.ACTIVATIONS.items()
        ),
    )


def losses_table() -> str:
    """Return every loss: what it is for one output, what it takes, and its names elsewhere."""
    rows = []
    for name, entry in reference.LOSSES.items():
        parameter, (low, high) = entry.parameter, entry.targets
        call = f"{name}({parameter.symbol})" if parameter else name
        default = f", {parameter.symbol} = {parameter.default:g} if not given" if parameter else ""
        known = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and more"
        rows.append(
            [
                code(call),
                code(entry.formula) + default,
                "sum" if entry.summed else "mean",
                known if math.isfinite(low) else "any",
                entry.activation.replace("identity", ""),
                entry.source,
                *spelled(LOSSES[name]),
            ]
        )
    head = ("Name", "Of an output z", "Over the outputs", "Targets y", "Prediction", "Source", *SPELLED)
    return table(head, rows)


def optimizers_table() -> str:
    """Return every optimizer: its class, its defaults, and its names elsewhere."""
    rows = []
    for name, kind in optimizers.OPTIMIZERS.items():
        first = (kind.__doc__ or "").partition("\n")[0]
        rows.append([code(name), code(kind()), first, *spelled(OPTIMIZERS[name])])
    return table(("Name", "Class and defaults", "What it is", *SPELLED), rows)


def classes() -> str:
    """Return the optimizers' part of the reference, a page for each class."""
    names = (kind.__name__ for kind in optimizers.OPTIMIZERS.values())
    # From here the pages go to docs/reference/generated, where those of the other classes are.
    head = ".. currentmodule:: fastbp\n\n.. autosummary::\n   :toctree: ../reference/generated\n   :nosignatures:\n\n"
    return head + "".join(f"   {name}\n" for name in names)


def names() -> str:
    """Return a substitution for each list that a page has within a sentence."""
    lists = {
        "activations": reference.ACTIVATIONS,
        "losses": reference.LOSSES,
        "initializers": initializers.INITIALIZER_NAMES,
        "optimizers": [kind.__name__ for kind in optimizers.OPTIMIZERS.values()],
        **{f"more {parameter}": beyond_sklearn(parameter) for parameter in SKLEARN},
    }
    return "".join(f".. |{key}| replace:: {listed(entries)}\n" for key, entries in lists.items())


def write(folder: Path) -> None:
    """Write what the pages include into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("names.inc", names()),
        ("activations.inc", activations_table()),
        ("losses.inc", losses_table()),
        ("optimizers.inc", optimizers_table()),
        ("optimizers.rst", classes()),
    ):
        (folder / name).write_text(text, encoding="utf-8")
