"""Files that are either the old ones or the new ones, never half of each."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name only once it is complete.

    The data go to a temporary file in the same folder (``.name.RANDOM.tmp``) and are flushed to the disk. Then the
    file is renamed to `path` in one step, and the folder is flushed to the disk too. After a crash, ``kill -9`` or a
    full disk, and for every reader at any moment, `path` is therefore either the previous file or the whole new one.

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
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    # os.open instead of tempfile: the permissions then follow the umask, as for any other file.
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
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
    if os.name == "posix":  # other systems cannot open a folder; there the rename is as durable as it gets
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
