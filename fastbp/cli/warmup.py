"""``fastbp warmup``: compile everything, keep it on disk, and see that it is there."""

from __future__ import annotations

import time
from argparse import Namespace

from fastbp.cli.report import megabytes, say
from fastbp.tables.errors import InputError


def run(arguments: Namespace) -> int:
    """Compile all kernels for both dtypes; returns the exit code.

    Raises
    ------
    InputError         The kernels cannot be kept: there is no folder, the disk is full, or Numba has changed.
    """
    from fastbp.kernels import warmup
    from fastbp.kernels.machine import cache, jit, precompiled

    if reason := cache.obstacle():
        raise InputError(reason)
    say("compiling the kernels for this machine (up to a minute; quick if it is done already) ...")
    precompiled.ignore("`fastbp warmup` compiles for this processor itself")
    start = time.perf_counter()
    warmup(dtypes=("float32", "float64"), progress=lambda step: say(f"  {step}"))
    kept = jit.kept()
    if not kept:
        raise InputError("nothing is compiled while NUMBA_DISABLE_JIT is set")
    if lost := sum(not found for found in kept.values()):
        from fastbp.kernels.machine import disk

        why = f": {disk.fault}" if disk.fault else ""
        raise InputError(f"{lost} of {len(kept)} kernels could not be kept in {cache.cache_dir()}{why}")
    cache.mark_complete()
    say(f"{time.perf_counter() - start:.1f} s; {len(kept)} kernels kept in {cache.cache_dir()}")
    if arguments.clean:
        removed = cache.clean()
        say(f"removed what others left: {len(removed)} folders, {megabytes(sum(removed.values()))}")
    return 0
