"""The time of a step, phase by phase: how `bench.probes.roofline` keeps it, and how it is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Account = dict[str, Any]
"""One step: "workload", "dtype", "step_us", "sum_us", "share_of_peak", "peak_gflops", "bandwidth_gb", and "phases".

A phase has "phase" (its name), "us", "flops" and "bytes" (one of the two is 0), and "share" of its limit.
"""


def text(account: Account) -> str:
    """Return an account as a table of text."""
    lines = [
        f"{account['workload']}, {account['dtype']}: {account['step_us']:.1f} us per step, "
        f"{100 * account['share_of_peak']:.0f} % of {account['peak_gflops']:.0f} GFLOP/s; "
        f"copies in the second cache {account['bandwidth_gb']:.0f} GB/s",
        f"  {'phase':<26}{'us':>9}{'kFLOP':>10}{'kB':>9}{'of limit':>10}",
    ]
    for phase in account["phases"]:
        flops, moved = phase["flops"] / 1e3, phase["bytes"] / 1e3
        amounts = f"{flops or '':>10.8}{moved or '':>9.7}"
        lines.append(f"  {phase['phase']:<26}{phase['us']:>9.2f}{amounts}{100 * phase['share']:>8.0f} %")
    lines.append(f"  {'sum of the phases':<26}{account['sum_us']:>9.2f}")
    return "\n".join(lines)


def save(accounts: list[Account], path: Path) -> None:
    """Write the accounts, one on a line."""
    path.write_text("[\n" + ",\n".join(map(json.dumps, accounts)) + "\n]\n", encoding="utf-8")


def load(path: Path) -> list[Account]:
    """Read what `save` wrote."""
    accounts: list[Account] = json.loads(path.read_text(encoding="utf-8"))
    return accounts
