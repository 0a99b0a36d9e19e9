"""The files that the commands write: what would go wrong in the end is found out before the work."""

from __future__ import annotations

import os
from pathlib import Path

from fastbp.tables.errors import InputError

MODEL = "model.safetensors"


def default_model() -> str:
    """``model.safetensors``, unless another program made the file of that name.

    Raises
    ------
    InputError         The file is there, and is no model of fastbp.
    """
    path = Path(MODEL)
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            start = file.read(1 << 16)
        if b'"__metadata__":{"fastbp":' not in start:
            raise InputError(f"{MODEL}: exists and is no model of fastbp; choose another name with --out")
    return MODEL


def check_output(out: str, source: str, suffixes: tuple[str, ...] = ()) -> None:
    """Check that a file can be written, that its name says what it will hold, and that it is not `source`.

    Raises
    ------
    InputError         No folder, no permission, a folder of that name, the input itself, another suffix.
    """
    path = Path(out)
    if path.is_dir():
        raise InputError(f"{out}: is a folder, a file is needed")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise InputError(f"{out}: there is no folder {folder}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InputError(f"{out}: no permission to write it")
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise InputError(f"{out}: would overwrite the input")
    if suffixes and path.suffix.lower() not in ("", *suffixes):
        raise InputError(f"{out}: the name must end in {' or '.join(suffixes)}, got {path.suffix}")


def check_plot(plot: str, source: str) -> None:
    """Check the same of a picture, and that matplotlib can draw this kind of it.

    Raises
    ------
    InputError         As `check_output`; matplotlib is missing; the name does not end as a picture's.
    """
    check_output(plot, source)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('--plot needs matplotlib: pip install "fastbp[plot]"') from None
    kinds = sorted(Figure().canvas.get_supported_filetypes())
    if Path(plot).suffix[1:].lower() not in kinds:
        raise InputError(f"{plot}: the name of a picture must end in one of .{', .'.join(kinds)}")
