"""Searches: how many times as fast as others, what was found, what halving gave up."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.peers.circumstances import refusal
from bench.report.tables import Results, Table, cases, conditions, measured, times

NAMES = {
    "fastbp": "SearchCV(eta=3)",
    "fastbp-float32": "SearchCV(eta=3), float32",
    "fastbp-full": "SearchCV(eta=None)",
    "fastbp-full-float32": "SearchCV(eta=None), float32",
    "fastbp-halving": "HalvingGridSearchCV, fastbp's class",
    "fastbp-grid": "GridSearchCV, fastbp's class",
    "sklearn-halving": "HalvingGridSearchCV, scikit-learn's class",
    "sklearn-grid": "GridSearchCV, scikit-learn's class",
}
PAIRS = {
    ("fastbp", "sklearn-grid"): "12x",
    ("fastbp", "sklearn-halving"): "",
    ("fastbp", "fastbp-grid"): "",
    ("fastbp", "fastbp-halving"): "3x",
    ("fastbp-float32", "sklearn-grid"): "",
    ("fastbp-full", "sklearn-grid"): "6x",
    ("fastbp-full", "fastbp-grid"): "",
    ("fastbp-full-float32", "sklearn-grid"): "",
}
"""Which searches are compared, and what is aimed for."""
NOTHING = "–"


def ratios(results: Results, threads: int, dtype: str) -> Table:
    """How many times as fast one search is as another, data set by data set."""
    found = [case for case in cases(results, "search", threads, dtype) if not refusal(case)]
    rows = []
    for (one, other), aim in PAIRS.items():
        rates = [(measured(case).get(one, np.nan), measured(case).get(other, np.nan)) for case in found]
        ratio = [times(mine / theirs) for mine, theirs in rates]
        rows.append((NAMES[one], NAMES[other], *ratio, aim or NOTHING))
    cores = "one core, so in CPU seconds" if threads == 1 else f"{threads} cores, by the clock"
    names = (case["name"] for case in found)
    return Table(f"How many times as fast, on {cores}", ("search", "beside", *names, "aim"), rows)


def scores(results: Results) -> Table:
    """The best score of each search for each seed, the rank of what halving picked, and what that gave up."""
    rows = []
    for case in _once(results):
        for seed in sorted(_told(case, "fastbp")):
            exact = _told(case, "sklearn-grid").get(seed, {})
            full = _told(case, "fastbp-full").get(seed, {})
            ours = _told(case, "fastbp").get(seed, {})
            theirs = _told(case, "sklearn-halving").get(seed, {})
            rank, given_up = _picked(ours, full)
            rows.append(
                (
                    f"{case['name']}, seed {seed}",
                    _score(exact),
                    _score(full),
                    _score(ours),
                    _score(_told(case, "fastbp-float32").get(seed, {})),
                    rank,
                    given_up,
                    _picked(theirs, exact)[1],
                )
            )
    header = (
        "data",
        NAMES["sklearn-grid"],
        NAMES["fastbp-full"],
        NAMES["fastbp"],
        NAMES["fastbp-float32"],
        "rank of its pick in the full grid",
        "given up by it",
        f"given up by {NAMES['sklearn-halving']}",
    )
    return Table("Best score, mean of five folds", header, rows)


def tables(results: Results) -> list[Table]:
    """All of them; none if no search was measured."""
    pairs = conditions(results, "search")
    return [*(ratios(results, *pair) for pair in pairs), scores(results)] if pairs else []


def section(results: Results) -> str:
    """Return the tables as the guide to searches includes them."""
    return "\n\n".join(table.rst() for table in tables(results)) or "No search was measured on this machine."


def _once(results: Results) -> list[dict[str, Any]]:
    """The cases, each on the fewest threads that it was measured on: what is found does not depend on them."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for case in cases(results, "search"):
        found.setdefault((case["name"], case["dtype"]), case)
    return list(found.values())


def _told(case: dict[str, Any], peer: str) -> dict[str, Any]:
    """What a peer's searches found, by seed; nothing if it was not measured."""
    told: dict[str, Any] = case["peers"].get(peer, {}).get("told", {})
    return told


def _score(found: dict[str, Any]) -> str:
    return f"{found['score']:.4f}" if found else NOTHING


def _picked(halving: dict[str, Any], grid: dict[str, Any]) -> tuple[str, str]:
    """Rank of a candidate among all that the full grid trained, and by how much the best of them is better."""
    if not (halving and grid):
        return NOTHING, NOTHING
    full = np.array(grid["scores"])
    own = full[halving["picked"]]
    return str(1 + int(np.sum(full > own))), f"{full.max() - own:.4f}"
