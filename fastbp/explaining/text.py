"""An explanation as lines of text, for a terminal or any other place of a known width."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from dataclasses import dataclass
from typing import Self

from fastbp import reference as ref
from fastbp.explaining.entries import SHOWN, SIGNS, Entry, short
from fastbp.explaining.problem import Problem
from fastbp.explaining.steps import Explanation

__all__ = ["Page", "layout", "verdict"]

PARTS = {
    "forward": "Forward: from the inputs to y_hat",
    "error": "Error",
    "backward": "Backward: the error of every unit",
    "update": "Update: a step downhill",
}


@dataclass(frozen=True, slots=True)
class Page:
    """Where the lines go.

    Attributes
    ----------
    width : int        Characters in a line, at least 60.
    styled : bool      Whether bold and dim can be shown.
    """

    width: int = 80
    styled: bool = False

    @classmethod
    def of_terminal(cls) -> Self:
        """Return the page of standard output: styled on a terminal that wants it (https://no-color.org)."""
        plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return cls(max(60, shutil.get_terminal_size().columns), not plain)

    def bold(self, text: str) -> str:
        """Return the text as a heading."""
        return f"\033[1m{text}\033[0m" if self.styled else text

    def dim(self, text: str) -> str:
        """Return the text as a remark."""
        return f"\033[2m{text}\033[0m" if self.styled else text


def layout(explanation: Explanation, page: Page) -> list[str]:
    """Lines of text: the problem, every quantity of every step, and the loss before and after.

    Parameters
    ----------
    explanation : Explanation
    page : Page
    """
    problem, steps, width = explanation.problem, explanation.steps, page.width
    shape = " -> ".join(
        [f"{problem.sizes[0]} input" + "s" * (problem.sizes[0] > 1)]
        + [f"{n} {layer.activation}" for n, layer in zip(problem.sizes[1:], problem.layers, strict=True)]
    )
    title = f"Backpropagation, step by step: {shape}"
    lines = [*map(page.bold, _wrapped(title, width)), ""]
    given = [problem.source, f"learning rate lr = {short(explanation.lr)}"]
    if problem.objective.name != "half_squared_error":
        given.insert(1, f"loss {problem.objective.name}")
    if not problem.is_sample:
        given.append(f"a batch of {len(problem.x)} rows")
    lines += _wrapped("; ".join(given) + ".", width)
    for note in problem.notes:
        lines += _wrapped(note, width)
    lines.append("")
    for name, rows in (("x", problem.x), ("y", problem.y)):
        lines += [f"{name} = {_row(rows[0])}"] if problem.is_sample else _matrix(f"{name} = ", rows, width)
    for depth, layer in enumerate(problem.layers):
        lines += _matrix(f"W({depth}->{depth + 1}) = ", layer.W, width)
        if layer.b:
            lines.append(f"b({depth + 1}) = {_row(layer.b)}")
    lines += [
        "",
        *_wrapped(
            "W[i,j] is the weight from unit i to unit j; W' is W transposed, f' the derivative of f.",
            width,
        ),
    ]
    for number, entries in enumerate(steps, start=1):
        if len(steps) > 1:
            lines += ["", page.bold(f"=== Step {number} of {len(steps)} ===")]
        part = ""
        for entry in entries:
            if entry.part != part:
                part = entry.part
                lines += ["", page.bold(PARTS[part])]
                if part == "backward" and number == 1:
                    lines += [page.dim(line) for line in _wrapped(SIGNS[explanation.sign], width)]
            sign = "<-" if part == "update" else "="
            first, *rest = _wrapped(f"  {entry.name} {sign} {entry.formula}", width, 6)
            lines += ["", first.replace(entry.name, page.bold(entry.name), 1), *rest, *_numbers(entry, width)]
    losses = [*(passage.loss for passage in explanation.passages), problem.loss(explanation.layers)]
    texts = [short(v) for v in losses]
    if len(texts) > 8:
        texts[4:-3] = ["..."]
    lines += ["", page.bold("Loss before and after"), "", *_wrapped("  " + " -> ".join(texts), width)]
    return lines


def verdict(problem: Problem, agreement: dict[str, float], same: bool, page: Page) -> list[str]:
    """Lines of text: whether the kernels agree, with the largest difference of each quantity given.

    Parameters
    ----------
    problem : Problem
    agreement : dict of str to float
        Quantity and difference.
    same : bool
        Whether that is agreement.
    page : Page
    """
    worst = max(agreement.values())
    lines = ["", page.bold("The same from the compiled kernels (fastbp.engine, float64)"), ""]
    lines += _wrapped("  " + ", ".join(agreement), page.width)
    lines += [
        f"  {'the same numbers' if same else 'NOT the same numbers'}, largest difference {worst:.1e}",
        "",
    ]
    if max(problem.sizes) > SHOWN:
        lines += ["Wide layers are shown in part; --json has every number."]
    return [*lines, page.dim("Shown with 5 digits, computed with all.")]


def _numbers(entry: Entry, width: int) -> list[str]:
    """The numbers of an entry, one a line, aligned; of a wide layer the first ones."""
    lines = entry.lines if len(entry.lines) <= 2 * SHOWN else entry.lines[: 2 * SHOWN]
    pad = max(len(left) for left, _ in lines)
    result = []
    for left, right in lines:
        text = f"    {left:<{pad}} = {right}"
        if len(text) > width and " = " in right:  # too long for the terminal: the result on a line of its own
            term, value = right.rsplit(" = ", 1)
            result += _wrapped(f"    {left:<{pad}} = {term}", width, pad + 7)
            text = " " * (pad + 5) + f"= {value}"
        result.append(text)
    if len(entry.lines) > len(lines):
        result.append(f"    ... and {len(entry.lines) - len(lines)} more")
    return result


def _matrix(head: str, W: ref.Matrix, width: int) -> list[str]:
    columns = min(
        SHOWN, (width - len(head) - 8) // 13
    )  # a number with five digits takes at most 11 characters
    rows = [[short(w) for w in row[:columns]] for row in W[:SHOWN]]
    pads = [max(map(len, column)) for column in zip(*rows, strict=True)]
    more = "  ..." if len(W[0]) > columns else ""
    lines = ["  ".join(text.rjust(pad) for text, pad in zip(row, pads, strict=True)) for row in rows]
    lines = [f"[ {line}{more} ]" for line in lines]
    if more or len(W) > SHOWN:
        lines.append(f"{len(W)} rows, {len(W[0])} columns")
    return [(head if i == 0 else " " * len(head)) + line for i, line in enumerate(lines)]


def _row(values: ref.Row) -> str:
    return (
        "[ "
        + "  ".join(short(v) for v in values[:SHOWN])
        + (f"  ... {len(values)} numbers" if len(values) > SHOWN else "")
        + " ]"
    )


def _wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    lead = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text,
        min(width, 100),
        subsequent_indent=" " * indent or lead,
        break_long_words=False,
        break_on_hyphens=False,
    )
