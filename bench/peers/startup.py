"""How long a user waits: a fresh process that imports a peer, trains one epoch of tabular-small, and ends.

bench.peers.first_epoch is that process; `run_startup` starts it and holds the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from bench import fair, stolen
from bench.peers.conductor import Entry, Settings, begin, summarize
from bench.peers.registry import OURS, SUITES
from bench.peers.subject import Case
from bench.peers.worker import environment

COLD = " (cold)"
"""What the name of a start ends with if nothing is compiled yet."""
STARTS = {
    # name -> variable that names the cache directory
    OURS: "FASTBP_CACHE_DIR",
    OURS + COLD: "FASTBP_CACHE_DIR",
    "sklearn": "",
    "numpy-hand": "",
    "jax-scan": "",
    "torch-eager": "",
    "torch-compile": "TORCHINDUCTOR_CACHE_DIR",
    "torch-compile" + COLD: "TORCHINDUCTOR_CACHE_DIR",
    "keras": "",
}
PEERS = {peer.name: peer for peer in SUITES["training"].peers}


def once(
    factory: str, case: Case, env: dict[str, str], timeout: float, *flags: str
) -> tuple[float, float | None, str]:
    """Seconds from the start of the process to its end, exit included; the share stolen of them; what it wrote.

    Raises
    ------
    RuntimeError
        With the last line the process wrote, when it fails.
    """
    command = [sys.executable, "-m", "bench.peers.first_epoch", factory, json.dumps(asdict(case)), *flags]
    watch = stolen.Watch()
    start = time.perf_counter()
    done = subprocess.run(
        command, env=env, cwd=fair.ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    seconds = time.perf_counter() - start
    share = watch.share()
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"ended with code {done.returncode}")
    return seconds, share, done.stdout


def run_startup(
    case: Case, names: list[str] | None, settings: Settings, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Measure every start in turn: warm ones `settings.repeats` times (at most five), cold ones twice.

    Returns
    -------
    dict
        As `conductor.run_case`; a rate is starts per second, so that more is better everywhere.
    """
    entries: dict[str, Entry] = {}
    tallies: dict[str, stolen.Tally] = {}
    first: dict[str, Entry] = {}
    processor = fair.level()
    with tempfile.TemporaryDirectory() as scratch:
        kept: dict[str, str] = {}
        active = []
        for name, variable in STARTS.items():
            peer, cold = PEERS[name.removesuffix(COLD)], name.endswith(COLD)
            if names and peer.name not in names:
                continue
            if module := peer.missing():
                entries[name] = {"status": "skipped", "note": f"{module} is not installed"}
                continue
            factory = peer.factory
            env = environment(case.threads, case.dtype)
            if variable and not cold:
                env[variable] = kept.setdefault(variable, os.path.join(scratch, variable))
            if factory not in first:
                first[factory] = _first(factory, case, env, settings.timeout, processor)
            entries[name] = dict(first[factory])
            if entries[name]["status"] == "ok":
                tallies[name] = stolen.Tally(2 if cold else min(settings.repeats, 5), settings.stolen)
                active.append((name, factory, env, variable if cold else ""))
        while waiting := [start for start in active if tallies[start[0]].open]:
            for start in waiting:
                name, factory, env, emptied = start
                if emptied:
                    env = env | {emptied: tempfile.mkdtemp(dir=scratch)}
                try:
                    seconds, share, _ = once(factory, case, env, settings.timeout)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    entries[name] |= {"status": "failed", "note": str(error)}
                    active.remove(start)
                else:
                    tallies[name].add(1 / seconds, share)
    for name, entry in entries.items():
        if name in tallies:
            summarize(entry, tallies[name])
        if "rate" in entry:
            say(f"  {name}: {1 / entry['rate']:.2f} s ({1 / entry['high']:.2f} to {1 / entry['low']:.2f})")
        else:
            say(f"  {name}: {entry['status']}, {entry['note']}")
    return asdict(case) | {"unit": "starts/s", "peers": entries}


def _first(factory: str, case: Case, env: dict[str, str], timeout: float, processor: str | None) -> Entry:
    """Start once, untimed: fills the cache that warm starts use, and tells which kernels the process has."""
    try:
        *_, text = once(factory, case, env, timeout, "--report")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return {"status": "failed", "note": str(error)}
    return begin(json.loads(text.splitlines()[-1]), processor, "")
