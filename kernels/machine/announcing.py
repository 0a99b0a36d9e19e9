"""Before something is compiled: what is said, since Python then waits for seconds, and FASTBP_COMPILE=never."""

import os
import sys


class CompilationForbidden(RuntimeError):
    """Something would have to be compiled, and the environment variable FASTBP_COMPILE is never."""


def refuse(what):
    """Raise a CompilationForbidden if nothing may be compiled: for processes that shall not wait, and for tests."""
    wish = os.environ.get("FASTBP_COMPILE", "")
    if wish not in ("", "never"):
        raise ValueError(f"FASTBP_COMPILE must be never, or not set, got {wish!r}")
    if wish:
        raise CompilationForbidden(
            f"{what} would have to be compiled, and FASTBP_COMPILE is never: `fastbp warmup` compiles everything, and"
            " `fastbp info` says where compiled kernels are looked for"
        )


def announce(name, types_of_arguments):
    """Write a line to standard error, unless the environment variable FASTBP_QUIET is set."""
    if not os.environ.get("FASTBP_QUIET") and sys.stderr is not None:
        dtype = dtype_of(types_of_arguments)
        sys.stderr.write(
            f"fastbp: compiling {name} for {dtype} (once on this machine, 2 to 20 seconds) ...\n"
        )
        sys.stderr.flush()


def dtype_of(types_of_arguments):
    """Return the dtype that arguments of these types stand for."""
    return "float32" if "float32" in str(types_of_arguments) else "float64"
