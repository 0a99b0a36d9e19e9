"""Tables from a results file: what the terminal, the README, the documentation and the dashboard show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import chains, circumstances, machine
from bench.peers.circumstances import Results
from bench.peers.registry import OURS, PEAK, SUITES
from bench.peers.workloads import WORKLOADS

FORMAT = 1


def load(path: Path) -> Results:
    """Read a results file.

    Raises
    ------
    ValueError
        When the file is not one that `python -m bench.peers --json` wrote.
    """
    results: Results = json.loads(path.read_text())
    if results.get("format") != FORMAT:
        raise ValueError(f"{path}: format {results.get('format')!r}, expected {FORMAT}")
    return results


def save(results: Results, path: Path) -> None:
    """Write a results file, a line for each case: beside it first, so that an interrupted run leaves a whole file."""

    def line(part: Results, name: str) -> str:
        return f"{json.dumps(name)}: {json.dumps(part[name], sort_keys=True)}"

    cases = results["cases"]
    head = [line(results, name) for name in sorted(results) if name != "cases"]
    text = ",\n".join(line(cases, name) for name in sorted(cases))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    beside.write_text("{\n" + ",\n".join([*head, f'"cases": {{\n{text}\n}}']) + "\n}\n")
    beside.replace(path)


def publishable(path: Path) -> Results:
    """Read a results file that is to be shown to others.

    Raises
    ------
    ValueError
        When nothing was measured, some of it with --quick, whose figures mean nothing, or beside a slowed peer.
    """
    results = load(path)
    if held_back := circumstances.slowed(results):
        raise ValueError(f"{path}: a peer was slowed: {'; '.join(held_back)}")
    quick = [key for key, case in results["cases"].items() if case["quick"]]
    if quick or not results["cases"]:
        raise ValueError(
            f"{path}: " + (f"measured with --quick: {', '.join(quick)}" if quick else "no results")
        )
    return results


@dataclass(frozen=True, slots=True)
class Comparison:
    """fastbp beside the best of its peers in one case; NaN for what was not measured.

    `refused` says why there is no best peer though some were measured: another one, which might be the best, was slowed
    or had no clean run.
    """

    case: dict[str, Any]
    ours: float
    best: float
    best_name: str
    peak: float
    refused: str = ""

    @property
    def ratio(self) -> float:
        """Of fastbp's rate to the best peer's."""
        return self.ours / self.best

    @property
    def flops(self) -> float:
        """FLOPs per unit of the rate, NaN if there is no formula."""
        name = self.case["name"]
        if self.case["suite"] == "training":
            return float(WORKLOADS[name].flops_per_sample)
        if self.case["suite"] == "simplechains":
            return float(chains.flops_per_row(name))
        return np.nan

    def share(self, rate: float) -> float:
        """Share of the FMA peak, measured in the same run on as many cores, that a rate amounts to."""
        return rate * self.flops / self.peak


def measured(case: dict[str, Any]) -> dict[str, float]:
    """Name -> median rate of everything that was measured and agreed."""
    return {name: e["rate"] for name, e in case["peers"].items() if e["status"] == "ok" and "rate" in e}


def compare(case: dict[str, Any]) -> Comparison:
    """Pick the best peer of a case."""
    rates = measured(case)
    peak, ours = rates.get(PEAK.name, np.nan), rates.get(OURS, np.nan)
    rivals = {name: rate for name, rate in rates.items() if circumstances.is_rival(name)}
    best = max(rivals, key=lambda name: rivals[name]) if rivals else "none"
    if refused := circumstances.refusal(case):
        best = "refused"
    return Comparison(case, ours, rivals.get(best, np.nan), best, peak, refused)


def refusals(results: Results) -> list[str]:
    """A sentence for every case that allows no comparison."""
    return [
        f"{where(case)}: {sentence}"
        for suite in SUITES
        for case in cases(results, suite)
        if (sentence := circumstances.refusal(case))
    ]


def where(case: dict[str, Any]) -> str:
    """Name a case in a sentence."""
    return f"{case['suite']} {case['name']}, {case['threads']} thread{'s' * (case['threads'] > 1)}, {case['dtype']}"


@dataclass(frozen=True, slots=True)
class Table:
    """A title, a header and rows of text; the first column is left-aligned."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def markdown(self) -> str:
        """As GitHub shows it."""
        rule = "|".join(["---", *["--:"] * (len(self.header) - 1)])
        lines = ["| " + " | ".join(row) + " |" for row in (self.header, *self.rows)]
        return "\n".join([lines[0], f"|{rule}|", *lines[1:]])

    def text(self) -> str:
        """For the terminal."""
        widths = [max(len(row[k]) for row in (self.header, *self.rows)) for k in range(len(self.header))]
        lines = []
        for row in (self.header, *self.rows):
            cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            lines.append("  ".join((row[0].ljust(widths[0]), *cells)).rstrip())
        return "\n".join([self.title, *lines])

    def rst(self) -> str:
        """As a list-table."""
        lines = [f".. list-table:: {self.title}", "   :header-rows: 1", ""]
        for row in (self.header, *self.rows):
            lines += [f"   {'* ' if k == 0 else '  '}- {cell}" for k, cell in enumerate(row)]
        return "\n".join(lines)


