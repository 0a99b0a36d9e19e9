"""`python -m bench.readme RESULTS.json`: the README's performance section and the documentation's, from measurements.

Writes between the markers in README.md, and docs/_generated/performance.inc with its pictures. `--check` writes nothing
and fails when they are not what the results say.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

import numpy as np

from bench.peers import report
from bench.peers.registry import OURS

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- performance:begin -->", "<!-- performance:end -->"
HOW = (
    "Every peer trains the same network from the same weights on the same batches, in the best idiom its users know,"
    " in a process of its own, in turns; a figure counts only when the final losses agree."
)


def short_table(results: report.Results) -> report.Table:
    """One row per workload: fastbp, the best peer, scikit-learn and their ratio, one thread and two (float32)."""
    found = {
        (case["name"], case["threads"]): (case, report.compare(case))
        for case in report.cases(results, "training", dtype="float32")
    }
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        cells = [report.describe_network(name)]
        for threads in (1, 2):
            if (name, threads) not in found:
                cells += ["–", "–", "–"]
                continue
            case, c = found[name, threads]
            sklearn = c.ours / report.measured(case).get("sklearn", np.nan)
            cells += [report.number(c.ours), f"{report.times(c.ratio)} {c.best_name}", report.times(sklearn)]
        one = found.get((name, 1))
        cells.append(report.percent(one[1].share(one[1].ours)) if one else "–")
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
    return report.Table("Training, samples per second, float32", header, rows)


def other_sentences(results: report.Results) -> list[str]:
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
        for case in report.cases(results, suite):
            c = report.compare(case)
            if c.refused or not np.isfinite(c.ours):
                continue
            threads = f"{case['threads']} thread{'s' * (case['threads'] > 1)}"
            head = f"{what.format(name=case['name'])}, {threads}, {case['dtype']}"
            if suite in ("startup", "latency"):
                mine, other = report.duration(1 / c.ours), report.duration(1 / c.best)
            else:
                unit = case["unit"].replace("/s", " per second")
                mine, other = f"{report.number(c.ours)} {unit}", report.number(c.best)
            share = c.share(c.ours)
            peak = f", {report.percent(share)} of the FMA peak" if np.isfinite(share) else ""
            lines.append(f"{head}: {mine} (best peer {c.best_name}: {other}){peak}.")
            for name, rate in report.measured(case).items():
                if name.startswith(OURS) and name != OURS:
                    value = (
                        report.duration(1 / rate) if suite in ("startup", "latency") else report.number(rate)
                    )
                    lines[-1] = f"{lines[-1][:-1]}; {name}: {value}."
    return lines


def wrap(text: str) -> str:
    """Break a paragraph or a list item into lines of the README's length."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def readme_section(results: report.Results) -> str:
    """What stands between the markers."""
    behind, refused = report.losses(results), report.refusals(results)
    parts = [
        wrap(HOW),
        wrap(report.machine_sentence(results)),
        short_table(results).markdown(),
        "\n".join(wrap(f"- {line}") for line in other_sentences(results)),
        "Where fastbp is behind:" if behind else "fastbp is behind in none of the cases measured.",
        "\n".join(wrap(f"- {line}.") for line in behind),
        "What allows no comparison:" if refused else "",
        "\n".join(wrap(f"- {line}.") for line in refused),
        "`python -m bench.peers` measures all of this on your machine; `python -m bench.dashboard --serve` shows\n"
        "every peer, the roofline and the history.",
    ]
    return "\n\n".join(part for part in parts if part)


def docs_section(results: report.Results) -> str:
    """All tables, with the pictures between them."""
    behind, refused = report.losses(results), report.refusals(results)
    parts = [
        HOW,
        report.machine_sentence(results),
        *(report.training_table(results, *pair).rst() for pair in report.conditions(results, "training")),
        ".. image:: /_generated/peers.svg\n   :alt: Training throughput of every peer in every workload",
    ]
    if (1, "float32") in report.conditions(results, "training"):
        parts.append(".. image:: /_generated/roofline.svg\n   :alt: FLOP/s against FLOPs per byte")
    parts.append("Where fastbp is behind:" if behind else "fastbp is behind in none of the cases measured.")
    parts.append("\n".join(f"- {line}" for line in behind))
    if refused:
        parts += ["What allows no comparison:", "\n".join(f"- {line}" for line in refused)]
    for suite in report.SUITES:
        parts += [
            report.peers_table(results, suite, *pair).rst() for pair in report.conditions(results, suite)
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
    parser = argparse.ArgumentParser(prog="python -m bench.readme", description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, nargs="?", default=ROOT / "bench" / "results" / "peers.json")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 when something would change"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    try:
        results = report.publishable(args.results)
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
                f"{path.relative_to(args.root)} is not what {args.results.name} says; run python -m bench.readme"
            )
        return 1 if stale else 0
    included.parent.mkdir(parents=True, exist_ok=True)
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    from bench.peers import chart

    if report.conditions(results, "training"):
        chart.peers_chart(results, included.parent / "peers.svg")
    if (1, "float32") in report.conditions(results, "training"):
        chart.roofline(results, included.parent / "roofline.svg")
    print(f"wrote {readme.name} and {included.relative_to(args.root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
