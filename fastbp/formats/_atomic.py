"""Files that are either the old ones or the new ones, never half of each."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows, which does not let a file be removed that is open
    fcntl = None  # type: ignore[assignment]

__all__ = ["atomic_write"]

# os.open instead of tempfile: the permissions then follow the umask, as for any other file.
FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
RANDOM = 4  # bytes of the random part of a temporary name
LONGEST_NAME = 255  # bytes, if the file system does not say


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name only once it is complete.

    The data go to a temporary file in the same folder (``.name.RANDOM.tmp``) and are flushed to the disk. Then the
    file is renamed to `path` in one step, and the folder is flushed to the disk too. After a crash, ``kill -9`` or a
    full disk, and for every reader at any moment, `path` is therefore either the previous file or the whole new one.
    A temporary file that a killed process has left is removed by the next call for the same path.

    Parameters
    ----------
    path : str or path-like
        Where to write. An existing file keeps its permissions, and a symbolic link its target. Anything that is not a
        regular file (a pipe, ``/dev/stdout``) is written directly.
    mode : {"wb", "w"}, default="wb"
        Bytes, or UTF-8 text with the newlines left as they are written.

    Yields
    ------
    file
        Open for writing.

    Raises
    ------
    ValueError
        If `mode` is neither ``"wb"`` nor ``"w"``.
    OSError
        As `open`: the folder is missing, not writable, full.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastbp.formats import atomic_write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(os.path.join(folder, "a.txt"), "w") as file:
    ...         _ = file.write("complete")
    ...     os.listdir(folder)
    ['a.txt']
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"mode must be 'wb' or 'w', got {mode!r}")
    text: dict[str, Any] = {} if mode == "wb" else {"encoding": "utf-8", "newline": ""}
    given = Path(path)
    if given.exists() and not given.is_file():
        # By the name given: /dev/stdout resolves to something like "/proc/1/fd/pipe:[7]", which nobody can open.
        with open(given, mode, **text) as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    stem = _stem(target)
    _remove_stale(target.parent, stem)
    temporary, descriptor, lock = _open_temporary(target.parent, stem)
    try:
        with open(descriptor, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)
    if os.name == "posix":  # other systems cannot open a folder; there the rename is as durable as it gets
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _stem(target: Path) -> str:
    """Return how the temporary names of a file begin; a name that is too long for another ending is hashed."""
    try:
        longest = os.pathconf(target.parent, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows, and folders that are missing
        longest = LONGEST_NAME
    if len(os.fsencode(target.name)) + len(f"..{'0' * 2 * RANDOM}.tmp") <= longest:
        return target.name
    return hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]


def _open_temporary(folder: Path, stem: str) -> tuple[Path, int, int | None]:
    """Return a new file, open for writing, and a descriptor that keeps it locked until that is closed."""
    while True:
        temporary = folder / f".{stem}.{secrets.token_hex(RANDOM)}.tmp"
        descriptor = os.open(temporary, FLAGS, 0o666)
        if fcntl is None:
            return temporary, descriptor, None
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Another process may have taken the file for a stale one between the two calls.
            if os.fstat(descriptor).st_nlink:
                return temporary, descriptor, os.dup(descriptor)
        except BaseException:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        os.close(descriptor)


def _remove_stale(folder: Path, stem: str) -> None:
    """Remove temporary files of this stem that nobody is writing.

    A writer holds a lock on its file, and the system drops the lock of a process that dies.
    """
    pattern = re.compile(rf"\.{re.escape(stem)}\.[0-9a-f]{{{2 * RANDOM}}}\.tmp")
    try:
        with os.scandir(folder) as entries:
            found = [entry.path for entry in entries if pattern.fullmatch(entry.name)]
    except OSError:  # a folder that is missing, or cannot be listed: to open the file will tell
        return
    for path in found:
        with contextlib.suppress(OSError):  # in use, or removed by another process
            if fcntl is None:
                os.unlink(path)
                continue
            # Writable, for locks over a network; never through a link, and never waiting for a pipe.
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    os.unlink(path)
            finally:
                os.close(descriptor)
