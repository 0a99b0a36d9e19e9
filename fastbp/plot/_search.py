"""What a search over parameters has found, and what each candidate has cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.plot._candidates import BUDGETS, Candidates, Column, candidates
from fastbp.plot._style import COLORS, MARKERS, NEGATIVE, POSITIVE, Floats, number, own_or_new, seen_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

READABLE = 5.0
"""Points: names of candidates that would be smaller are left out."""


def search(
    fitted: Any,
    *,
    show: str = "scores",
    x: str = "auto",
    by: str | None = "auto",
    metric: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the scores of a search over its parameters, or how many epochs each candidate got.

    A point is a candidate: its score averaged over the folds, and a line of one standard deviation up
    and down. A hollow point was stopped early. If each line has all values of ``x``, it goes through
    the best candidate of each; candidates that differ in further parameters are small points. A star
    marks the best candidate.

    Parameters
    ----------
    fitted : fitted SearchCV, or fitted search of scikit-learn
        What it needs is ``cv_results_``.
    show : {"scores", "epochs"}
        "epochs" draws a bar for each candidate, the best first, with its score. Of scikit-learn's
        halving searches the bars show the resource, ``max_iter`` or ``n_samples``.
    x : str
        For scores: the parameter along the axis. "auto" takes the first that has numbers, or else the
        first. Numbers that span a factor of 20 get a logarithmic axis; what is no number stands in the
        order of the candidates.
    by : str or None
        For scores: the parameter whose values are told apart by color and marker. "auto" takes the
        first of the others that has at most six values. None tells none apart.
    metric : str, optional
        The scorer of a search that has several. Default: the one it refits by.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If the search has no ``cv_results_``: it is not fitted, or is something else.
    ValueError
        If x or by is none of the searched parameters, metric none of the scorers, no candidate has a
        score, or epochs are asked for that the search has not counted.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> from fastbp import plot
    >>> found = SimpleNamespace(best_index_=1, cv_results_={
    ...     "params": [{"alpha": 0.01}, {"alpha": 0.1}, {"alpha": 1.0}],
    ...     "mean_test_score": np.array([0.91, 0.94, 0.88]),
    ...     "std_test_score": np.array([0.01, 0.02, 0.01]),
    ...     "epochs": np.array([4, 12, 4]),
    ... })
    >>> ax = plot.search(found)
    >>> ax.get_xlabel(), ax.get_xscale()
    ('alpha', 'log')
    >>> ax = plot.search(found, show="epochs")
    >>> [int(bar.get_width()) for bar in ax.patches]
    [12, 4, 4]
    """
    if show not in ("scores", "epochs"):
        raise ValueError(f'show must be "scores" or "epochs", got {show!r}')
    found = candidates(fitted, metric)
    if show == "epochs":
        return _bars(ax, found)
    along, told = _axes_of(found, x, by)
    ax = own_or_new(ax, (6.4, 4.4))
    _points(ax, found, along, told)
    return ax


def _axes_of(found: Candidates, x: str, by: str | None) -> tuple[Column, Column | None]:
    """Return the parameter along the axis and the one told by color."""
    columns = {column.name: column for column in found.columns}
    if not columns:
        raise ValueError("the search has no parameters to draw")
    for given, what, own in ((x, "x", ("auto",)), (by, "by", ("auto", None))):
        if given not in own and given not in columns:
            raise ValueError(
                f"{what} must be one of the parameters that differ ({', '.join(columns)}), got {given!r}"
            )
    free = [column for column in found.columns if column.name != by]
    if x != "auto":
        along = columns[x]
    elif free:
        along = next((column for column in free if column.numbers), free[0])
    else:
        along = found.columns[0]
    if by != "auto":
        return along, None if by is None else columns[by]
    others = [column for column in found.columns if column is not along]
    return along, next((column for column in others if 1 < len(column.values) <= len(COLORS)), None)


def _points(ax: Axes, found: Candidates, along: Column, told: Column | None) -> None:
    place = _scale(ax, along)
    at = np.array([place(code) for code in along.codes])
    groups = np.zeros(len(at), dtype=int) if told is None else np.array(told.codes)
    n_groups = 1 if told is None else len(told.values)
    pairs = set(zip(along.codes, groups.tolist(), strict=True))
    lines = len(pairs) == len(along.values) * n_groups  # else points that were drawn at random
    # Beside each other, so that deviations at the same value do not hide each other.
    step = min(5.0, 20.0 / n_groups)
    shifts = [_shifted(ax, (group - (n_groups - 1) / 2) * step) for group in range(n_groups)]
    for group in range(n_groups):
        color = seen_on(ax, COLORS[group % len(COLORS)])
        mine = np.flatnonzero((groups == group) & np.isfinite(found.scores))
        shift = shifts[group]
        tops = _tops(mine, at, found) if lines else mine
        if lines and len(tops) > 1:
            ax.plot(at[tops], found.scores[tops], color=color, linewidth=1.4, alpha=0.6, transform=shift)
        low, high = (found.scores[tops] + sign * found.spread[tops] for sign in (-1, 1))
        ax.vlines(at[tops], low, high, color=color, linewidth=1.2, alpha=0.5, transform=shift)
        style: dict[str, Any] = {"color": color, "marker": MARKERS[group % len(MARKERS)], "linestyle": "none"}
        rest = np.setdiff1d(mine, tops)
        ax.plot(at[rest], found.scores[rest], markersize=3, alpha=0.5, transform=shift, **style)
        for part, fill in ((~found.stopped, color), (found.stopped, ax.get_facecolor())):
            some = tops[part[tops]]
            ax.plot(
                at[some],
                found.scores[some],
                markersize=6.5,
                markerfacecolor=fill,
                transform=shift,
                label=None if told is None or fill is not color else told.text(group),
                **style,
            )
    # What is drawn by a moved transform does not count for the limits.
    ax.update_datalim(np.stack([at, at], axis=1), updatey=False)
    for sign in (-1, 1):
        ends = np.stack([at, found.scores + sign * found.spread], axis=1)
        ax.update_datalim(ends[np.isfinite(ends).all(axis=1)])
    ax.autoscale_view()
    if np.isfinite(found.scores[found.best]):
        ax.plot(
            at[[found.best]],
            found.scores[[found.best]],
            "*",
            color=seen_on(ax, COLORS[groups[found.best] % len(COLORS)]),
            markeredgecolor="white",
            markersize=16,
            zorder=5,
            transform=shifts[groups[found.best]],
            label=f"best, {number(found.scores[found.best])}",
        )
    _finish(ax, found, at, None if told is None else told.name)
    ax.set_xlabel(along.name)


