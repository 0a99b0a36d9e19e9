"""Machine code in files: a dispatcher of Numba asks for it here, and gives what it compiled.

One file for each function and types of arguments, written whole or not at all: a SHA-256 hash, then what is hashed
behind the file's own place. A file is read once, those bytes are hashed, and those bytes are loaded. One that was
damaged, cut short, renamed or moved is compiled anew and replaced. There is no index that could be wrong beside it.
"""

import hashlib
import os
import pickle
import uuid
import warnings
from pathlib import Path

from numba.core import compiler, serialize
from numba.core.runtime.nrt import rtsys

from . import precompiled
from .announcing import dtype_of, refuse
from .cache import SUFFIX, cache_dir, folder_in_use
from .interrupts import held_back
from .key import PACKAGE
from .pipeline import relies_on
from .stamps import closure, stamp

relies_on(compiler.CompileResult, "_reduce", "_rebuild")
relies_on(serialize, "dumps")

_HASH = hashlib.sha256
# The entry that the worked example is computed with.
EXAMPLE = "network.run"
# What was loaded from a wheel, and whether it may be used.
_REBUILT: dict[Path, object] = {}
_VERDICTS: dict[tuple[Path, str], bool] = {}
# The last reason why something could not be kept.
fault: str | None = None


def _place(path: Path) -> bytes:
    return f"{path.parent.name}/{path.name}".encode()


def read(path: Path) -> memoryview | None:
    """Return the content of a file, or None if it is not there or is not what was written there."""
    try:
        data = memoryview(path.read_bytes())
    except OSError:
        return None
    size = _HASH().digest_size
    digest = _HASH(_place(path))
    digest.update(data[size:])
    return data[size:] if data[:size] == digest.digest() else None


def write(path: Path, content: bytes) -> None:
    """Write a file in one step; its folder is made if it was removed."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.tmp.{uuid.uuid4().hex[:16]}")
    try:
        scratch.write_bytes(_HASH(_place(path) + content).digest() + content)
        os.replace(scratch, path)
    except BaseException:  # Ctrl-C too
        scratch.unlink(missing_ok=True)
        raise


class Cache:
    """What Numba calls a cache. Its failures cost a compilation, never the program.

    Parameters
    ----------
    function : function
        The plain Python function.
    known_by : str, optional
        A stamp (stamps.py) of the function and all that it calls; None: nothing is kept. The kernels need none: the
        name of the folder stands for them. Other entries are known by their code and the variables around them.
    """

    def __init__(self, function, *known_by: str | None):
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        if known_by:
            (self._known_by,) = known_by
        elif function.__module__.startswith(f"{PACKAGE}."):
            self._known_by = ""
        else:
            self._known_by = stamp(function.__code__, sorted(closure(function).items()))

    @property
    def cache_path(self):
        """The folder, for Numba's statistics."""
        return str(cache_dir())

    def path(self, sig, folder):
        """Return the path of the file for arguments of these types."""
        names = [str(kind) for kind in _arguments(sig)]
        code = _HASH(repr((self._known_by, names)).encode()).hexdigest()
        return folder / f"{self.name}-{dtype_of(sig)}-{code[:24]}{SUFFIX}"

    def load_overload(self, sig, target_context):
        """Return what is kept for these types, or None."""
        # Without Numba's refresh of all its registries, which is for compiling: it takes 0.3 s.
        with held_back():
            for find in (self._brought, self._found):
                try:
                    made = find(sig, target_context)
                except Exception:
                    continue
                if made is not None:
                    return made
        refuse(f"{self.name} for {dtype_of(sig)}")
        return None

    def _brought(self, sig, target_context):
        """Return what a wheel brought, if that gives right numbers."""
        folder, _ = precompiled.state()
        if folder is None or self._known_by != "" or not _is_right(folder, dtype_of(sig), target_context):
            return None
        return _rebuilt_once(self.path(sig, folder), sig, target_context)

    def _found(self, sig, target_context):
        """Return what lies in the user's folder."""
        folder = folder_in_use()
        if folder is None or self._known_by is None:
            return None
        return _rebuilt(self.path(sig, folder), sig, target_context)

    def save_overload(self, sig, made):
        """Keep what was compiled for these types, if that is possible."""
        global fault
        folder = folder_in_use()
        if folder is None or self._known_by is None:
            return
        if made.lifted or made.library.has_dynamic_globals:
            fault = "the machine code holds addresses of this process"
            return
        path = self.path(sig, folder)
        try:
            write(path, serialize.dumps((_arguments(sig), made._reduce())))
        except Exception as error:
            if read(path) is None:  # else another process has written it just now
                fault = str(error)
                warnings.warn(
                    f"fastbp could not keep a compiled kernel: {error}", RuntimeWarning, stacklevel=2
                )

    def holds(self, sig):
        """Return whether a later process will find what is compiled for these types."""
        folder = cache_dir()
        return folder is not None and read(self.path(sig, folder)) is not None

    def flush(self):
        """Forget what is kept; Numba asks for it before it compiles anew."""
        folder = cache_dir()
        for path in folder.glob(f"{self.name}-*{SUFFIX}") if folder is not None else ():
            path.unlink(missing_ok=True)


class ArrayCache(Cache):
    """A cache for a function that makes arrays."""

    def load_overload(self, sig, target_context):
        """Return what is kept for these types, or None."""
        rtsys.initialize(target_context)
        return super().load_overload(sig, target_context)


def _arguments(sig):
    """Return the types of the arguments: of a signature, which tells the result's as well, or of a tuple."""
    return tuple(getattr(sig, "args", sig))


def _rebuilt(path, sig, target_context):
    """Return what a file holds, or None; its types must be those of `sig` unless that is None."""
    content = read(path)
    if content is None:
        return None
    arguments, parts = pickle.loads(content)
    if sig is not None and arguments != _arguments(sig):
        return None
    return compiler.CompileResult._rebuild(target_context, *parts)


def _rebuilt_once(path, sig, target_context):
    """Do the same for a file of a wheel, which is asked for twice if the example needs it too."""
    if path not in _REBUILT:
        _REBUILT[path] = _rebuilt(path, sig, target_context)
    return _REBUILT[path]


def _is_right(folder, dtype, target_context):
    """Return whether the worked example gives its known numbers with a folder of a wheel: computed once for a dtype."""
    if (folder, dtype) not in _VERDICTS:
        _VERDICTS[folder, dtype] = False  # also if what follows raises
        paths = list(folder.glob(f"{EXAMPLE}-{dtype}-*{SUFFIX}"))
        made = _rebuilt_once(paths[0], None, target_context) if len(paths) == 1 else None
        found = f"{EXAMPLE} is damaged" if made is None else precompiled.fault_of(dtype, made.entry_point)
        if found is None:
            _VERDICTS[folder, dtype] = True
        else:
            precompiled.ignore(f"the worked example went wrong: {found}")
    return _VERDICTS[folder, dtype]
