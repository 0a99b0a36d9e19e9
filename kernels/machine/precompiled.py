"""Machine code that a platform wheel brings: one folder for each level of processors, beside the kernels.

It is looked up before the user's cache. The folder's name is the same hash as in the cache, for the level in place of
the processor, so what was made for another Numba, Python or version of the kernels is not found. Before its first use
the worked example of the reference is computed with it.
"""

import json
from pathlib import Path

from . import levels
from .cache import is_complete
from .key import facts, fingerprint

FOLDER = Path(__file__).parents[1] / "precompiled"
# What the folders were made with.
MADE = "made.json"
_ignored = ""
_example = None


def check_with(example):
    """Take example(dtype, run), which returns what is wrong with `network.run`, or None. Without it nothing is used."""
    global _example
    _example = example


def fault_of(dtype, run):
    """Return what is wrong with the numbers of `network.run`, or None."""
    return _example(dtype, run)


def ignore(reason):
    """Use nothing of what is there in this process."""
    global _ignored
    _ignored = reason


def state():
    """Return the folder to load from and its level, or None and why there is none."""
    if _ignored:
        return None, _ignored
    if not FOLDER.is_dir():
        return None, "this installation brings none (a pure wheel, or a clone)"
    if _example is None:
        return None, "nothing checks them"
    level, reason = levels.choose()
    if level is None:
        return None, reason
    name = fingerprint(level.processor, level.vector_bytes)
    if name is None or not (FOLDER / name).is_dir():
        return None, _difference(level)
    if is_complete():
        return None, "`fastbp warmup` compiled for this processor itself"
    return FOLDER / name, reason


def _difference(level):
    """Return in words what the folders were made with, other than what is here."""
    try:
        made = json.loads((FOLDER / MADE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{FOLDER / MADE} cannot be read"
    for name, here in facts().items():
        there = made.get(name)
        if there != here:
            if name == "kernels":
                return "they were made from other kernels"
            if name == "settings":
                changed = [each for each in here if here[each] != there.get(each)]
                return f"other settings are in force: {', '.join(changed)}"
            return f"they were made with {name} {there}, here is {here}"
    return f"there are none for {level.name}"
