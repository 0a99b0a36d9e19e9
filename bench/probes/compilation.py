"""What compiling the kernels takes, function by function: `python -m bench.probes.compilation [float32|float64]`.

Everything is compiled anew in a cache of its own. A function's time is its own: not that of the functions it calls, but
for an entry with the optimization and assembly of all of them, which is done once, there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import Any

from numba.core.event import Listener, install_listener


class Stopwatch(Listener):
    """Listens to Numba's compilations, which nest, and keeps the time that is each function's own."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, str]] = []
        self._open: list[list[float]] = []

    def on_start(self, event: Any) -> None:
        """Begin a function."""
        self._open.append([time.perf_counter(), 0.0])

    def on_end(self, event: Any) -> None:
        """End it, and take its time from the function that asked for it."""
        start, inner = self._open.pop()
        whole = time.perf_counter() - start
        function = event.data["dispatcher"].py_func
        self.rows.append((whole - inner, f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"))
        if self._open:
            self._open[-1][1] += whole


def measure(dtype: str) -> None:
    """Compile everything for one dtype and print what took how long."""
    from fastbp.kernels import warm

    watch = Stopwatch()
    start = time.perf_counter()
    with install_listener("numba:compile", watch):
        warm.warmup((dtype,))
    total = time.perf_counter() - start
    print(f"{dtype}: {total:.1f} s for {len(watch.rows)} functions")
    # One that is compiled for several types, or made several times, is one line.
    times: Counter[str] = Counter()
    for seconds, name in watch.rows:
        times[name] += seconds
    longest = dict(times.most_common(25))
    for name, seconds in longest.items():
        print(f"  {name:<36}{seconds:7.2f} s")
    print(f"  {'all others':<36}{times.total() - sum(longest.values()):7.2f} s")


def main() -> None:
    """Measure in a fresh process, then load what it left in another."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.probes.compilation", description=__doc__.splitlines()[0]
    )
    parser.add_argument("dtype", nargs="?", default="float32", choices=["float32", "float64"])
    dtype = parser.parse_args().dtype
    if os.environ.get("FASTBP_BENCH_COMPILATION"):
        measure(dtype)
        return
    load = f"""
import time
from fastbp.kernels import warm
start = time.perf_counter()
warm.warmup(({dtype!r},))
print(f"loaded from the cache in {{time.perf_counter() - start:.2f}} s")
"""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FASTBP_CACHE_DIR": folder, "FASTBP_BENCH_COMPILATION": "1"}
        subprocess.run([sys.executable, "-m", "bench.probes.compilation", dtype], check=True, env=environment)
        subprocess.run([sys.executable, "-c", load], check=True, env=environment)


if __name__ == "__main__":
    main()
