"""How the figures of a results file came about: which kernels ran, what was stolen, who was slowed, what counts."""

from __future__ import annotations

from typing import Any

from bench import fair, stolen
from bench.peers.registry import OURS, PEAK

Results = dict[str, Any]


def is_rival(name: str) -> bool:
    """Whether fastbp is compared with the entry of this name: it is no other way to run fastbp, and not the peak."""
    return not name.startswith(OURS) and name != PEAK.name


def refusal(case: dict[str, Any]) -> str:
    """Say why a case allows no comparison: who was slowed or had no clean run; "" if nobody."""
    return ", ".join(
        f"{name} {'was slowed' if entry['status'] == 'slowed' else 'was disturbed'} ({entry['note']})"
        for name, entry in case["peers"].items()
        if entry["status"] in ("slowed", "stolen") and (name == OURS or is_rival(name))
    )


def counts(case: dict[str, Any] | None) -> bool:
    """Whether a case was measured in earnest, allows a comparison, and names the kernels that ran."""
    if case is None or case["quick"] or refusal(case):
        return False
    return all("kernels" in entry for entry in case["peers"].values() if "rate" in entry)


def slowed(results: Results) -> list[str]:
    """Names of peers that were slowed, by case."""
    return [
        f"{name} in {key}"
        for key, case in results["cases"].items()
        for name, entry in case["peers"].items()
        if entry["status"] == "slowed"
    ]


def kernels(results: Results) -> dict[str, tuple[set[int], set[str]]]:
    """Every BLAS kernel that ran, in words -> on how many threads, in whose processes."""
    found: dict[str, tuple[set[int], set[str]]] = {}
    for case in results["cases"].values():
        for name, entry in case["peers"].items():
            for kernel in entry.get("kernels", ()):
                threads, names = found.setdefault(fair.describe(kernel), (set(), set()))
                threads.add(kernel["threads"])
                names.add(name)
    return dict(sorted(found.items()))


def kernel_lines(results: Results) -> list[str]:
    """A line for every BLAS kernel that ran."""
    return [
        f"{kernel}, threads {' or '.join(map(str, sorted(threads)))}, in {', '.join(sorted(names))}"
        for kernel, (threads, names) in kernels(results).items()
    ]


def stolen_sentence(results: Results) -> str:
    """What was stolen from the runs; "" for a file of before it was noted."""
    entries = [entry for case in results["cases"].values() for entry in case["peers"].values()]
    shares = [share for entry in entries for share in entry.get("stolen", ())]
    return stolen.summary(shares, sum(len(entry.get("lost", ())) for entry in entries))
