"""Install a wheel or an sdist in a bare environment and use it: `python release/use.py FILE`.

A platform wheel brings machine code. With it, nothing may be compiled, and the folder for compiled kernels stays empty.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

DROP_IN = """
import time
from sklearn.datasets import load_digits
from fastbp import MLPClassifier

X, y = load_digits(return_X_y=True)
start = time.perf_counter()
classifier = MLPClassifier(random_state=0, max_iter=30, tol=0.0).fit(X / 16, y)
print(f"MLPClassifier.fit on the digits: {time.perf_counter() - start:.2f} s")
assert classifier.score(X / 16, y) > 0.97
"""


def use(file: Path, place: Path) -> None:
    """Install the file in `place` and train with it, from the shell and from Python.

    Raises
    ------
    subprocess.CalledProcessError
        If a command fails.
    RuntimeError
        If something was compiled that the file should have brought.
    """
    precompiled = file.suffix == ".whl" and not file.stem.endswith("-none-any")
    bare, work, cache = place / "bare", place / "work", place / "cache"
    work.mkdir()
    venv.create(bare, with_pip=True)
    programs = bare / ("Scripts" if os.name == "nt" else "bin")
    # Nothing that is set for this checkout counts there.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FASTBP_", "NUMBA_", "PYTHON"))
    }
    environment["FASTBP_CACHE_DIR"] = str(cache)
    if precompiled:
        environment["FASTBP_COMPILE"] = "never"

    def run(program: str, *arguments: str) -> None:
        print(">", program, *(argument for argument in arguments if "\n" not in argument), flush=True)
        start = time.perf_counter()
        subprocess.run([str(programs / program), *arguments], cwd=work, env=environment, check=True)
        print(f"< {time.perf_counter() - start:.1f} s", flush=True)

    run("python", "-m", "pip", "install", "--quiet", f"{file}[precompiled]" if precompiled else str(file))
    run("python", "-m", "pip", "check")
    run("fastbp", "train", "--epochs", "5")
    run("python", "-c", DROP_IN)
    run("fastbp", "info")
    if precompiled and (kept := [path.name for path in cache.rglob("*") if path.is_file()]):
        raise RuntimeError(f"compiled anew: {kept}")


def main() -> None:
    """Use one file in a folder that is removed afterwards."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit(f"usage: python release/use.py FILE, a wheel or an sdist; got {sys.argv[1:]}")
    # Windows keeps a library that was loaded a moment ago.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        use(Path(sys.argv[1]).resolve(), Path(place))


if __name__ == "__main__":
    main()
