"""Where compiled code is kept on disk: folders whose names are hashes of all that the code depends on (key.py).

Numba's own cache watches a single file, so an edit in a callee would be answered with stale numbers.
"""

import functools
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from .key import fingerprint

# Kept machine code. Earlier versions had an index for each function, too.
SUFFIX, EARLIER = ".nbc", ".nbi"
# An empty file: everything is compiled for this processor itself, so that what a wheel brought is not needed.
COMPLETE = "complete"
_given_up = ""


def give_up(reason: str) -> None:
    """Keep nothing from now on, and say why."""
    global _given_up
    _given_up = reason
    warnings.warn(
        f"fastbp will compile its kernels anew in every process. {reason}", RuntimeWarning, stacklevel=3
    )


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
    name = fingerprint()
    if name is None:
        give_up(
            "It cannot tell which version of the kernels is loaded: their loader gives neither source nor code."
        )
        return None
    for root in _candidates():
        folder: Path = root / name
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


def folder_in_use() -> Path | None:
    """Return `cache_dir`, or None if a setting was changed since: what is compiled now belongs elsewhere."""
    folder = cache_dir()
    return folder if folder is not None and folder.name == fingerprint() else None


def obstacle() -> str | None:
    """Return why nothing can be kept, or None."""
    if cache_dir() is not None:
        return None
    return _given_up or "no folder can be written to keep the kernels in; set FASTBP_CACHE_DIR"


def cache_is_warm(name: str = "network.run") -> bool:
    """Return whether compiled code of the entry `name` (module.function) lies in the cache."""
    folder = cache_dir()
    return folder is not None and any(folder.glob(f"{name}-*{SUFFIX}"))


def folders() -> dict[Path, int]:
    """Return the folders of compiled kernels, those of other versions among them, with their sizes in bytes."""
    folder = cache_dir()
    if folder is None:
        return {}
    found = [
        each
        for each in sorted(folder.parent.iterdir())
        if re.fullmatch("[0-9a-f]{20}", each.name) and each.is_dir() and not each.is_symlink()
    ]
    return {each: sum(path.stat().st_size for path in each.iterdir()) for each in found}


def clean() -> dict[Path, int]:
    """Remove the folders that other versions, settings and processors left; return them as `folders` does."""
    removed = {}
    for folder, size in folders().items():
        if folder == cache_dir():
            continue
        for path in folder.iterdir():
            ours = path.name == COMPLETE or path.suffix in (SUFFIX, EARLIER) or f"{SUFFIX}.tmp." in path.name
            if ours or f"{EARLIER}.tmp." in path.name:
                path.unlink(missing_ok=True)
        try:
            folder.rmdir()
        except OSError:  # it holds something else, too
            continue
        removed[folder] = size
    return removed


def mark_complete() -> None:
    """Note that all kernels are compiled for this processor itself."""
    folder = cache_dir()
    if folder is not None:
        (folder / COMPLETE).touch()


def is_complete() -> bool:
    """Return whether they are; without making a folder, or a warning that there is none."""
    name = fingerprint()
    try:
        return name is not None and any((root / name / COMPLETE).exists() for root in _candidates())
    except (OSError, RuntimeError):  # no access, no home
        return False
