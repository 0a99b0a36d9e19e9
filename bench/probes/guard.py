"""Instruction counts of the hot kernels: the same on an idle machine and on a busy one, so that CI can gate on them.

`python -m bench.probes.guard --check` counts under valgrind's callgrind and compares with guard.json; `--update`
writes it. A count is the difference between a long and a short run of the same call, so that the call itself cancels.
Kernels are compiled for one fixed processor (haswell: valgrind knows AVX2 and FMA, not AVX-512), in a cache of their
own, before valgrind starts. A count says nothing of caches and ports: it catches work that should not be there, asv
the rest.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import mmap
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.fair import ROOT

STORED = Path(__file__).with_name("guard.json")
TOLERANCE = 0.03
TARGET = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+popcnt,+movbe",
    "FASTBP_VECTOR_BYTES": "32",
    "OPENBLAS_CORETYPE": "Haswell",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}

Case = tuple[str, Callable[[int], object], int, int]
"""Name, what to run, a short and a long amount of it."""


def _steps() -> Iterator[Case]:
    from bench.suite import make_run, workloads

    names = [(name, "float32") for name in workloads.WORKLOADS if name != "wide"] + [
        ("tabular-small", "float64")
    ]
    for name, dtype in names:
        batch = workloads.WORKLOADS[name].batch_size
        short, long = (20, 120) if batch == 1 else (1, 4) if name != "mnist-wide" else (1, 2)
        made = make_run(name, dtype, rows=max(batch * long, 64))

        def run(n: int, made: Any = made, batch: int = batch) -> None:
            session, x, y, orders, rate = made
            session.run(x, y, orders[0][: n * batch], rate)

        yield f"step/{name}/{dtype}", run, short, long


def _parts() -> Iterator[Case]:
    """Each activation, loss and rule of the registries, by rows or batches."""
    from bench.suite.kernels import Activation, Loss, Optimizer

    for kind, benchmark in (("activation", Activation), ("loss", Loss)):
        for name in benchmark.params[0]:
            b = benchmark()
            b.setup(name, "float32")

            def gradient(n: int, b: Activation | Loss = b) -> None:
                b.engine.value_and_grad(b.x[: n * 64], b.y[: n * 64], b.objective)

            yield f"{kind}/{name}", gradient, 1, 3
    for name in Optimizer.params[0]:
        b = Optimizer()
        b.setup(name, "float32")

        def update(n: int, b: Optimizer = b) -> None:
            b.session.run(b.x, b.y, b.order[: 2 * n], 1e-6)

        yield f"rule/{name}", update, 1, 3


def _calls() -> Iterator[Case]:
    """Prediction by rows, and what one call from Python takes (the interpreter's instructions included)."""
    from bench.suite.predicting import Dispatch, Rows

    rows = Rows()
    rows.setup("784-100-10", 512, "float32")
    yield "predict/784-100-10", lambda n: rows.engine.predict(rows.x[: n * 64]), 1, 5
    calls = Dispatch()
    calls.setup()
    for name in ("time_predict", "time_value_and_grad", "time_step"):
        call = getattr(calls, name)
        yield f"call/{name.removeprefix('time_')}", lambda n, call=call: [call() for _ in range(n)], 20, 120


def _loops() -> Iterator[Case]:
    """What a small step and a short fit take by what users call, and batches whose loss is the user's."""
    from bench.suite.training import CompiledLoss, OwnLoop, SmallFit

    loop = OwnLoop()
    loop.setup("4-8-1")
    yield "call/trainer_step", lambda n: [loop.time_step() for _ in range(n)], 20, 120
    short = SmallFit()
    short.setup(1)
    yield "call/short_fit", lambda n: [short.time_fit(1) for _ in range(n)], 5, 25
    for kind in ("built-in", "compiled"):
        b = CompiledLoss()
        b.setup(kind, "20-32-1")

        def fit(n: int, b: CompiledLoss = b) -> None:
            x, y = b.x[: n * 32], b.y[: n * 32]
            b.net.fit(x, y, loss=b.loss, optimizer=b.rule, n_threads=1, verbose=0)

        yield f"fit/{kind}_loss", fit, 2, 10


def cases() -> Iterator[Case]:
    """Everything that is guarded."""
    yield from _steps()
    yield from _parts()
    yield from _calls()
    yield from _loops()


class Callgrind:
    """valgrind's client requests: counting on, off, to zero, and written to a file under a name.

    A request is a sequence of instructions without effect on a processor, which valgrind recognizes (valgrind.h,
    amd64); written into executable memory here, so that no C compiler is needed.
    """

    _CODE = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
    _BASE = (ord("C") << 24) | (ord("T") << 16)

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._memory.write(self._CODE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64))(address)

    def _request(self, number: int, text: bytes | None = None) -> None:
        pointer = ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value or 0
        self._call((ctypes.c_uint64 * 6)(self._BASE + number, pointer))

    def zero(self) -> None:
        """Forget what was counted."""
        self._request(1)

    def dump(self, name: str) -> None:
        """Write what was counted to a file that carries `name`."""
        self._request(3, name.encode())

    def start(self) -> None:
        """Begin to count."""
        self._request(4)

    def stop(self) -> None:
        """Run at full (emulated) speed, uncounted."""
        self._request(5)