def number(value: float, digits: int = 3) -> str:
    """Short for a rate: 875k, 1.22M; a dash for NaN."""
    if not np.isfinite(value):
        return "–"
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            value, suffix = value / factor, letter
            break
    else:
        suffix = ""
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:.{decimals}f}{suffix}"


def percent(value: float) -> str:
    """A share in whole percent."""
    return f"{value:.0%}" if np.isfinite(value) else "–"


def times(value: float) -> str:
    """A ratio, as 2.1x."""
    return f"{value:.2f}x" if np.isfinite(value) else "–"


def duration(seconds: float) -> str:
    """Seconds in the unit that fits."""
    if not np.isfinite(seconds):
        return "–"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def describe_network(name: str) -> str:
    """Sizes, batch and rule of a workload in a few words."""
    w = WORKLOADS[name]
    kind = "CE" if w.loss == "cross_entropy" else "MSE"
    rule = {"sgd": "SGD", "momentum": "momentum", "adam": "Adam"}[w.optimizer]
    return f"{'-'.join(map(str, w.sizes))} {w.activation} {kind}, batch {w.batch_size}, {rule}"


def cases(
    results: Results, suite: str, threads: int | None = None, dtype: str | None = None
) -> Iterator[dict[str, Any]]:
    """The cases of a suite in the order of the registry."""
    found = [c for c in results["cases"].values() if c["suite"] == suite]
    found = [c for c in found if threads in (None, c["threads"]) and dtype in (None, c["dtype"])]
    order = SUITES[suite].cases
    yield from sorted(found, key=lambda c: (c["dtype"], c["threads"], order.index(c["name"])))


def conditions(results: Results, suite: str) -> list[tuple[int, str]]:
    """The (threads, dtype) pairs for which a suite was run."""
    return sorted(
        {(c["threads"], c["dtype"]) for c in cases(results, suite)}, key=lambda pair: (pair[1], pair[0])
    )


def training_table(results: Results, threads: int, dtype: str) -> Table:
    """fastbp beside the best peer, workload by workload."""
    rows = []
    for case in cases(results, "training", threads, dtype):
        c = compare(case)
        target = WORKLOADS[case["name"]].target
        aim = target[0] if threads == 1 else target[2]
        goal = f"{aim:g}x" if np.isfinite(aim) and dtype == "float32" else "–"
        if goal != "–" and np.isfinite(needed := c.share(aim * c.best)):
            goal += f" (would be {needed:.0%} of the peak)"
        if threads == 1 and dtype == "float32" and np.isfinite(target[1]):
            goal += f", {target[1]:.0%}"
        best = f"{c.best_name} {number(c.best)}"
        shares = f"{percent(c.share(c.ours))} / {percent(c.share(c.best))}"
        network = describe_network(case["name"])
        rows.append((case["name"], network, number(c.ours), best, times(c.ratio), shares, goal))
    header = ("workload", "network", "fastbp", "best peer", "ratio", "of FMA peak (fastbp / best)", "aim")
    return Table(
        f"Training, samples per second, {threads} thread{'s' * (threads > 1)}, {dtype}", header, rows
    )


