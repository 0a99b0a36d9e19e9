"""Tables and pictures of what was measured, for the documentation: docs/conf.py makes them when the site is built."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench.fair import ROOT
from bench.peers.registry import OURS
from bench.report import charts, footprint, phases, searches, tables

RESULTS = ROOT / "bench" / "results"


def other_sentences(results: tables.Results) -> list[str]:
    """What was measured besides training, a line per case."""
    lines = []
    for suite, what in (
        ("classes", "scikit-learn's class with the same call, {name}"),
        ("sparse", "scikit-learn's class on 20 000 sparse rows, {name}"),
        ("startup", "process start to the end of the first epoch, {name}"),
        ("latency", "one row from Python"),
        ("predict", "100 000 rows through 784-100-10"),
        ("many-models", "small models in one call, {name}"),
        ("search", "a search of 12 candidates over 5 folds, {name}"),
        ("simplechains", "SimpleChains' example {name}"),
    ):
        for case in tables.cases(results, suite):
            c = tables.compare(case)
            if c.refused or not np.isfinite(c.ours):
                continue
            as_time = tables.SUITES[suite].time
            threads = f"{case['threads']} thread{'s' * (case['threads'] > 1)}"
            head = f"{what.format(name=case['name'])}, {threads}, {case['dtype']}"
            if as_time:
                mine, other = tables.duration(1 / c.ours), tables.duration(1 / c.best)
            else:
                unit = case["unit"].replace("/s", " per second")
                mine, other = f"{tables.number(c.ours)} {unit}", tables.number(c.best)
            share = c.share(c.ours)
            peak = f", {tables.percent(share)} of the FMA peak" if np.isfinite(share) else ""
            lines.append(f"{head}: {mine} (best peer {c.best_name}: {other}){peak}.")
            for name, rate in tables.measured(case).items():
                if name.startswith(OURS) and name != OURS:
                    value = tables.duration(1 / rate) if as_time else tables.number(rate)
                    lines[-1] = f"{lines[-1][:-1]}; {name}: {value}."
    return lines


def section(results: tables.Results, pictures: dict[str, str]) -> str:
    """Return the machine, all tables, and `pictures` (name -> what it shows), as the documentation includes them."""
    behind, refused = tables.losses(results), tables.refusals(results)
    parts = [
        tables.machine_sentence(results),
        tables.short_table(results).rst(),
        "\n".join(f"- {line}" for line in other_sentences(results)),
        *(tables.training_table(results, *pair).rst() for pair in tables.conditions(results, "training")),
        *(f".. image:: /_generated/{name}\n   :alt: {alt}" for name, alt in pictures.items()),
    ]
    parts.append("Where fastbp is behind:" if behind else "fastbp is behind in none of the cases measured.")
    parts.append("\n".join(f"- {line}" for line in behind))
    if refused:
        parts += ["What allows no comparison:", "\n".join(f"- {line}" for line in refused)]
    for suite in tables.SUITES:
        parts += [
            tables.peers_table(results, suite, *pair).rst() for pair in tables.conditions(results, suite)
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(folder: Path, results: Path = RESULTS) -> None:
    """Write what the pages include into `folder`: performance.inc, searches.inc, footprint.inc, roofline.txt, pictures.

    Raises
    ------
    ValueError
        If figures that mean nothing are among the measurements: see `tables.publishable`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    peers = tables.publishable(results / "peers.json")
    text = section(peers, charts.draw(peers, folder))
    (folder / "performance.inc").write_text(text, encoding="utf-8")
    (folder / "searches.inc").write_text(searches.section(peers) + "\n", encoding="utf-8")
    text = "\n\n".join(map(phases.text, phases.load(results / "roofline.json")))
    (folder / "roofline.txt").write_text(text + "\n", encoding="utf-8")
    sizes = json.loads((results / "sizes.json").read_text(encoding="utf-8"))
    charts.sizes_chart(sizes, folder / "sizes.svg")
    text = footprint.rst(footprint.load(results / "footprint.json"))
    (folder / "footprint.inc").write_text(text, encoding="utf-8")
