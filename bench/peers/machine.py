"""The machine: what it is, and what its cores and memory can do, measured beside the peers."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bench import fair
from bench.peers.subject import Case

PACKAGES = ("fastbp", "numpy", "scipy", "numba", "scikit-learn", "torch", "jax", "keras", "skorch")


def fma_rate(dtype: str, seconds: float) -> tuple[float, str]:
    """FLOP/s of one core in multiply-adds that touch no memory, and how that was measured.

    If fastbp cannot be imported, a large matrix product stands in, and the result says so.
    """
    try:
        from fastbp.kernels.machine.peak import fma_peak
    except ImportError:
        return _product_rate(dtype, seconds), "large matrix product"
    return float(fma_peak(dtype, seconds)), "register-only FMA loop"


def _product_rate(dtype: str, seconds: float) -> float:
    n = 768
    a = np.ones((n, n), dtype=dtype)
    out = a @ a
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        np.dot(a, a, out=out)
        best = min(best, time.perf_counter() - start)
    return float(2 * n**3 / best)


class Peak:
    """The FMA peak as a contestant: it takes its turn among the peers, so that a slow minute of the machine shows."""

    check_runs = 0

    def __init__(self, case: Case) -> None:
        self.case = case
        self.seconds = 0.02 if case.quick else 0.2
        self.work = 1.0
        _, self.note = fma_rate(case.dtype, 0.01)

    def check(self) -> list[float]:
        """Nothing to agree on."""
        return []

    def reset(self) -> None:
        """Nothing to reset."""

    def run(self, times: int) -> None:
        """Not used: `rate` says what was reached."""

    def rate(self) -> float:
        """FLOP/s of all threads together."""
        with ThreadPoolExecutor(self.case.threads) as pool:
            runs = [pool.submit(fma_rate, self.case.dtype, self.seconds) for _ in range(self.case.threads)]
            return sum(run.result()[0] for run in runs)


def bandwidth() -> dict[str, float]:
    """Bytes per second that one core reads, by where the data lies: the faster of a maximum and a dot product."""
    rates = {}
    for name, size in (("L2", 512 << 10), ("L3", 6 << 20), ("DRAM", 256 << 20)):
        x = np.ones(size // 4, dtype=np.float32)
        times = max(2, (128 << 20) // size)
        best = np.inf
        for read in (x.max, lambda x=x: np.dot(x, x)):
            read()
            for _ in range(4):
                start = time.perf_counter()
                for _ in range(times):
                    read()
                best = min(best, time.perf_counter() - start)
        rates[name] = size * times / best
    return rates


def _cpu() -> dict[str, Any]:
    has = fair.features()
    flags = [name for name in ("sse2", "avx", "avx2", "fma", "avx512f") if has.get(name)]
    facts: dict[str, Any] = {"model": platform.processor() or platform.machine(), "flags": flags}
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return facts
    table = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    facts["model"] = table.get("model name", facts["model"])
    facts["family"] = f"{table.get('cpu family', '?')}/{table.get('model', '?')}"
    return facts


def _caches() -> dict[str, str]:
    sizes = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind = (index / "type").read_text().strip()
            sizes[f"L{(index / 'level').read_text().strip()} {kind.lower()}"] = (
                (index / "size").read_text().strip()
            )
        except OSError:
            continue
    return sizes


def _commit() -> str:
    """The newest commit that touched what is measured, "-dirty" if the files on disk differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(fair.ROOT), *arguments, "--", "fastbp", "kernels"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    name = git("log", "-1", "--format=%h", "--abbrev=12") or "unknown"
    return name + ("-dirty" if git("status", "--porcelain") else "")


def versions() -> dict[str, str]:
    """Installed versions of everything that takes part."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def facts() -> dict[str, Any]:
    """Return the machine, the installed versions, the commit and the date."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "cpu": _cpu(),
        "cores": cores,
        "caches": _caches(),
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(),
        "versions": versions(),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def report() -> dict[str, Any]:
    """Return the facts and the bandwidths of the memory."""
    return facts() | {"bandwidth": bandwidth()}


def describe(machine: dict[str, Any], again: str = "") -> str:
    """Return the facts in a sentence; `again` names what other commits measured."""
    cpu = machine["cpu"]
    versions = ", ".join(
        f"{name} {version}" for name, version in machine["versions"].items() if name != "fastbp"
    )
    return (
        f"{cpu['model']} (family {cpu.get('family', '?')}; {' '.join(cpu['flags'])}), {machine['cores']} cores,"
        f" {machine['memory_gib']:.0f} GiB; {machine['system']}; measured {machine['date']} at commit"
        f" {machine['commit']}{again}; {versions}."
    )
