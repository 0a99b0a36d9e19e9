"""Did a peer run as fast as its libraries can? Variables that slow it, kernels that ran, figures that are refused.

OpenBLAS and its like choose their kernels once, when they are loaded, from the processor and from the environment. So a
process that measures must start without the variables of `HANDICAPS`, and says afterwards which kernels it had.
Imports nothing that loads a BLAS, so that it can be used before NumPy is.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

HANDICAPS = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "BLIS_ARCH_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
)
"""Variables by which a numerical library takes other kernels than the processor's best."""

THREADS = (
    *(f"{name}_NUM_THREADS" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "BLIS")),
    "VECLIB_MAXIMUM_THREADS",
)
"""Variables that hold numerical libraries to a number of threads."""

_X86 = {
    "sse": "Katmai Coppermine Northwood Prescott Banias Atom Core2 Penryn Dunnington Nehalem Athlon Opteron"
    " Opteron_SSE3 Barcelona Nano Bobcat generic",
    "avx": "Sandybridge Bulldozer Piledriver Steamroller",
    # Excavator: OpenBLAS's best for a processor that has AVX2.
    "avx2": "Excavator Haswell Zen Zen2 Zen3",
    "avx512": "SkylakeX Cooperlake SapphireRapids skx knl Zen4 Zen5",
}
LEVELS = list(_X86)
"""Vector instructions of x86-64, the weakest first."""
LEVEL_OF = {name.lower(): level for level, names in _X86.items() for name in names.split()}
"""The level that the kernels of OpenBLAS and BLIS are written for, by the name the library gives them (driver/others/
dynamic.c in OpenBLAS, frame/base/bli_arch.c in BLIS)."""

Kernel = dict[str, Any]
"""One BLAS in a process: owner (the package that brings it), library, version, architecture (None: it does not say),
threads."""


def without(variables: Mapping[str, str], names: Iterable[str] = HANDICAPS) -> dict[str, str]:
    """Return an environment without the variables of these names."""
    dropped = set(names)
    return {name: value for name, value in variables.items() if name not in dropped}


def again(module: str, arguments: list[str], names: Iterable[str] = HANDICAPS) -> int | None:
    """Run a module of bench in a new process whose environment lacks `names`.

    Returns
    -------
    int or None
        The exit code of that process; None if none of the variables is set and the caller can go on itself.
    """
    names = tuple(names)
    if not any(name in os.environ for name in names):
        return None
    # ROOT comes last, so that the new process imports the same fastbp as this one.
    code = f"import runpy, sys; sys.path.append({str(ROOT)!r}); runpy.run_module({module!r}, run_name='__main__')"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=without(os.environ, names), check=False).returncode


def features() -> dict[str, bool]:
    """Return the processor's features by LLVM's names; empty if LLVM cannot tell."""
    from llvmlite import binding

    try:
        return dict(binding.get_host_cpu_features())
    except RuntimeError:
        return {}


def level() -> str | None:
    """Return the best of `LEVELS` that this processor has, by the features OpenBLAS asks for; None if not x86-64."""
    has = features()
    needs = {
        "avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
        "avx2": ("avx2", "fma"),
        "avx": ("avx",),
        "sse": ("sse2",),
    }
    return next((name for name, wanted in needs.items() if all(has.get(f, False) for f in wanted)), None)


def kernels() -> list[Kernel]:
    """Return every BLAS that this process has loaded: those that threadpoolctl sees, and the one inside PyTorch."""
    from threadpoolctl import threadpool_info

    found = [
        {
            "owner": _owner(Path(pool["filepath"])),
            "library": pool["internal_api"],
            "version": pool["version"],
            "architecture": pool.get("architecture"),
            "threads": pool["num_threads"],
        }
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    torch = sys.modules.get("torch")
    if torch is not None and torch.backends.mkl.is_available():
        version, architecture = _mkl_inside(torch)
        mkl = {"library": "mkl", "version": version, "architecture": architecture}
        found.append({"owner": "torch", **mkl, "threads": torch.get_num_threads()})
    return sorted(found, key=lambda kernel: (kernel["owner"], kernel["library"]))


def _owner(path: Path) -> str:
    """Return the installed package a library belongs to, or its file name if it lies elsewhere."""
    for below, name in zip(path.parts, path.parts[1:], strict=False):
        if below in ("site-packages", "dist-packages"):
            return name.removesuffix(".libs")
    return path.name


@functools.cache
def _mkl_inside(torch: Any) -> tuple[str | None, str | None]:
    """Return version and kernels by MKL's verbose mode; it is linked into PyTorch, where threadpoolctl cannot see it.

    MKL introduces itself once in a process, so the answer is kept.
    """
    ones = torch.ones(32, 32)
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON):
                ones @ ones
            if os.name == "posix":
                ctypes.CDLL(None).fflush(None)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        said = file.read().decode(errors="replace")
    version = re.search(r"MKL_VERBOSE (?:oneMKL|Intel\(R\) MKL) (\S+(?: Update \d+)?)", said)
    kernel = re.search(r"\(Intel\(R\) (AVX[-\w]*|SSE[-.\w]*)\)", said)
    return version and version.group(1), kernel and kernel.group(1)


def report() -> dict[str, Any]:
    """Return "variables", the handicaps set in this process, and its "kernels", as far as they are loaded by now."""
    set_here = {name: os.environ[name] for name in HANDICAPS if name in os.environ}
    return {"variables": set_here, "kernels": kernels()}


def describe(kernel: Kernel) -> str:
    """Return a kernel in words, without its threads, which differ from case to case."""
    architecture = kernel["architecture"] or "(kernels not known)"
    return f"{kernel['owner']}'s {kernel['library']} {kernel['version'] or '?'} {architecture}"


def reasons(process: dict[str, Any], processor: str | None) -> list[str]:
    """Say why the process with this `report` was slowed; its figures do not count unless the list is empty.

    Parameters
    ----------
    process : dict
        What `report` returned there.
    processor : str or None
        `level()` of the machine. None: kernels are not judged, only variables.
    """
    found = [f"{name}={value} was set" for name, value in process["variables"].items()]
    for kernel in process["kernels"]:
        # MKL chooses by itself: it says what it took, but no variable that we left made it take that.
        if processor is None or kernel["library"] not in ("openblas", "blis"):
            continue
        ran = LEVEL_OF.get((kernel["architecture"] or "").lower())
        if ran is None:
            found.append(f"{describe(kernel)}: kernels that bench/fair.py does not know")
        elif LEVELS.index(ran) < LEVELS.index(processor):
            found.append(f"{describe(kernel)}: {ran} kernels on a processor with {processor}")
    return found
