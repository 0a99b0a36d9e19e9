"""One safetensors file per model: arrays, one JSON document, a checksum over both.

The document is the single metadata entry ``"fastbp"`` (safetensors keeps metadata in a hash table, whose order changes
from process to process; with one entry the bytes of a file depend on the model alone). Its keys:

``format_version``
    1. A file of a later version is refused, with a word on upgrading.
``fastbp_version``
    Who wrote it.
``kind``
    ``"Sequential"``, ``"MLPClassifier"``, ...
``checksum``
    sha256 over the document without this key and over the name, dtype, shape and bytes of every array. It finds
    accidents of disks, transports and editors; it is no signature.
``state``
    A dict as `fastbp.formats._values.encode` writes it.

Nothing in the file is executed, and no array is allocated before its size is known to fit the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

import fastbp.formats._schema as schema
from fastbp.formats._atomic import atomic_write
from fastbp.formats._suffixes import check_suffix
from fastbp.formats._values import decode, encode
from fastbp.validation import one_line, shown

__all__ = ["FORMAT_VERSION", "FormatError", "contents", "read", "write"]

FORMAT_VERSION = 1
KEY = "fastbp"
# safetensors' names of the dtypes NumPy has as well.
SAFE_DTYPES = frozenset("BOOL I8 I16 I32 I64 U8 U16 U32 U64 F16 F32 F64".split())
DOCUMENT = schema.record(
    {
        "format_version": schema.integer(1),
        "fastbp_version": schema.text,
        "kind": schema.text,
        "checksum": schema.text,
        "state": schema.table(lambda value, name: None),
    }
)
# Everything that a well-formed document with senseless contents can make its reader raise.
SENSELESS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
PROBLEM = 700  # characters of a message at most


class FormatError(ValueError):
    """A model file that is damaged, altered, not one of fastbp's, or of a later version.

    Parameters
    ----------
    path : str or path-like
        The file.
    problem : str
        What is wrong with it; made one line of bounded length, whatever the file has put into it.

    Examples
    --------
    >>> raise FormatError("m.safetensors", "the checksum does not match")
    Traceback (most recent call last):
    fastbp.formats._container.FormatError: m.safetensors: the checksum does not match
    """

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        self.path = os.fspath(path)
        self.problem = one_line(problem, PROBLEM)
        super().__init__(f"{self.path}: {self.problem}")

    def __reduce__(self) -> tuple[type[FormatError], tuple[str, str]]:
        return type(self), (self.path, self.problem)


def write(path: str | os.PathLike[str], kind: str, state: Mapping[str, Any]) -> None:
    """Write `state` atomically. The same state gives the same bytes.

    Parameters
    ----------
    path : str or path-like
    kind : str
        What the state belongs to; `read` returns it.
    state : mapping of str to object
        Numbers, strings, None, NumPy arrays, RandomState, and lists, tuples and dicts of them.

    Raises
    ------
    TypeError
        The state holds something else.
    ValueError
        The name ends otherwise than in ``.safetensors``.
    OSError
        The file cannot be written; an older file of that name is then untouched.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "a.safetensors")
    >>> write(path, "example", {"w": np.eye(2), "epochs": 3})
    >>> read(path)
    ('example', {'w': array([[1., 0.],
           [0., 1.]]), 'epochs': 3})
    """
    from fastbp import __version__

    check_suffix(path, ".safetensors")
    arrays: dict[str, np.ndarray] = {}
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "fastbp_version": __version__,
        "kind": kind,
        "state": {key: encode(value, arrays, key) for key, value in state.items()},
    }
    document["checksum"] = _checksum(document, arrays)
    content = to_bytes(arrays, {KEY: _dump(document)})
    with atomic_write(path) as file:
        file.write(content)


def read(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """Read what `write` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    kind : str
    state : dict
        Its arrays are writable and belong to the caller.

    Raises
    ------
    FormatError
        The file is truncated, altered, of a later version, or not one of fastbp's.
    OSError
        It cannot be opened: missing, a folder, not readable.
    """
    with open(path, "rb"):  # the operating system's own errors first, with its own words
        pass
    try:
        document, arrays = _open(path)
    except SafetensorError as error:
        raise FormatError(path, f"not a complete safetensors file ({error})") from error
    with contents(path, "the description of the model is not valid"):
        if document.get("checksum") != _checksum(document, arrays):
            raise FormatError(path, "the checksum does not match: the file was altered or damaged")
        DOCUMENT(document, "document")
        return document["kind"], {key: decode(value, arrays) for key, value in document["state"].items()}


@contextmanager
def contents(
    path: str | os.PathLike[str], problem: str = "its contents do not fit together"
) -> Iterator[None]:
    """Turn what senseless contents of a file make their reader raise into a `FormatError` that names the file.

    >>> with contents("m.safetensors"):
    ...     raise ValueError("2 weights for 3 layers")
    Traceback (most recent call last):
    fastbp.formats._container.FormatError: m.safetensors: its contents do not fit together (2 weights for 3 layers)
    """
    try:
        yield
    except FormatError:
        raise
    except SENSELESS as error:
        what = f"the key {shown(*error.args[:1])}" if type(error) is KeyError else str(error)
        raise FormatError(path, f"{problem} ({what})") from error


def _open(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    # safetensors checks that the tensors cover the file exactly before any of them is read.
    with safe_open(os.fspath(Path(path)), framework="np") as file:
        metadata = file.metadata() or {}
        if KEY not in metadata:
            raise FormatError(
                path, "a safetensors file, but not one of fastbp's (no metadata entry 'fastbp')"
            )
        with contents(path, "the description of the model is not valid"):
            document = json.loads(metadata[KEY], parse_constant=_constant)
        if not isinstance(document, dict):
            raise FormatError(path, "the description of the model is not an object")
        version = document.get("format_version")
        if type(version) is not int or version < 1:
            raise FormatError(
                path, f"the format version must be a positive integer, got {shown(version, 40)}"
            )
        if version > FORMAT_VERSION:
            writer = one_line(str(document.get("fastbp_version")), 40)
            raise FormatError(
                path,
                f"written in format {shown(version, 40)} by fastbp {writer}; this fastbp reads formats up to "
                f"{FORMAT_VERSION}: upgrade fastbp",
            )
        arrays = {}
        for name in file.keys():  # noqa: SIM118 - no mapping
            dtype = file.get_slice(name).get_dtype()
            if dtype not in SAFE_DTYPES:
                raise FormatError(
                    path, f"the array {shown(name)} has dtype {dtype}, which fastbp does not write"
                )
            arrays[name] = file.get_tensor(name)
    return document, arrays


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _checksum(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    rest = {key: value for key, value in document.items() if key != "checksum"}
    digest = hashlib.sha256(_dump(rest).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype.name}\0{array.shape}\0".encode("utf-8", "surrogatepass"))
        digest.update(array.data.cast("B") if array.size else b"")
    return f"sha256:{digest.hexdigest()}"
