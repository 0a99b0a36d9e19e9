"""Pictures of a results file: every peer in every workload, and the roofline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from bench.peers.registry import OURS, PEAK
from bench.peers.workloads import WORKLOADS
from bench.report.tables import Results, bandwidths, cases, compare, conditions, measured, number

OURS_COLOR, PEER_COLOR, INK = "#c2410c", "#94a3b8", "#334155"


def _save(figure: Figure, path: Path) -> None:
    with matplotlib.rc_context({"svg.hashsalt": "fastbp", "svg.fonttype": "none"}):
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def draw(results: Results, folder: Path) -> dict[str, str]:
    """Draw what the results allow; return the names of the files and what each shows."""
    drawn = {}
    if conditions(results, "training"):
        peers_chart(results, folder / "peers.svg")
        drawn["peers.svg"] = "Training throughput of every peer in every workload"
    if (1, "float32") in conditions(results, "training"):
        roofline(results, folder / "roofline.svg")
        drawn["roofline.svg"] = "FLOP/s against FLOPs per byte"
    return drawn


def peers_chart(results: Results, path: Path) -> None:
    """One row of panels per (threads, dtype), one panel per workload, one bar per peer; the line is the FMA peak.

    Raises
    ------
    ValueError
        When the file holds no training results.
    """
    rows = conditions(results, "training")
    if not rows:
        raise ValueError("no training results to draw")
    columns = max(len(list(cases(results, "training", *row))) for row in rows)
    figure = Figure(figsize=(3.6 * columns, 3.5 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False, sharex="col")
    for line, (threads, dtype) in zip(axes, rows, strict=True):
        found = list(cases(results, "training", threads, dtype))
        for ax, case in zip(line, found, strict=False):
            _bars(ax, case)
        line[0].set_ylabel(f"{threads} thread{'s' * (threads > 1)}, {dtype}", color=INK)
        for ax in line[len(found) :]:
            ax.set_axis_off()
    if columns > 2:
        figure.suptitle(
            "Training throughput, samples per second (median; whiskers: slowest and fastest run)", color=INK
        )
    _save(figure, path)


def _bars(ax: Any, case: dict[str, Any]) -> None:
    rates = measured(case)
    peak = rates.pop(PEAK.name, np.nan)
    names = sorted(rates, key=lambda name: rates[name])
    values = np.array([rates[name] for name in names])
    low = np.array([case["peers"][name]["low"] for name in names])
    high = np.array([case["peers"][name]["high"] for name in names])
    colors = [OURS_COLOR if name == OURS else PEER_COLOR for name in names]
    ax.barh(
        names,
        values,
        color=colors,
        xerr=[values - low, high - values],
        ecolor=INK,
        error_kw={"linewidth": 0.8},
    )
    limit = peak / WORKLOADS[case["name"]].flops_per_sample
    if np.isfinite(limit) and limit < 4 * values.max(initial=0):
        ax.axvline(limit, color=INK, linewidth=1, linestyle="--")
        ax.text(limit, 0, " FMA peak", rotation=90, va="bottom", ha="right", fontsize=7, color=INK)
    for place, (value, end) in enumerate(zip(values, high, strict=True)):
        ax.annotate(
            number(value), (end, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7
        )
    ax.set_title(case["name"], fontsize=10, color=INK)
    ax.tick_params(labelsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(lambda value, _: number(value))
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.18)


def roofline(results: Results, path: Path) -> None:
    """FLOP/s against FLOPs per byte on one thread, float32: fastbp and the best peer under the machine's limits.

    Intensity counts the bytes that a step must move at least (`Workload.bytes_per_step`); the slopes are the
    measured read bandwidths of one core, so a point above a slope keeps its data in the faster level.
    """
    found = list(cases(results, "training", 1, "float32"))
    if not found:
        raise ValueError("no one-thread float32 training results to draw")
    figure = Figure(figsize=(8.5, 5.4), layout="constrained")
    ax = figure.subplots()
    intensity = np.logspace(-1.5, 2.5, 200)
    peak = float(np.nanmedian([compare(case).peak for case in found]))
    for at, (name, rate) in zip((0.05, 0.12, 0.3), bandwidths(results).items(), strict=False):
        ax.plot(intensity, np.fmin(peak, rate * intensity) / 1e9, color=PEER_COLOR, linewidth=1)
        ax.annotate(
            f"{name} {rate / 1e9:.0f} GB/s",
            (at, rate * at / 1e9),
            fontsize=8,
            color=INK,
            ha="left",
            va="bottom",
        )
    if np.isfinite(peak):
        ax.axhline(peak / 1e9, color=INK, linewidth=1, linestyle="--")
        ax.annotate(
            f"FMA peak {peak / 1e9:.0f} GFLOP/s",
            (intensity[-1], peak / 1e9),
            ha="right",
            va="bottom",
            fontsize=8,
        )
    for case in found:
        c, w = compare(case), WORKLOADS[case["name"]]
        x = w.flops_per_sample * w.batch_size / w.bytes_per_step()
        ours, best = c.ours * c.flops / 1e9, c.best * c.flops / 1e9
        drawn = [rate for rate in (ours, best) if np.isfinite(rate)]
        if not drawn:
            continue
        ax.plot([x, x], [best, ours], color=PEER_COLOR, linewidth=1, zorder=1)
        ax.scatter([x], [best], color="white", edgecolor=INK, zorder=2, s=28)
        ax.scatter([x], [ours], color=OURS_COLOR, zorder=3, s=36)
        ax.annotate(
            w.name,
            (x, min(drawn)),
            xytext=(0, -14),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    ax.scatter([], [], color=OURS_COLOR, label="fastbp")
    ax.scatter([], [], color="white", edgecolor=INK, label="best peer")
    ax.legend(frameon=False, loc="lower right")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="FLOPs per byte a step must move",
        ylabel="GFLOP/s, one core, float32",
    )
    ax.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def sizes_chart(sizes: dict[str, Any], path: Path) -> None:
    """Samples per second of small nets over their parameters, both ways that `fit_many` has; its choice is filled."""
    figure = Figure(figsize=(8.5, 8.6), layout="constrained")
    titles = {"short": "5 epochs of 200 rows each", "long": "10 epochs of 2000 rows each"}
    for ax, (kind, title) in zip(figure.subplots(2, sharey=True), titles.items(), strict=True):
        rows = [row for row in sizes["rows"] if row["fit"] == kind]
        _sizes(ax, rows, sizes["peak"])
        ax.set_title(title, loc="left", fontsize=10)
    _save(figure, path)


def _sizes(ax: Any, rows: list[dict[str, Any]], peak: float) -> None:
    at = [row["parameters"] for row in rows]
    for way, label, color in (
        ("per_lane", "a model per lane", OURS_COLOR),
        ("one_by_one", "one by one", PEER_COLOR),
    ):
        rates = [row[way] / 1e6 for row in rows]
        chosen = [color if row["chosen"] == way else "white" for row in rows]
        ax.plot(at, rates, color=color, linewidth=1.5, label=label, zorder=1)
        ax.scatter(at, rates, color=chosen, edgecolor=color, zorder=2, s=30)
    limits = [peak / row["flops_per_row"] / 1e6 for row in rows]
    ax.plot(at, limits, color=INK, linewidth=1, linestyle="--", label="FMA peak of one core")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="parameters of a model",
        ylabel="million samples per second, one thread",
    )
    ax.set_xticks(
        at, [f"{row['units'] // 2}-{row['units']}-1\n{row['parameters']}" for row in rows], fontsize=8
    )
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend(frameon=False)
