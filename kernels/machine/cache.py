"""Where compiled code is kept on disk: a folder whose name is a hash of every file of the kernels.

Numba's own cache watches a single file, so an edit in a callee would be answered with stale numbers.
"""

import functools
import hashlib
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numba
from numba.core import config

_given_up = ""


def give_up(reason: str) -> None:
    """Keep nothing from now on, and say why."""
    global _given_up
    _given_up = reason
    warnings.warn(
        f"fastbp will compile its kernels anew in every process. {reason}", RuntimeWarning, stacklevel=3
    )


def fingerprint() -> str:
    """Return the hash that names this version of the kernels, with all that changes the code made from them."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    for fact in (
        numba.__version__,
        sys.version,
        platform.platform(),
        *(str(vars(config)[name]) for name in ("BOUNDSCHECK", "OPT", "CPU_NAME")),
        os.environ.get("FASTBP_VECTOR_BYTES", ""),
    ):
        digest.update(fact.encode())
    return digest.hexdigest()[:20]


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("FASTBP_CACHE_DIR"):
        yield Path(chosen)
        return
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        yield Path(chosen) / "fastbp"
    elif sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        yield Path(os.environ["LOCALAPPDATA"]) / "fastbp" / "cache"
    elif sys.platform == "darwin":
        yield Path("~/Library/Caches/fastbp").expanduser()
    else:
        yield Path("~/.cache/fastbp").expanduser()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    yield Path(tempfile.gettempdir()) / f"fastbp-{user}"


@functools.cache
def cache_dir() -> Path | None:
    """Return the folder that holds this version's compiled kernels, or None if nothing can be kept.

    `FASTBP_CACHE_DIR` overrides the choice. A folder in a shared place that belongs to another user is refused: machine
    code is loaded from it.
    """
    if _given_up:
        return None
    for root in _candidates():
        folder = root / fingerprint()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if hasattr(os, "getuid") and root.stat().st_uid not in (os.getuid(), 0):
                continue
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except (OSError, RuntimeError):
            continue
    warnings.warn(
        "fastbp found no folder to keep its compiled kernels in and will compile them anew in every process;"
        " set FASTBP_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def obstacle() -> str | None:
    """Return why nothing can be kept, or None."""
    if _given_up:
        return _given_up
    return None if cache_dir() else "no folder can be written to keep the kernels in; set FASTBP_CACHE_DIR"


def cache_is_warm(name: str = "network.run") -> bool:
    """Return whether compiled code of the entry `name` (module.function) lies in the cache."""
    folder = cache_dir()
    return folder is not None and any(folder.glob(f"{name}-*.nbc"))
