"""What a wheel with compiled kernels is worth: `python -m bench.probes.precompiled [WHEEL]`.

Builds the wheel (two minutes) unless one is named, unpacks it into a bare environment and prints its size, how many
functions the first fits compile, what they take from an empty cache, and what a step takes beside kernels that were
compiled for this very processor. Times are the best of `--rounds`, in turns; they need an idle machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import site
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from bench.fair import ROOT, THREADS

BUILD = """
import sys
import fastbp_build
print(fastbp_build.build_wheel(sys.argv[1], {"precompiled": sys.argv[2]}))
"""
COUNTED = """
import sys, time
from numba.core.event import RecordingListener, install_listener
listener = RecordingListener()
with install_listener("numba:compile", listener):
    from sklearn.datasets import load_digits
    from fastbp import MLPClassifier
    x, y = load_digits(return_X_y=True)
    start = time.perf_counter()
    MLPClassifier(max_iter=20, random_state=0, tol=0.0).fit(x / 16, y)
    print(time.perf_counter() - start, len(listener.buffer) // 2)
"""
STEP = """
import sys, time
from bench.suite import make_run, workloads
name = sys.argv[1]
batch = workloads.WORKLOADS[name].batch_size
session, x, y, orders, rate = make_run(name, "float32", rows=8 * max(batch, 64))
best, count = 1e9, 1
session.run(x, y, orders[0], rate)
end = time.perf_counter() + 2.0
while time.perf_counter() < end:
    start = time.perf_counter()
    session.run(x, y, orders[0], rate)
    best = min(best, time.perf_counter() - start)
print(best / max(1, len(orders[0]) // batch))
"""
STEPS = ("tabular-small", "tabular-multi", "mnist-sk")


def build(folder: Path, precompiled: str = "yes") -> Path:
    """Build a wheel from a copy of this checkout, which stays as it is; return its path."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "fastbp"
        ignored = shutil.ignore_patterns(
            ".*", "build", "dist", "*.egg-info", "__pycache__", "_build", "*.png"
        )
        shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
        done = subprocess.run(
            [sys.executable, "-c", BUILD, str(folder), precompiled],
            cwd=source,
            env=os.environ | {"PYTHONPATH": "build_backend"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        if list(source.rglob("precompiled/*.json")):
            raise RuntimeError("the build left compiled kernels in the checkout")
    return folder / done.stdout.splitlines()[-1]


class Environment:
    """A virtual environment with a wheel; packages that it needs are those of the environment of this process."""

    def __init__(self, wheel: Path, place: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
        self.python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        asked = [str(self.python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        told = subprocess.run(asked, capture_output=True, text=True, check=True)
        self.packages = Path(told.stdout.strip())
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.packages)
        others = [path for path in (*site.getsitepackages(), *sys.path) if path.endswith("-packages")]
        (self.packages / "others.pth").write_text("\n".join(dict.fromkeys(others)) + "\n")

    def run(self, *arguments: Any, cache: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python there, with a cache of its own and without settings of this process."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("FASTBP_", "PYTHON"))
        }
        return subprocess.run(
            [str(self.python), *map(str, arguments)],
            env=kept | {"FASTBP_CACHE_DIR": str(cache)} | variables,
            cwd=self.packages.parent,
            capture_output=True,
            text=True,
            check=False,
        )


def _must(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def measure(wheel: Path, rounds: int) -> None:
    """Print all figures of a wheel."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        environment = Environment(wheel, place / "environment")
        print(f"wheel                                {wheel.stat().st_size / 1e6:8.2f} MB  {wheel.name}")
        told = _must(environment.run("-m", "fastbp", "info", cache=place / "empty"))
        print(next(line for line in told.splitlines() if line.startswith("precompiled")))
        never = {"FASTBP_COMPILE": "never"}
        train, fit, compiled = [], [], 0
        for number in range(rounds):
            start = time.perf_counter()
            _must(environment.run("-m", "fastbp", "train", cache=place / f"train{number}", **never))
            train.append(time.perf_counter() - start)
            told = _must(
                environment.run("-W", "ignore", "-c", COUNTED, cache=place / f"fit{number}", **never)
            )
            seconds, count = told.split()
            fit.append(float(seconds))
            compiled = max(compiled, int(count))
        print(f"functions compiled                   {compiled:8d}")
        print(f"fastbp train, empty cache            {min(train):8.2f} s")
        print(f"MLPClassifier.fit, digits, 20 epochs {min(fit):8.2f} s after the import")
        warm = place / "warm"
        _must(environment.run("-m", "fastbp", "warmup", cache=warm))
        # The benchmarks without the checkout's fastbp beside them.
        (place / "path").mkdir()
        (place / "path" / "bench").symlink_to(ROOT / "bench")
        variables = dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(place / "path")}
        for name in STEPS:
            best = {"wheel": float("inf"), "processor": float("inf")}
            for _ in range(rounds):
                for which, cache in (("wheel", place / "none"), ("processor", warm)):
                    told = _must(environment.run("-c", STEP, name, cache=cache, **variables))
                    best[which] = min(best[which], float(told))
            print(
                f"step of {name:<28} {1e6 * best['wheel']:8.2f} us, {1e6 * best['processor']:.2f} us compiled for this"
                f" processor: {best['wheel'] / best['processor']:.3f}"
            )


def main() -> None:
    """Build the wheel if none is named, and measure it."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.probes.precompiled", description=__doc__.splitlines()[0]
    )
    parser.add_argument("wheel", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments.wheel or build(Path(folder)), arguments.rounds)


if __name__ == "__main__":
    main()
