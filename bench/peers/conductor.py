"""Runs a case: one process per peer, all prepared first, then one repeat each in turn, several rounds."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from bench import fair, stolen
from bench.peers.registry import PEAK, Peer, Suite
from bench.peers.subject import Case
from bench.peers.worker import environment


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to measure."""

    repeats: int = 7
    """Rounds."""
    seconds: float | None = None
    """Length of one repeat, or None: the suite's. A subject whose single run takes longer has three repeats only."""
    timeout: float = 600.0
    """Longest wait for one answer of a peer (compilation included)."""
    stolen: float = stolen.LIMIT
    """The largest share of stolen time with which a repeat counts; the others are repeated, up to a bound."""


class PeerError(RuntimeError):
    """A peer's process ended or did not answer."""


class Worker:
    """A peer's process, seen from the outside."""

    def __init__(self, case: Case, peer: Peer, timeout: float) -> None:
        self.peer, self.timeout = peer, timeout
        self.log = tempfile.TemporaryFile("w+")
        message = asdict(case) | {"factory": peer.factory}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.peers.worker", json.dumps(message)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment(case.threads, case.dtype),
            cwd=fair.ROOT,
            text=True,
        )

    def answer(self) -> dict[str, Any]:
        """Wait for one line; PeerError with the end of the peer's log when there is none."""
        assert self.process.stdout is not None
        timer = threading.Timer(self.timeout, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            expired = not timer.is_alive()
            timer.cancel()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        if expired:
            raise PeerError(f"no answer within {self.timeout:.0f} s")
        self.process.wait()
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        raise PeerError(lines[-1] if lines else f"ended with code {self.process.returncode}")

    def run(self, times: int) -> dict[str, Any]:
        """One repeat."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"times": times}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return self.answer()  # which finds out why
        return self.answer()

    def close(self) -> None:
        """Let the process end; it has nothing left to do once its input closes."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


@dataclass(slots=True)
class Turns:
    """The repeats of one peer: how long each is, which ones count, whether its process still answers."""

    worker: Worker
    times: int
    tally: stolen.Tally
    told: Any = None
    """What it says of its work beside the rate: of a search, what it found."""
    alive: bool = True

    @property
    def more(self) -> bool:
        """Whether it takes another turn."""
        return self.alive and self.tally.open

    def take(self) -> str:
        """Run one repeat; return what went wrong, "" if nothing did."""
        try:
            answer = self.worker.run(self.times)
        except PeerError as error:
            self.alive = False
            return str(error)
        self.tally.add(answer["rate"], answer["stolen"])
        self.told = answer.get("told")
        return ""


Entry = dict[str, Any]


def run_case(
    suite: Suite, case: Case, peers: list[Peer], settings: Settings, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Measure one case for the given peers.

    Returns
    -------
    dict
        The case's fields, "unit", and "peers": name -> entry. An entry has "status" ("ok", "skipped", "failed",
        "disagrees", "slowed", "stolen"), "note", the "kernels" of its process, and when it was measured what
        `summarize` adds, and "told" if the subject tells something.
    """
    entries: dict[str, Entry] = {}
    turns: dict[str, Turns] = {}
    workers: list[Worker] = []
    processor = fair.level()
    length = suite.seconds if settings.seconds is None else settings.seconds
    try:
        for peer in peers:
            if module := peer.missing():
                entries[peer.name] = {"status": "skipped", "note": f"{module} is not installed"}
                say(f"  {peer.name}: skipped, {module} is not installed")
                continue
            worker = Worker(case, peer, settings.timeout)
            workers.append(worker)
            try:
                ready = worker.answer()
            except PeerError as error:
                entries[peer.name] = {"status": "failed", "note": str(error)}
                say(f"  {peer.name}: failed, {error}")
                worker.close()
                continue
            entries[peer.name] = begin(ready["process"], processor, ready["note"])
            if entries[peer.name]["status"] == "slowed":
                say(f"  {peer.name}: slowed, {entries[peer.name]['note']}")
                worker.close()
                continue
            once = max(ready["once"], 1e-9)
            times = max(1, round(length / once))
            rounds = min(3, settings.repeats) if once > 2 * length else settings.repeats
            entries[peer.name]["check"] = ready["check"]
            turns[peer.name] = Turns(worker, times, stolen.Tally(rounds, settings.stolen))
        judge(entries, suite.tolerance[case.dtype == "float64"])
        while waiting := [name for name, turn in turns.items() if turn.more]:
            for name in waiting:
                if trouble := turns[name].take():
                    entries[name] |= {"status": "failed", "note": trouble}
                time.sleep(0.01)  # idle OpenMP threads spin for a few milliseconds before they sleep
    finally:
        for worker in workers:
            if worker.process.stdin is not None and not worker.process.stdin.closed:
                worker.close()
    for name, turn in turns.items():
        summarize(entries[name], turn.tally)
        if turn.told is not None:
            entries[name]["told"] = turn.told
        say(f"  {name}: {describe(entries[name], 'FLOP/s' if name == PEAK.name else suite.unit)}")
    return asdict(case) | {"unit": suite.unit, "peers": entries}


def begin(process: dict[str, Any], processor: str | None, note: str) -> Entry:
    """Return the entry of a peer whose process is ready: "ok", or "slowed" with the reasons.

    Parameters
    ----------
    process : dict
        The process's `fair.report`.
    processor : str or None
        `fair.level` of this machine.
    note : str
        What the peer says of itself.
    """
    reasons = fair.reasons(process, processor)
    state = {"status": "slowed", "note": "; ".join(reasons)} if reasons else {"status": "ok", "note": note}
    return state | {"kernels": process["kernels"]}


def summarize(entry: Entry, tally: stolen.Tally) -> None:
    """Add to an entry what was measured.

    "rates" are those of the runs that count, "stolen" the shares of time stolen from them, "lost" the rates and shares
    of the other runs; "rate" (the median), "low" and "high" say it in short. Without a run that counts there are none
    of the three, and the status is "stolen".
    """
    entry |= {"rates": tally.counted, "stolen": tally.shares, "lost": tally.lost}
    if rates := tally.counted:
        entry |= {"rate": statistics.median(rates), "low": min(rates), "high": max(rates)}
    elif tally.trouble and entry["status"] == "ok":
        entry |= {"status": "stolen", "note": tally.trouble}


def describe(entry: Entry, unit: str) -> str:
    """One line on an entry: median, range, remarks."""
    if "rate" not in entry:
        return f"{entry['status']}, {entry['note']}"
    runs = f"{len(entry['rates'])} runs" + (
        f", {len(entry['lost'])} more not counted" if entry["lost"] else ""
    )
    text = f"{entry['rate']:.4g} {unit} ({entry['low']:.4g} to {entry['high']:.4g}, {runs})"
    return text if entry["status"] == "ok" else f"{text}; {entry['status']}: {entry['note']}"


def judge(entries: dict[str, Entry], tolerance: float) -> None:
    """Mark the peers whose check numbers differ from the median of all by more than `tolerance`, relatively."""
    checks = {name: entry["check"] for name, entry in entries.items() if entry.get("check")}
    if len(checks) < 2:
        return
    columns = list(zip(*checks.values(), strict=True))
    middle = [statistics.median(column) for column in columns]
    for name, check in checks.items():
        worst = max(abs(c - m) / max(abs(m), 1e-12) for c, m in zip(check, middle, strict=True))
        if worst > tolerance:
            entries[name] |= {
                "status": "disagrees",
                "note": f"its check differs by {worst:.2g} (relative) from the median of the peers",
            }
