"""`python -m bench.report.readme`: the README's three figures and the documentation's tables, from measurements.

Writes between the markers in README.md, and docs/_generated/performance.inc with its pictures. `--check` writes nothing
and fails when they are not what the results say.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

import numpy as np

from bench.fair import ROOT
from bench.peers.registry import OURS, PEAK
from bench.report import tables

BEGIN, END = "<!-- performance:begin -->", "<!-- performance:end -->"
COLD = f"{OURS} (cold)"  # the start with nothing compiled yet
LIBRARIES = {
    "jax": "JAX",
    "torch": "PyTorch",
    "keras": "Keras",
    "skorch": "skorch",
    "sklearn": "scikit-learn",
    "numpy": "NumPy",
}
"""The name of a peer up to its first hyphen, and the library that it stands for."""
HOW = (
    "Every peer trains the same network from the same weights on the same batches, in the best idiom its users know,"
    " in a process of its own, in turns; a figure counts only when the final losses agree."
)


def short_table(results: tables.Results) -> tables.Table:
    """One row per workload: fastbp, the best peer, scikit-learn and their ratio, one thread and two (float32)."""
    found = {
        (case["name"], case["threads"]): (case, tables.compare(case))
        for case in tables.cases(results, "training", dtype="float32")
    }
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        cells = [tables.describe_network(name)]
        for threads in (1, 2):
            if (name, threads) not in found:
                cells += ["–", "–", "–"]
                continue
            case, c = found[name, threads]
            sklearn = c.ours / tables.measured(case).get("sklearn", np.nan)
            cells += [tables.number(c.ours), f"{tables.times(c.ratio)} {c.best_name}", tables.times(sklearn)]
        one = found.get((name, 1))
        cells.append(tables.percent(one[1].share(one[1].ours)) if one else "–")
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
    return tables.Table("Training, samples per second, float32", header, rows)


def other_sentences(results: tables.Results) -> list[str]:
    """What was measured besides training, a line per case."""
    lines = []
    for suite, what in (
        ("classes", "scikit-learn's class with the same call, {name}"),
        ("startup", "process start to the end of the first epoch, {name}"),
        ("latency", "one row from Python"),
        ("predict", "100 000 rows through 784-100-10"),
        ("many-models", "256 small models, {name}"),
        ("simplechains", "SimpleChains' example {name}"),
    ):
        for case in tables.cases(results, suite):
            c = tables.compare(case)
            if c.refused or not np.isfinite(c.ours):
                continue
            threads = f"{case['threads']} thread{'s' * (case['threads'] > 1)}"
            head = f"{what.format(name=case['name'])}, {threads}, {case['dtype']}"
            if suite in ("startup", "latency"):
                mine, other = tables.duration(1 / c.ours), tables.duration(1 / c.best)
            else:
                unit = case["unit"].replace("/s", " per second")
                mine, other = f"{tables.number(c.ours)} {unit}", tables.number(c.best)
            share = c.share(c.ours)
            peak = f", {tables.percent(share)} of the FMA peak" if np.isfinite(share) else ""
            lines.append(f"{head}: {mine} (best peer {c.best_name}: {other}){peak}.")
            for name, rate in tables.measured(case).items():
                if name.startswith(OURS) and name != OURS:
                    value = (
                        tables.duration(1 / rate) if suite in ("startup", "latency") else tables.number(rate)
                    )
                    lines[-1] = f"{lines[-1][:-1]}; {name}: {value}."
    return lines


def wrap(text: str) -> str:
    """Break a paragraph into lines of the README's length."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def span(ratios: list[float]) -> str:
    """The least and the greatest of some ratios."""
    low, high = min(ratios), max(ratios)
    return f"{low:.2f} to {high:.2f} times as fast" if low < high else f"{low:.2f} times as fast"


def plural(n: int, what: str) -> str:
    """A count with its noun."""
    return f"{n} {what}{'s' * (n != 1)}"


def compared(results: tables.Results, suite: str, threads: int) -> list[tables.Comparison]:
    """The float32 cases of a suite in which fastbp and a peer have a figure."""
    found = (tables.compare(case) for case in tables.cases(results, suite, threads, "float32"))
    return [c for c in found if np.isfinite(c.ratio)]


def library(peer: str) -> str:
    """Name of the library that a peer stands for."""
    return LIBRARIES[peer.partition("-")[0]]


