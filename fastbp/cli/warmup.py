"""``fastbp warmup``: compile everything and keep it on disk."""

from __future__ import annotations

import time
from argparse import Namespace

from fastbp.cli.report import say
from fastbp.tables.errors import InputError


def run(_: Namespace) -> int:
    """Compile all kernels for both dtypes; returns the exit code.

    Raises
    ------
    InputError         The kernels cannot be kept: there is no folder, or Numba has changed.
    """
    from fastbp.kernels import warmup
    from fastbp.kernels.machine import cache

    if reason := cache.obstacle():
        raise InputError(reason)
    say("compiling the kernels for this machine (up to a minute; quick if it is done already) ...")
    start = time.perf_counter()
    warmup(dtypes=("float32", "float64"), progress=lambda step: say(f"  {step}"))
    say(f"{time.perf_counter() - start:.1f} s; kept in {cache.cache_dir()}")
    return 0
