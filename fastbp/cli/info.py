"""``fastbp info``: what the kernels find on this machine."""

from __future__ import annotations

import json
import platform
from argparse import Namespace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.cli.report import COMPILE_SECONDS, megabytes, say
from fastbp.layers import ACTIVATION_NAMES
from fastbp.objectives import OBJECTIVE_NAMES
from fastbp.reference import RULES
from fastbp.tables.errors import listed


def run(arguments: Namespace) -> int:
    """Print the facts, one a line or as JSON; returns the exit code."""
    facts = _facts()
    if arguments.json:
        say(json.dumps(facts, default=str))
        return 0
    vector, folder, others = facts["vector"], facts["cache"], facts["others"]
    lanes = " or ".join(f"{count} {dtype}" for dtype, count in vector["lanes"].items())
    facts["vector"] = f"{8 * vector['vector_bytes']} bits ({lanes}), compiled for {vector['cpu']}"
    state = "warm" if facts.pop("warm") else f"cold: the next training compiles for about {COMPILE_SECONDS} s"
    size = megabytes(facts.pop("bytes"))
    facts["cache"] = "none: every process compiles anew" if folder is None else f"{folder} ({state}; {size})"
    facts["others"] = "none"
    if others:
        names = listed([Path(each).name for each in others], 4)
        facts["others"] = (
            f"{len(others)} folders beside it, {megabytes(sum(others.values()))} ({names}):"
            " `fastbp warmup --clean` removes them"
        )
    for name, value in facts.items():
        say(f"{name:<13} {', '.join(value) if isinstance(value, list) else value}")
    return 0


def _facts() -> dict[str, Any]:
    from fastbp import __version__
    from fastbp.engine import teams
    from fastbp.kernels.machine import cache, target

    folder, sizes = cache.cache_dir(), cache.folders()
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    versions = {
        name: metadata.version(name) for name in ("numpy", "scipy", "scikit-learn", "numba", "llvmlite")
    }
    return {
        "fastbp": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()}, {platform.platform()})",
        "cpu": _cpu_name(),
        "vector": target.describe(),
        "threads": teams.default_threads(),
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        **versions,
        "cache": None if folder is None else str(folder),
        "warm": cache.cache_is_warm(),
        "bytes": 0 if folder is None else sizes.get(folder, 0),
        "others": {str(path): size for path, size in sizes.items() if path != folder},
        "activations": list(ACTIVATION_NAMES),
        "losses": list(OBJECTIVE_NAMES),
        "optimizers": list(RULES),
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
