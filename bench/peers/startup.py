"""How long a user waits: a fresh process that imports a peer, trains one epoch of tabular-small, and ends.

`python -m bench.peers.startup FACTORY CASE-JSON` is that process; `run_startup` starts it and holds the clock.
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
from pathlib import Path
from typing import Any

from bench.peers.subject import Case
from bench.peers.worker import environment, load

STARTS = (
    # name, factory, required module, variable that names the cache directory, cold (the cache is empty)
    ("fastbp", "fastbp_peer:Fastbp", "fastbp", "FASTBP_CACHE_DIR", False),
    ("fastbp (cold)", "fastbp_peer:Fastbp", "fastbp", "FASTBP_CACHE_DIR", True),
    ("sklearn", "sklearn_peer:ScikitLearn", "sklearn", "", False),
    ("numpy-hand", "numpy_peer:NumpyHand", "numpy", "", False),
    ("jax-scan", "jax_peers:JaxScan", "jax", "", False),
    ("torch-eager", "torch_peers:TorchEager", "torch", "", False),
    ("torch-compile", "torch_peers:TorchCompile", "torch", "TORCHINDUCTOR_CACHE_DIR", False),
    ("torch-compile (cold)", "torch_peers:TorchCompile", "torch", "TORCHINDUCTOR_CACHE_DIR", True),
    ("keras", "keras_peer:Keras", "keras", "", False),
)


def once(factory: str, case: Case, env: dict[str, str], timeout: float) -> float:
    """Seconds from the start of the process to its end, exit included.

    Raises
    ------
    RuntimeError
        With the last line the process wrote, when it fails.
    """
    command = [sys.executable, "-m", "bench.peers.startup", factory, json.dumps(asdict(case))]
    root = Path(__file__).resolve().parents[2]
    start = time.perf_counter()
    done = subprocess.run(
        command, env=env, cwd=root, capture_output=True, text=True, timeout=timeout, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"ended with code {done.returncode}")
    return seconds


def run_startup(
    case: Case, names: list[str] | None, repeats: int, timeout: float, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Measure every start in turn: warm ones `repeats` times, cold ones twice.

    Returns
    -------
    dict
        As `conductor.run_case`; a rate is starts per second, so that more is better everywhere.
    """
    import importlib.util

    from bench.peers.conductor import summarize

    entries: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        kept: dict[str, str] = {}
        active = []
        for name, factory, module, variable, cold in STARTS:
            if names and name.split(" ")[0] not in names:
                continue
            if importlib.util.find_spec(module) is None:
                entries[name] = {"status": "skipped", "note": f"{module} is not installed"}
                continue
            env = environment(case.threads, case.dtype)
            if variable and not cold:
                env[variable] = kept.setdefault(variable, os.path.join(scratch, variable))
            entries[name] = {"status": "ok", "note": "", "rates": []}
            active.append((name, factory, env, variable, cold))
        for name, factory, env, variable, cold in active:
            if variable and not cold:
                _attempt(
                    entries[name], factory, case, env, timeout
                )  # fills the cache that the warm starts use
                entries[name]["rates"] = []
        for lap in range(repeats):
            for name, factory, env, variable, cold in active:
                if entries[name]["status"] != "ok" or (cold and lap >= 2):
                    continue
                if cold:
                    env = env | {variable: tempfile.mkdtemp(dir=scratch)}
                _attempt(entries[name], factory, case, env, timeout)
    for name, entry in entries.items():
        summarize(entry)
        if "rate" in entry:
            say(f"  {name}: {1 / entry['rate']:.2f} s ({1 / entry['high']:.2f} to {1 / entry['low']:.2f})")
        else:
            say(f"  {name}: {entry['status']}, {entry['note']}")
    return asdict(case) | {"unit": "starts/s", "peers": entries}


def _attempt(entry: dict[str, Any], factory: str, case: Case, env: dict[str, str], timeout: float) -> None:
    try:
        entry["rates"].append(1 / once(factory, case, env, timeout))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        entry |= {"status": "failed", "note": str(error)}


def main() -> None:
    """Train one epoch."""
    subject = load(sys.argv[1])(Case(**json.loads(sys.argv[2])))
    subject.reset()
    subject.run(1)


if __name__ == "__main__":
    main()
