"""What a platform wheel brings, made: `python -m fastbp.kernels.precompile FOLDER`, with the wheel's Numba.

Each level of this architecture is compiled in a process of its own. Nothing is run: this machine need not have it.
The folder takes one folder for each level, and a file that says what they were made with.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from . import warm
from .machine import jit, key, levels, precompiled

# No process compiles so many functions.
FIRST_NUMBER = 2**40


def main(arguments):
    """Make a folder for all levels, or with the name of a level, in a process for it, that one."""
    folder = Path(arguments[0])
    if len(arguments) > 1:
        _compile()
        sys.stdout.write(json.dumps(key.facts()))
        return
    folder.mkdir(parents=True, exist_ok=True)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "FASTBP_"))}
    told = None
    for level in levels.levels():
        name, features = level.processor
        environment = ours | {
            "NUMBA_CPU_NAME": name,
            "NUMBA_CPU_FEATURES": features,
            "FASTBP_VECTOR_BYTES": str(level.vector_bytes),
            "FASTBP_CACHE_DIR": str(folder),
        }
        command = [sys.executable, "-m", f"{__package__}.precompile", str(folder), name]
        done = subprocess.run(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True, check=True
        )
        told = done.stdout
    if told is None:
        raise SystemExit("fastbp: there are no levels for this architecture")
    (folder / precompiled.MADE).write_text(told, encoding="utf-8")


def _compile():
    """Compile everything for the processor that the environment names, and see that it is kept."""
    jit.number_functions_from(FIRST_NUMBER)
    for dtype in ("float32", "float64"):
        for _, entry, arguments in warm.calls(dtype):
            jit.compile_for(entry, arguments)
    lost = [name for name, found in jit.kept().items() if not found]
    if lost:
        raise SystemExit(f"fastbp: not kept: {', '.join(lost)}")


if __name__ == "__main__":
    main(sys.argv[1:])
