"""What the kernels are compiled for: the processor, the width of a vector, how many registers hold one, padding."""

import functools
import os

import llvmlite.binding as llvm
from numba.core import config


@functools.cache
def host_features():
    """Return what this processor can do, by LLVM's names: a dict of booleans."""
    return llvm.get_host_cpu_features()


def cpu():
    """Return name and features of the processor that Numba compiles for, in LLVM's words."""
    features = config.CPU_FEATURES
    if features is None:
        found = host_features()
        if not config.ENABLE_AVX:
            found = type(found)((name, here and not name.startswith("avx")) for name, here in found.items())
        features = found.flatten()
    return config.CPU_NAME or llvm.get_host_cpu_name(), features


def enabled():
    """Return the features that may be used, by LLVM's names."""
    return {name[1:] for name in cpu()[1].split(",") if name.startswith("+")}


def vector_bytes():
    """Return the width of this machine's vectors in bytes: 64 (AVX-512), 32 (AVX) or 16 (SSE2, NEON)."""
    if chosen := os.environ.get("FASTBP_VECTOR_BYTES"):
        if chosen not in ("16", "32", "64"):
            raise ValueError(f"FASTBP_VECTOR_BYTES must be 16, 32 or 64, got {chosen!r}")
        return int(chosen)
    if config.CPU_NAME not in (None, "", "host"):
        return 16
    usable = enabled()
    return 64 if "avx512f" in usable else 32 if "avx" in usable else 16


def estimates():
    """Return whether an instruction estimates reciprocals of 8 float64; a level's name says that without features."""
    return VECTOR_BYTES == 64 and ("avx512f" in enabled() or config.CPU_NAME == "x86-64-v4")


VECTOR_BYTES = vector_bytes()
ESTIMATES = estimates()
# 32 vector registers with AVX-512 and NEON, 16 before: decides how many accumulators a tile keeps.
REGISTERS = 32 if VECTOR_BYTES == 64 or llvm.get_process_triple().startswith(("aarch64", "arm64")) else 16
# Rows in memory are padded to this on every machine, so that a layout does not depend on the CPU.
ROW_BYTES = 64


def describe():
    """Return what the kernels are compiled for: CPU, vector width in bytes, vector registers, numbers per vector."""
    return {
        "cpu": config.CPU_NAME or llvm.get_host_cpu_name(),
        "vector_bytes": VECTOR_BYTES,
        "vector_registers": REGISTERS,
        "lanes": {"float32": VECTOR_BYTES // 4, "float64": VECTOR_BYTES // 8},
    }