def _tops(mine: Any, at: Floats, found: Candidates) -> Any:
    """Return the candidate with the highest score at each place, from left to right."""
    best: dict[float, int] = {}
    for row in sorted(mine.tolist(), key=lambda row: float(found.scores[row])):
        best[float(at[row])] = row
    return np.array([best[place] for place in sorted(best)], dtype=int)


def _shifted(ax: Axes, points: float) -> Any:
    """Return the transform of the data, moved to the right by some points of the paper."""
    from matplotlib.transforms import ScaledTranslation

    return ax.transData + ScaledTranslation(points / 72, 0, ax.figure.dpi_scale_trans)


def _scale(ax: Axes, along: Column) -> Callable[[int], float]:
    """Prepare the horizontal axis; return where the value of a code stands."""
    from matplotlib.ticker import NullLocator

    texts = [along.text(code) for code in range(len(along.values))]
    if not along.numbers:
        ax.set_xticks(range(len(texts)), texts, rotation=30 if max(map(len, texts)) > 12 else 0)
        ax.set_xlim(-0.5, len(texts) - 0.5)
        return float
    values = np.array([float(value) for value in along.values])
    if values[0] > 0 and values[-1] >= 20 * values[0]:
        ax.set_xscale("log")
    if len(values) <= 8:
        ax.set_xticks(values, texts)
        ax.xaxis.set_minor_locator(NullLocator())
    return lambda code: float(values[code])


def _finish(ax: Axes, found: Candidates, at: Floats, told: str | None) -> None:
    from matplotlib.lines import Line2D

    failed = ~np.isfinite(found.scores)
    if failed.any():
        ax.plot(
            at[failed],
            np.full(failed.sum(), 0.03),
            "x",
            color=seen_on(ax, "#7a2048"),
            transform=ax.get_xaxis_transform(),
            label=f"no score ({failed.sum()})",
        )
    handles, texts = ax.get_legend_handles_labels()
    if found.stopped.any():
        handles.append(Line2D([], [], color="0.5", marker="o", markerfacecolor="none", linestyle="none"))
        texts.append("stopped early")
    ax.legend(handles, texts, title=told, framealpha=0.9)
    ax.set_ylabel(found.score)
    ax.grid(True, alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


def _bars(ax: Axes | None, found: Candidates) -> Axes:
    if found.budget is None:
        raise ValueError(
            'show="epochs" needs a search that counts them, SearchCV or a halving search: '
            f"cv_results_ has none of {', '.join(BUDGETS)}"
        )
    count = len(found.scores)
    ax = own_or_new(ax, (7.2, min(max(2.4, 0.9 + 0.28 * count), 9.0)))
    # The best first, then those that came furthest; a candidate without a score is last among its like.
    scores = np.nan_to_num(found.scores, nan=-np.inf)
    order = np.lexsort((-scores, -found.budget, np.arange(count) != found.best))
    best, others = seen_on(ax, NEGATIVE), seen_on(ax, POSITIVE)
    size = min(9.0, 0.75 * ax.get_window_extent().height * 72 / ax.figure.dpi / count)
    ax.barh(
        range(count),
        found.budget[order],
        height=0.75 if size >= READABLE else 1.0,
        color=[best if row == found.best else others for row in order],
    )
    if size >= READABLE:
        ax.set_yticks(range(count), [_name(found, row) for row in order], fontsize=size)
        for place, row in enumerate(order):
            score = number(found.scores[row]) if np.isfinite(found.scores[row]) else "no score"
            ax.annotate(
                score,
                (float(found.budget[row]), place),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=min(size, 8.0),
            )
        ax.margins(x=0.12)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{count} candidates, the best first")
    ax.set_ylim(count - 0.4, -0.6)
    ax.set_xlabel(found.unit)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _name(found: Candidates, row: int) -> str:
    """Name a candidate by the parameters that differ, those of a pipeline without the steps before them."""
    return ", ".join(
        f"{column.name.rpartition('__')[2]} {column.text(column.codes[row])}" for column in found.columns
    )
