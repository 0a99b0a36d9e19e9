"""Loss by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.arrays import to_real
from fastbp.plot._style import COLORS, MARKERS, Floats, check_labels, number, own_or_new, seen_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def loss_curve(
    *histories: Any,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
    x: str = "epoch",
    yscale: str = "auto",
) -> Axes:
    """Draw training and validation loss by epoch, of one run or several.

    Training is a solid line, validation a dashed one of the same color; a ring marks the lowest
    validation loss.

    Parameters
    ----------
    *histories : History, mapping, fitted estimator, or array of shape (epochs,)
        A History (``loss``, ``val_loss``), a mapping with these keys, an estimator with
        ``loss_curve_`` (and ``validation_loss_curve_``, if it has one), or plain losses.
    labels : sequence of str, optional
        One per history. Default "run 1", "run 2", ...
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.
    x : {"epoch", "seconds"}
        "seconds" needs ``epoch_seconds`` (seconds each epoch took) in every history.
    yscale : {"auto", "linear", "log"}
        "auto" takes log if all losses are positive and the greatest is 20 times the least.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If a history has no losses in any of the forms above.
    ValueError
        If there is no history, a history has no epoch, or an argument is not one of its choices.

    Examples
    --------
    >>> from fastbp import plot
    >>> run = {"loss": [1.0, 0.3, 0.1, 0.04], "val_loss": [1.1, 0.4, 0.2, 0.25]}
    >>> ax = plot.loss_curve(run)
    >>> ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()
    ('epoch', 'loss', 'log')
    """
    if not histories:
        raise ValueError("loss_curve needs at least one history")
    if x not in ("epoch", "seconds"):
        raise ValueError(f'x must be "epoch" or "seconds", got {x!r}')
    if yscale not in ("auto", "linear", "log"):
        raise ValueError(f'yscale must be "auto", "linear" or "log", got {yscale!r}')
    runs = [_losses(history, index) for index, history in enumerate(histories)]
    times = [
        _times(history, index, len(run[0]), x)
        for index, (history, run) in enumerate(zip(histories, runs, strict=True))
    ]
    named = labels is not None or len(runs) > 1
    names = (
        check_labels(labels, len(runs), "histories")
        if labels is not None
        else [f"run {i + 1}" for i in range(len(runs))]
    )

    ax = own_or_new(ax, (6.4, 4.4))
    for index, ((loss, val_loss), time) in enumerate(zip(runs, times, strict=True)):
        color = seen_on(ax, COLORS[index % len(COLORS)])
        marker = MARKERS[index % len(MARKERS)] if len(runs) > 1 or len(loss) == 1 else ""
        # Markers stand at other epochs in each run, so that runs which agree do not hide each other.
        every = max(1, len(loss) // 8)
        markevery = (index * every // max(1, len(runs)), every)
        style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 5, "markevery": markevery}
        ax.plot(time, loss, linewidth=1.8, label=names[index] if named else "train", **style)
        if val_loss is not None:
            ax.plot(
                time,
                val_loss,
                linewidth=1.8,
                linestyle=(0, (4, 1.5)),
                label=None if named else "validation",
                **style,
            )
            if np.isfinite(val_loss).any():
                best = int(np.nanargmin(val_loss))
                ring = None if named else f"lowest validation loss, epoch {best + 1}"
                ax.plot(
                    time[best : best + 1],
                    val_loss[best : best + 1],
                    "o",
                    markersize=9,
                    fillstyle="none",
                    markeredgecolor=color,
                    markeredgewidth=1.6,
                    label=ring,
                )
    _finish(ax, runs, x, yscale, named)
    return ax


def _finish(ax: Axes, runs: list[tuple[Floats, Floats | None]], x: str, yscale: str, named: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    curves = [curve for run in runs for curve in run if curve is not None]
    values = np.concatenate(curves)
    values = values[np.isfinite(values)]
    wide = values.size > 0 and values.min() > 0 and values.max() >= 20 * values.min()
    if yscale == "log" or (yscale == "auto" and wide):
        ax.set_yscale("log")
        if values.size and values.min() > 0:
            _plain_log_ticks(ax, float(values.max() / values.min()))
    elif values.size and values.min() >= 0 and values.min() < 0.5 * values.max():
        ax.set_ylim(bottom=0)
    ax.set_xlabel(x)
    ax.set_ylabel("loss")
    if x == "epoch":
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if max(map(len, curves)) == 1:
            ax.set_xlim(0.5, 1.5)
    ax.grid(True, alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    handles, texts = ax.get_legend_handles_labels()
    if named and any(val_loss is not None for _, val_loss in runs):
        gray = "0.5"
        handles += [
            Line2D([], [], color=gray, linewidth=1.8),
            Line2D([], [], color=gray, linewidth=1.8, linestyle=(0, (4, 1.5))),
            Line2D(
                [],
                [],
                color=gray,
                linestyle="none",
                marker="o",
                markersize=9,
                fillstyle="none",
                markeredgewidth=1.6,
            ),
        ]
        texts += ["train", "validation", "lowest validation loss"]
    if len(handles) > 1 or named:
        ax.legend(handles, texts, frameon=False)


def _plain_log_ticks(ax: Axes, ratio: float) -> None:
    """Label the axis 0.1, 0.2, 0.5, 1, ... instead of by powers of ten alone, if there is room."""
    from matplotlib.ticker import LogLocator, NullFormatter

    def text(value: float, _: float) -> str:
        return number(value)

    if ratio < 1e5:
        ax.yaxis.set_major_formatter(text)
    ax.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    if ratio < 300:
        ax.yaxis.set_minor_formatter(text)
    else:
        ax.yaxis.set_minor_formatter(NullFormatter())


def _field(history: Any, *names: str) -> Any:
    """First of ``names`` that the history holds, as an attribute or as a key; None if it has none."""
    source = getattr(history, "history", history)  # Keras keeps its dict there
    for name in names:
        found = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
        if found is not None:
            return found
    return None


def _losses(history: Any, index: int) -> tuple[Floats, Floats | None]:
    loss = _field(history, "loss", "loss_curve_")
    if (loss is None or isinstance(loss, str)) and hasattr(history, "loss_curve_"):
        loss = history.loss_curve_  # an estimator's `loss` is the name of its loss
    if loss is None and isinstance(history, (list, tuple, np.ndarray)):
        loss = history
    if loss is None:
        raise TypeError(
            f"history {index} is a {type(history).__name__} without losses: expected `loss` (attribute or key), "
            "`loss_curve_` of a fitted estimator, or a sequence of numbers"
        )
    loss = _curve(loss, f"loss of history {index}")
    val_loss = _field(history, "val_loss", "validation_loss_curve_")
    if val_loss is None or len(val_loss) == 0:
        return loss, None
    val_loss = _curve(val_loss, f"val_loss of history {index}")
    if len(val_loss) != len(loss):
        raise ValueError(
            f"history {index} has {len(loss)} training losses, but {len(val_loss)} of validation"
        )
    return loss, val_loss


def _curve(values: Any, what: str) -> Floats:
    curve = np.asarray(to_real(values, what), dtype=np.float64)
    if curve.ndim != 1 or curve.size == 0:
        raise ValueError(f"{what} must be one number per epoch, at least one, got shape {curve.shape}")
    return curve


def _times(history: Any, index: int, epochs: int, x: str) -> Floats:
    if x == "epoch":
        return np.arange(1.0, epochs + 1)
    seconds = _field(history, "epoch_seconds")
    if seconds is None:
        raise ValueError(f'x="seconds" needs epoch_seconds, which history {index} does not have')
    seconds = _curve(seconds, f"epoch_seconds of history {index}")
    if len(seconds) != epochs:
        raise ValueError(f"history {index} has {epochs} losses, but {len(seconds)} epoch_seconds")
    return np.asarray(np.cumsum(seconds))