def short_table(results: Results) -> Table:
    """One row per workload: fastbp, the best peer, scikit-learn and their ratio, one thread and two (float32)."""
    found = {
        (case["name"], case["threads"]): (case, compare(case))
        for case in cases(results, "training", dtype="float32")
    }
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        cells = [describe_network(name)]
        for threads in (1, 2):
            if (name, threads) not in found:
                cells += ["–", "–", "–"]
                continue
            case, c = found[name, threads]
            sklearn = c.ours / measured(case).get("sklearn", np.nan)
            cells += [number(c.ours), f"{times(c.ratio)} {c.best_name}", times(sklearn)]
        one = found.get((name, 1))
        cells.append(percent(one[1].share(one[1].ours)) if one else "–")
        rows.append((name, *cells))
    header = (
        "workload",
        "network",
        "1 thread",
        "to the best peer",
        "to sklearn",
        "2 threads",
        "to the best peer",
        "to sklearn",
        "of FMA peak",
    )
    return Table("Training, samples per second, float32", header, rows)


def peers_table(results: Results, suite: str, threads: int, dtype: str) -> Table:
    """Every peer's median rate in every case of a suite (durations if the suite asks for them)."""
    found = list(cases(results, suite, threads, dtype))
    names = [peer.name for peer in SUITES[suite].peers if peer is not PEAK]
    names += sorted({name for c in found for name in c["peers"]} - {*names, PEAK.name})
    as_time = SUITES[suite].time
    rows = []
    for name in names:
        cells = []
        for case in found:
            entry = case["peers"].get(name, {"status": "–"})
            if "rate" in entry:
                cell = duration(1 / entry["rate"]) if as_time else number(entry["rate"])
                cells.append(cell if entry["status"] == "ok" else f"{cell} ({entry['status']})")
            else:
                cells.append(entry["status"])
        rows.append((name, *cells))
    unit = as_time or SUITES[suite].unit.replace("/s", " per second")
    plural = "s" * (threads > 1)
    title = f"{SUITES[suite].title}: {unit}, {threads} thread{plural}, {dtype}"
    return Table(title, ("peer", *(c["name"] for c in found)), rows)


def tables(results: Results) -> Iterable[Table]:
    """All tables of a results file."""
    for threads, dtype in conditions(results, "training"):
        yield training_table(results, threads, dtype)
    for suite in SUITES:
        for threads, dtype in conditions(results, suite):
            yield peers_table(results, suite, threads, dtype)


def losses(results: Results) -> list[str]:
    """A sentence for every case in which a peer is faster than fastbp, or fastbp has no figure."""
    sentences = []
    for suite in SUITES:
        for case in cases(results, suite):
            c = compare(case)
            if c.refused:
                continue
            if not np.isfinite(c.ours):
                entry = case["peers"].get(OURS, {})
                sentences.append(
                    f"{where(case)}: fastbp was not measured ({entry.get('note', 'not asked for')})"
                )
            elif c.ratio < 1:
                sentences.append(f"{where(case)}: {c.best_name} is {1 / c.ratio:.2f} times as fast")
    return sentences


def bandwidths(results: Results) -> dict[str, float]:
    """Measured read bandwidths, nearest memory first (a saved file has its keys in alphabetical order)."""
    found = results["machine"]["bandwidth"]
    return {name: found[name] for name in ("L2", "L3", "DRAM") if name in found}


def machine_sentence(results: Results) -> str:
    """What machine, when, which versions: one paragraph."""
    m = results["machine"]
    rates = ", ".join(f"{name} {rate / 1e9:.0f} GB/s" for name, rate in bandwidths(results).items())
    peaks = [
        f"{compare(c).peak / 1e9:.0f} GFLOP/s {c['dtype']} on {c['threads']} thread{'s' * (c['threads'] > 1)}"
        for c in {(c["threads"], c["dtype"]): c for c in cases(results, "training")}.values()
        if np.isfinite(compare(c).peak)
    ]
    later: dict[str, list[str]] = {}
    for case in results["cases"].values():
        if case.get("commit", m["commit"]) != m["commit"]:
            condition = f"{case['dtype']} on {case['threads']} thread{'s' * (case['threads'] > 1)}"
            later.setdefault(case["commit"], []).append(f"{case['suite']} of {case['name']} in {condition}")
    again = "".join(f"; {', '.join(what)} at commit {commit}" for commit, what in later.items())
    sentences = [
        machine.describe(m, again),
        f"FMA peak measured beside the peers: {'; '.join(peaks) or 'not measured'}. One core reads {rates}.",
        f"BLAS kernels: {', '.join(ran)}." if (ran := circumstances.kernels(results)) else "",
        circumstances.stolen_sentence(results),
    ]
    return " ".join(sentence for sentence in sentences if sentence)
