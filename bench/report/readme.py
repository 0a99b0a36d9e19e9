"""`python -m bench.report.readme`: the three figures of the README, from the stored measurements.

It writes between the markers in README.md. With `--check` it writes nothing, and fails if README says something else.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

import numpy as np

from bench.fair import ROOT
from bench.peers.registry import OURS, PEAK
from bench.peers.startup import COLD
from bench.report import tables

BEGIN, END = "<!-- performance:begin -->", "<!-- performance:end -->"
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
        if {OURS, OURS + COLD} <= rates.keys():
            cold, warm = (tables.duration(1 / rates[name]) for name in (OURS + COLD, OURS))
            return (
                f" The first run compiles: {cold} from the start of the process to the end of the first epoch;"
                f" later runs take {warm}."
            )
    return ""


def readme_section(results: tables.Results) -> str:
    """The text between the markers of the README: three figures, their machine, and how often fastbp is behind."""
    m = results["machine"]
    machine = (
        f"{m['cpu']['model']} ({m['cpu']['flags'][-1]}), {plural(m['cores'], 'core')}, {m['memory_gib']:.0f} GiB;"
        f" measured {m['date']} at commit {m['commit']}.{first_run(results)} fastbp is behind in"
        f" {len(tables.losses(results))} of the {plural(len(results['cases']), 'case')} measured."
    )
    return "\n\n".join((three_figures(results).markdown(), wrap(machine), wrap(HOW)))


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
        "--check", action="store_true", help="write nothing; exit code 1 if README would change"
    )
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    try:
        text = args.readme.read_text(encoding="utf-8")
        wanted = fill(text, readme_section(tables.publishable(args.results)))
    except (OSError, ValueError) as error:
        print(f"readme: {error}", file=sys.stderr)
        return 1
    if args.check:
        if text != wanted:
            print(
                f"{args.readme.name} is not what {args.results.name} says; run python -m bench.report.readme"
            )
        return int(text != wanted)
    args.readme.write_text(wanted, encoding="utf-8")
    print(f"wrote {args.readme.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