def child(counting: bool, only: str) -> None:
    """Run every case whose name holds `only`: to compile and fill the cache, or under valgrind to be counted."""
    from fastbp.engine import session

    # Pieces are cut by the clock, which valgrind slows down: one piece, the same in every run.
    session.CHUNK_SECONDS = 1e6
    gc.disable()
    valgrind = Callgrind() if counting else None
    for name, run, short, long in cases():
        if only not in name:
            continue
        run(short)
        if valgrind is None:
            continue
        for amount, label in ((short, "short"), (long, "long")):
            run(amount)
            valgrind.start()
            valgrind.zero()
            run(amount)
            valgrind.dump(f"{name} {label} {amount}")
            valgrind.stop()


_NAMED = re.compile(r"^desc: Trigger: Client Request: (\S+) (short|long) (\d+)$", re.MULTILINE)
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def read_counts(folder: Path) -> dict[str, int]:
    """Instructions per unit of each case from callgrind's files.

    Raises
    ------
    ValueError
        When a case has not both of its counts.
    """
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for path in folder.iterdir():
        text = path.read_text(errors="replace")
        if (named := _NAMED.search(text)) and (total := _TOTAL.search(text)):
            name, label, amount = named.groups()
            found.setdefault(name, {})[label] = int(amount), int(total.group(1))
    counts = {}
    for name, pair in sorted(found.items()):
        if set(pair) != {"short", "long"}:
            raise ValueError(f"{name}: counted only {', '.join(pair)}")
        (n1, c1), (n2, c2) = pair["short"], pair["long"]
        counts[name] = round((c2 - c1) / (n2 - n1))
    return counts


def count(only: str = "") -> dict[str, int]:
    """Compile for the fixed processor, run under valgrind, return instructions per unit of the cases."""
    cache = ROOT / ".asv" / "guard-cache"
    env = os.environ | TARGET | {"FASTBP_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "bench.probes.guard", "--only", only]
    subprocess.run([*command, "--child", "warm"], env=env, cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as scratch:
        out = f"--callgrind-out-file={scratch}/out"
        flags = ["--tool=callgrind", "--instr-atstart=no", "--smc-check=all-non-file", "-q", out]
        done = subprocess.run(
            ["valgrind", *flags, *command, "--child", "count"],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"under valgrind: {done.stderr.strip()[-800:]}")
        return read_counts(Path(scratch))


def environment() -> dict[str, str]:
    """What, besides the kernels, decides the counts."""
    names = ("numba", "llvmlite", "numpy")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def compare(stored: dict[str, int], counted: dict[str, int], tolerance: float) -> tuple[list[str], list[str]]:
    """(regressions, improvements), a sentence each; a case missing on either side is a regression of the guard."""
    worse, better = [], []
    for name in sorted(stored.keys() | counted.keys()):
        if name not in stored or name not in counted:
            where = "guard.json" if name not in stored else "what was counted"
            worse.append(f"{name}: not in {where}; run --update and commit guard.json")
            continue
        ratio = counted[name] / stored[name]
        line = f"{name}: {counted[name]:,} instructions, {stored[name]:,} stored ({ratio - 1:+.1%})"
        if ratio > 1 + tolerance:
            worse.append(line)
        elif ratio < 1 - tolerance:
            better.append(line)
    return worse, better


def main(arguments: list[str] | None = None) -> int:
    """Check or update; exit code 1 on a regression, 2 if it cannot be counted here."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.probes.guard", description=__doc__.partition("\n")[0]
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="compare with guard.json")
    what.add_argument("--update", action="store_true", help="write guard.json")
    what.add_argument("--child", choices=["warm", "count"], help=argparse.SUPPRESS)
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="cases whose name holds this, e.g. step/tabular"
    )
    args = parser.parse_args(arguments)
    if args.child:
        child(args.child == "count", args.only)
        return 0
    if args.update and args.only:
        parser.error("--update writes all counts; leave --only out")
    if shutil.which("valgrind") is None or platform.machine() != "x86_64":
        print("guard: needs valgrind on x86-64", file=sys.stderr)
        return 2
    if args.check and not STORED.exists():
        print(f"guard: no {STORED}; run --update on a commit that is known to be good", file=sys.stderr)
        return 1
    counted = count(args.only)
    if args.update:
        content = {"environment": environment(), "tolerance": TOLERANCE, "instructions": counted}
        STORED.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        print(f"wrote {len(counted)} counts to {STORED}")
        return 0
    stored = json.loads(STORED.read_text())
    tolerance = stored["tolerance"]
    if stored["environment"] != environment():
        # Another compiler makes other code; only a gross change can be told from that.
        tolerance = max(tolerance, 0.25)
        print(
            f"guard: counted with {environment()}, stored with {stored['environment']}: tolerance {tolerance:.0%}"
        )
    kept = {name: n for name, n in stored["instructions"].items() if args.only in name}
    worse, better = compare(kept, counted, tolerance)
    for line in better:
        print(f"fewer instructions (run --update to keep it): {line}")
    for line in worse:
        print(f"MORE INSTRUCTIONS: {line}")
    print(f"guard: {len(counted)} counts, {len(worse)} worse, {len(better)} better")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
