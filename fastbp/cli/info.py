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
    brought = facts["precompiled"]
    facts["precompiled"] = f"not used: {brought.get('reason')}"
    if brought["level"] is not None:
        damaged = f", {brought['damaged']} of them damaged and compiled anew" if brought["damaged"] else ""
        where = f"{brought['folder']}; {megabytes(brought['bytes'])}"
        facts["precompiled"] = f"{brought['level']}: {brought['kernels']} kernels{damaged} ({where})"
    for name, value in facts.items():
        say(f"{name:<13} {', '.join(value) if isinstance(value, list) else value}")
    return 0


def _facts() -> dict[str, Any]:
    from fastbp import __version__
    from fastbp.engine import teams
    from fastbp.kernels.machine import cache, target

    folder, sizes, brought = cache.cache_dir(), cache.folders(), _precompiled()
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
        "precompiled": brought,
        "warm": cache.cache_is_warm() or brought["level"] is not None,
        "bytes": 0 if folder is None else sizes.get(folder, 0),
        "others": {str(path): size for path, size in sizes.items() if path != folder},
        "activations": list(ACTIVATION_NAMES),
        "losses": list(OBJECTIVE_NAMES),
        "optimizers": list(RULES),
    }


def _precompiled() -> dict[str, Any]:
    """Return which level of a platform wheel's kernels is used, or why none is, and how many files are damaged."""
    from fastbp.kernels.machine import precompiled

    folder, told = precompiled.state()
    if folder is None:
        return {"level": None, "reason": told}
    from fastbp.kernels.machine import cache, disk

    files = [path for path in folder.iterdir() if path.suffix == cache.SUFFIX]
    return {
        "level": told,
        "folder": str(folder),
        "bytes": sum(path.stat().st_size for path in files),
        "kernels": len(files),
        "damaged": sum(disk.read(path) is None for path in files),
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
