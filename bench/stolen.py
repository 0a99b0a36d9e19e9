"""Time that the host of a virtual machine took from our cores: how much, and which runs count all the same.

Linux counts it in /proc/stat in ticks of 10 ms, so a short run that saw one tick looks worse than it was. It is
repeated like every other run that lost too much.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = 0.02
"""The largest share of stolen time with which a run counts."""
TRIES = 3
"""How many times as many runs as wanted are made at the most."""


def ticks(path: Path = Path("/proc/stat")) -> dict[str, int] | None:
    """Return the stolen ticks so far of each core that this process may use; None if the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    found = {}
    try:
        with path.open() as file:
            for line in file:
                if not line.startswith("cpu"):
                    break
                name, *fields = line.split()
                if name in ours and len(fields) > 7:
                    found[name] = int(fields[7])
    except OSError:
        return None
    return found or None


class Watch:
    """Watches from its making on."""

    def __init__(self) -> None:
        self._before = ticks()
        self._start = time.perf_counter()

    def share(self) -> float | None:
        """Return the share of the time since then that was stolen from the core that lost most; None if not known."""
        seconds = time.perf_counter() - self._start
        after = ticks()
        if self._before is None or after is None:
            return None
        most = max(after[core] - self._before.get(core, after[core]) for core in after)
        return min(1.0, max(0.0, most / os.sysconf("SC_CLK_TCK") / seconds))


@dataclass
class Tally:
    """The runs of one subject: those that count, those that do not, and whether it takes another turn."""

    wanted: int
    limit: float = LIMIT
    counted: list[float] = field(default_factory=list)
    """What the runs that count measured (rates or seconds)."""
    shares: list[float | None] = field(default_factory=list)
    """What was stolen from each of them."""
    lost: list[tuple[float, float]] = field(default_factory=list)
    """The others: what they measured, what was stolen."""

    def add(self, value: float, share: float | None) -> None:
        """Take in a run. It counts if nothing is known about stolen time."""
        if share is not None and share > self.limit:
            self.lost.append((value, share))
        else:
            self.counted.append(value)
            self.shares.append(share)

    @property
    def open(self) -> bool:
        """Whether runs are missing and may still be tried for."""
        runs = len(self.counted) + len(self.lost)
        return len(self.counted) < self.wanted and runs < TRIES * self.wanted

    @property
    def trouble(self) -> str:
        """Why there is no figure, "" if there is one."""
        if self.counted or not self.lost:
            return ""
        shares = [share for _, share in self.lost]
        return (
            f"no clean run: {min(shares):.1%} to {max(shares):.1%} of the time was stolen in {len(shares)} runs,"
            f" at most {self.limit:.0%} counts"
        )


def summary(shares: list[float | None], lost: int) -> str:
    """Say in a sentence what was stolen from the runs that count, and how many do not."""
    if not shares and not lost:
        return ""
    known = [share for share in shares if share is not None]
    if not known and not lost:
        return "Stolen time is not known."
    text = f"At most {max(known, default=0.0):.1%} of a run that counts was stolen by the machine's host"
    return f"{text}; {lost} that lost more do not count." if lost else f"{text}."
