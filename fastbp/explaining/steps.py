"""One or more steps of gradient descent, with every number and its formula."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastbp import reference as ref
from fastbp.explaining.entries import UPHILL, Entry, entries_of, numbers
from fastbp.explaining.passage import Passage, go
from fastbp.explaining.problem import Problem

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A problem and every number of its steps.

    Attributes
    ----------
    problem : Problem
    lr : float                            Learning rate.
    sign : str                            "uphill" or "downhill": what delta is, a key of `SIGNS`.
    passages : list of Passage            The numbers of each step; delta is uphill here, whatever the sign.
    steps : list of list of Entry         What is shown of them.
    """

    problem: Problem
    lr: float
    sign: str
    passages: list[Passage]
    steps: list[list[Entry]]

    @property
    def layers(self) -> list[ref.Layer]:
        """The network after the last step."""
        return self.passages[-1].updated


def explain(problem: Problem, lr: float, steps: int = 1, sign: str = UPHILL) -> Explanation:
    """Explain one or more steps of gradient descent on the rows.

    Raises
    ------
    OverflowError
        A number grows beyond what a float can hold.

    >>> layers, x, y = ref.example()
    >>> explanation = explain(Problem(layers, [x], [y]), lr=0.5, steps=2)
    >>> [round(passage.loss, 4) for passage in explanation.passages]
    [0.1081, 0.1043]
    """
    layers, passages, taken = problem.layers, [], []
    for _ in range(steps):
        passage = go(problem, layers, lr)
        entries = entries_of(problem, passage, lr, sign)
        if not all(math.isfinite(v) for entry in entries for v in numbers(entry.value)):
            raise OverflowError("the numbers grow beyond what a float can hold")
        passages.append(passage)
        taken.append(entries)
        layers = passage.updated
    return Explanation(problem, lr, sign, passages, taken)
