"""Successive halving: how many epochs candidates get before they are compared, and which of them go on."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_RUNGS = 3  # after 1/9, 1/3 and all of the epochs if a third goes on; earlier scores tell too little


def shares_of(n_candidates: int, max_iter: int, eta: float | None) -> list[float]:
    """Return the share of the epochs after each rung; the last is 1.

    A rung more only if one candidate is left at the end, and if its epochs are at least one.

    Parameters
    ----------
    n_candidates : int
    max_iter : int
        The most epochs of a candidate; 0 if epochs mean nothing to any of them.
    eta : float or None
        One in so many goes on. None: no halving.

    >>> shares_of(12, 200, 2.0), shares_of(3, 200, 2.0), shares_of(12, 200, None)
    ([0.25, 0.5, 1.0], [0.5, 1.0], [1.0])
    """
    count = 1
    while eta is not None and count < MOST_RUNGS and min(n_candidates, max_iter) >= eta**count:
        count += 1
    return [float(eta or 1.0) ** -k for k in reversed(range(count))]


def epochs_at(max_iter: int, share: float) -> int:
    """Return how many epochs a candidate has got after a rung.

    >>> epochs_at(60, 1 / 9), epochs_at(1, 1 / 3), epochs_at(60, 1.0)
    (7, 1, 60)
    """
    return max(1, round(max_iter * share))


def survivors(scores: Sequence[float], eta: float) -> list[int]:
    """Return the places of the best scores, one in `eta` of them, the best first; of equal ones the earlier.

    >>> survivors([0.5, float("nan"), 0.9, 0.9], eta=2.0)
    [2, 3]
    """
    ranked = sorted(range(len(scores)), key=lambda i: (math.isnan(scores[i]), -scores[i], i))
    return ranked[: math.ceil(len(scores) / eta)]