def three_figures(results: tables.Results) -> tables.Table:
    """Ratios of whole suites, least and greatest, so that no case is picked; a suite that was not run has no row."""
    rows = []
    if classes := compared(results, "classes", 1):
        what = f"`fit` after the import is changed, {plural(len(classes), 'network')}, 1 thread"
        rows.append((what, "scikit-learn's classes", span([c.ratio for c in classes])))
    threads = max((n for n, dtype in tables.conditions(results, "training") if dtype == "float32"), default=1)
    if training := compared(results, "training", threads):
        names = {name for c in training for name in tables.measured(c.case)} - {OURS, PEAK.name}
        libraries = ", ".join(sorted({library(name) for name in names}, key=str.casefold))
        what = f"an epoch of training, {plural(len(training), 'network')}, {plural(threads, 'thread')}"
        rows.append((what, f"the fastest of {libraries}", span([c.ratio for c in training])))
    for c in compared(results, "latency", 1):
        fast, other = (tables.duration(1 / rate) for rate in (c.ours, c.best))
        beside = f"{library(c.best_name)}, the fastest peer: {other}"
        rows.append(("one row, predicted from Python", beside, f"{fast}, {span([c.ratio])}"))
    return tables.Table("Three figures, float32", ("float32", "beside", "fastbp"), rows)


def first_run(results: tables.Results) -> str:
    """A sentence on the first start, which compiles, and later ones; empty if they were not measured."""
    for case in tables.cases(results, "startup", dtype="float32"):
        rates = tables.measured(case)
        if {OURS, COLD} <= rates.keys():
            cold, warm = (tables.duration(1 / rates[name]) for name in (COLD, OURS))
            return (
                f" The first run compiles: {cold} from the start of the process to the end of the first epoch;"
                f" later runs take {warm}."
            )
    return ""


def readme_section(results: tables.Results) -> str:
    """What stands between the markers of the README: three figures, their machine, and how often fastbp is behind."""
    m = results["machine"]
    machine = (
        f"{m['cpu']['model']} ({m['cpu']['flags'][-1]}), {plural(m['cores'], 'core')}, {m['memory_gib']:.0f} GiB;"
        f" measured {m['date']} at commit {m['commit']}.{first_run(results)} fastbp is behind in"
        f" {len(tables.losses(results))} of the {plural(len(results['cases']), 'case')} measured."
    )
    return "\n\n".join((three_figures(results).markdown(), wrap(machine), wrap(HOW)))


def docs_section(results: tables.Results) -> str:
    """What the documentation includes: the machine, all tables, and the pictures between them."""
    behind, refused = tables.losses(results), tables.refusals(results)
    parts = [
        tables.machine_sentence(results),
        short_table(results).rst(),
        "\n".join(f"- {line}" for line in other_sentences(results)),
        *(tables.training_table(results, *pair).rst() for pair in tables.conditions(results, "training")),
        ".. image:: /_generated/peers.svg\n   :alt: Training throughput of every peer in every workload",
    ]
    if (1, "float32") in tables.conditions(results, "training"):
        parts.append(".. image:: /_generated/roofline.svg\n   :alt: FLOP/s against FLOPs per byte")
    parts.append("Where fastbp is behind:" if behind else "fastbp is behind in none of the cases measured.")
    parts.append("\n".join(f"- {line}" for line in behind))
    if refused:
        parts += ["What allows no comparison:", "\n".join(f"- {line}" for line in refused)]
    for suite in tables.SUITES:
        parts += [
            tables.peers_table(results, suite, *pair).rst() for pair in tables.conditions(results, suite)
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def fill(text: str, section: str) -> str:
    """Put `section` between the markers of `text`.

    Raises
    ------
    ValueError
        When the markers are not there exactly once, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"expected {BEGIN} and then {END}, each once")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{section}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report.readme", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("results", type=Path, nargs="?", default=ROOT / "bench" / "results" / "peers.json")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 when something would change"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    try:
        results = tables.publishable(args.results)
        readme, included = args.root / "README.md", args.root / "docs" / "_generated" / "performance.inc"
        wanted = {
            readme: fill(readme.read_text(encoding="utf-8"), readme_section(results)),
            included: docs_section(results),
        }
    except (OSError, ValueError) as error:
        print(f"readme: {error}", file=sys.stderr)
        return 1
    stale = [
        path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if args.check:
        for path in stale:
            print(
                f"{path.relative_to(args.root)} is not what {args.results.name} says; run python -m bench.report.readme"
            )
        return 1 if stale else 0
    included.parent.mkdir(parents=True, exist_ok=True)
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    from bench.report import charts

    if tables.conditions(results, "training"):
        charts.peers_chart(results, included.parent / "peers.svg")
    if (1, "float32") in tables.conditions(results, "training"):
        charts.roofline(results, included.parent / "roofline.svg")
    print(f"wrote {readme.name} and {included.relative_to(args.root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
