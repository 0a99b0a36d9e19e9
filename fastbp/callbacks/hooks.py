"""What a callback is, what it sees of a running training, and how its methods are called.

A callback is any object with some of these methods; each is called with as many of its arguments as it takes:

==============================  ==================================================================================
``on_fit_begin(run)``           before the first epoch; `run` is a `Run`: the model, the history, the learning rate
``on_epoch_begin(epoch, logs)``  `epoch` is a place in the history, from 0; `logs` is empty
``on_chunk_end(seconds, samples)``  after each compiled call of about 50 ms: its duration and its rows
``on_epoch_end(epoch, logs)``   `logs`: ``loss``, ``val_loss``, ``learning_rate``, ``epoch_seconds``, the metrics
``on_fit_end(run)``             after the last epoch, not after an exception
==============================  ==================================================================================

``on_chunk_end`` and ``on_epoch_end`` stop the training if they return something true: at once, and after the epoch.
A method ``on_...`` of another name is never called; `fit` warns of it. A callback whose decisions depend on its past
also has ``get_state()`` and ``set_state(state)``, a dict of numbers, strings and arrays, for `Checkpoint`.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any

from numpy.typing import NDArray

from fastbp.notices import warn

__all__ = ["Callback", "CallbackList", "DivergenceError", "Logs", "Run", "as_list"]

Logs = dict[str, float]
HOOKS = ("on_fit_begin", "on_epoch_begin", "on_chunk_end", "on_epoch_end", "on_fit_end")
STOPPING = ("on_chunk_end", "on_epoch_end")
# The methods of each hook, with the number of arguments they take.
Hooks = dict[str, list[tuple[Callable[..., Any], int | None]]]
# What other libraries call them.
ELSEWHERE = {
    "train_begin": HOOKS[0],
    "batch_end": HOOKS[2],
    "train_batch_end": HOOKS[2],
    "train_end": HOOKS[4],
}


class DivergenceError(ArithmeticError):
    """The training left the finite numbers: the loss or the weights became infinite or NaN."""

    __module__ = "fastbp"


@dataclass(slots=True)
class Run:
    """A running `fit`, as its callbacks see it.

    Parameters
    ----------
    model : object
        What is trained.
    theta : array
        Its parameters, flat and live.
    epochs : int
        How many are planned, 0 if that is not known.
    samples : int
        Rows per epoch, 0 if that is not known.

    Attributes
    ----------
    epoch : int
        The current epoch, from 0.
    samples_done, loss_sum : int, float
        In the current epoch: rows trained, and the sum of their losses (`Sequential`: weighted, if they have weights).
    history : dict of str to list of float
        The logs of the finished epochs.
    learning_rate : float
        Of the latest batch.
    learning_rate_scale : float
        Factor on the rates of the optimizer; set it to change them from the next epoch on.
    stopped : bool
        Whether a callback ended the training.
    """

    model: Any
    theta: NDArray[Any]
    epochs: int = 0
    samples: int = 0
    epoch: int = 0
    samples_done: int = 0
    loss_sum: float = 0.0
    history: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: float = math.nan
    learning_rate_scale: float = 1.0
    stopped: bool = False
    save: Callable[[str | os.PathLike[str]], None] | None = None


class Callback:
    """Base class with hooks that do nothing; deriving from it is a convenience, not a duty.

    Attributes
    ----------
    saves : bool
        True for a callback that saves the state of the training: it is called after all others at the end of
        an epoch, and before all others at the end of the training.

    >>> class Print(Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         print(epoch, sorted(logs))
    """

    __module__ = "fastbp"

    saves = False
    # Whether a class, not counting those derived from it, looks at nothing but logs, times, and whether all numbers are
    # finite. If all callbacks are so, several short epochs are trained at once, and the hooks are called afterwards.
    _late = False

    def on_fit_begin(self, run: Run | None = None) -> None:
        """Called before the first epoch: forget the last training."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before each epoch."""

    def on_chunk_end(self, seconds: float, samples: int) -> bool | None:
        """Called after each compiled call; something true stops the training at once."""
        return None

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """Called after each epoch; something true stops the training."""
        return None

    def on_fit_end(self, run: Run | None = None) -> None:
        """Called after the last epoch."""

    def close(self) -> None:
        """Release what is open: called last, also after an exception."""


def as_list(callbacks: Any) -> list[Any]:
    """Return callbacks as a list: of any number of them, of a single one, or of none.

    >>> len(as_list(Callback())), as_list(None)
    (1, [])
    """
    if callbacks is None:
        return []
    if type(callbacks) in (list, tuple):
        return list(callbacks)
    if isinstance(callbacks, type) or _has_hooks(callbacks):
        return [callbacks]
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of objects with hooks, got {callbacks!r}")
    return list(callbacks)


def are_late(callbacks: list[Any]) -> bool:
    """Whether all are of the library's and look at nothing but logs and times: the hooks may be called afterwards."""
    return all(vars(type(callback)).get("_late", False) for callback in callbacks)


def _has_hooks(callback: Any) -> bool:
    return any(callable(getattr(callback, hook, None)) for hook in HOOKS)


class CallbackList:
    """Calls the hooks of many callbacks in their order, those of one that `saves` last (at the end of all: first).

    The order lets a `Checkpoint` see what the others decided after the epoch, and save before `EarlyStopping`
    goes back to the best weights.

    Parameters
    ----------
    callbacks : iterable of objects with hooks, one such object, or None
    run : Run

    Warns
    -----
    UserWarning
        A method is named like a hook, but there is no such hook: it is never called.

    Raises
    ------
    TypeError
        An object without any hook, or a class instead of an object.

    >>> import numpy as np
    >>> CallbackList([Callback()], Run(None, np.zeros(1))).epoch_end(0, {"loss": 1.0})
    False
    """

    def __init__(self, callbacks: Any, run: Run) -> None:
        self.run = run
        self.callbacks = as_list(callbacks)
        self.late = are_late(self.callbacks)
        if self.late and not any(map(_own_hooks, self.callbacks)):
            self._hooks: Hooks = {hook: [] for hook in HOOKS}
            for callback in self.callbacks:
                kind: type = type(callback)
                for hook, count in _hooks_of(kind):
                    self._hooks[hook].append((getattr(callback, hook), count))
            return
        for callback in self.callbacks:
            if isinstance(callback, type):
                raise TypeError(
                    f"callbacks must be objects, got the class {callback.__name__}; write {callback.__name__}(...)"
                )
            if not _has_hooks(callback):
                raise TypeError(f"callbacks: {callback!r} has none of the hooks {', '.join(HOOKS)}")
        _report_misnamed(self.callbacks)
        saving = [callback for callback in self.callbacks if getattr(callback, "saves", False)]
        others = [callback for callback in self.callbacks if not getattr(callback, "saves", False)]
        last, first = [*others, *saving], [*saving, *others]
        self._hooks = {hook: _collect(first if hook == "on_fit_end" else last, hook) for hook in HOOKS}

    def fit_begin(self) -> None:
        """Call ``on_fit_begin(run)``."""
        self._call("on_fit_begin", self.run)

    def epoch_begin(self, epoch: int) -> None:
        """Call ``on_epoch_begin(epoch, {})``."""
        self._call("on_epoch_begin", epoch, {})

    def chunk_end(self, seconds: float, samples: int) -> bool:
        """Call ``on_chunk_end(seconds, samples)``; True if one of them wants to stop."""
        return self._call("on_chunk_end", seconds, samples)

    def epoch_end(self, epoch: int, logs: Logs) -> bool:
        """Call ``on_epoch_end(epoch, logs)``; True if one of them wants to stop."""
        return self._call("on_epoch_end", epoch, logs)

    def fit_end(self) -> None:
        """Call ``on_fit_end(run)``."""
        self._call("on_fit_end", self.run)

    def close(self) -> None:
        """Let the built-in callbacks release what they hold."""
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                callback.close()

    def _call(self, hook: str, *arguments: Any) -> bool:
        for method, count in self._hooks[hook]:
            if method(*arguments[:count]) and hook in STOPPING:
                self.run.stopped = True
        return self.run.stopped


@functools.lru_cache(maxsize=256)
def _named_like_hooks(kind: type) -> tuple[str, ...]:
    """Return what a class has under names that begin as those of hooks do: to look for it takes 30 us."""
    return tuple(name for name in dir(kind) if name.startswith("on_") and name not in HOOKS)


def _own_hooks(callback: Any) -> list[str]:
    """Return what an object has, apart from its class, under names that begin as those of hooks do."""
    return [name for name in getattr(callback, "__dict__", ()) if name.startswith("on_")]


@functools.lru_cache(maxsize=16)
def _hooks_of(kind: type) -> tuple[tuple[str, int | None], ...]:
    """Return the hooks of a class of the library's, each with how many arguments it takes: the same for all objects."""
    own = [hook for hook in HOOKS if getattr(kind, hook) is not getattr(Callback, hook)]
    return tuple((hook, getattr(kind, hook).__code__.co_argcount - 1) for hook in own)


def _report_misnamed(callbacks: list[Any]) -> None:
    """Warn once, if methods are named like hooks and are none."""
    wrong: dict[str, str] = {}
    for callback in callbacks:
        kind: type = type(callback)
        for name in (*_named_like_hooks(kind), *_own_hooks(callback)):
            if name not in HOOKS and callable(getattr(callback, name, None)):
                meant = ELSEWHERE.get(name.removeprefix("on_"))
                close = [meant] if meant else difflib.get_close_matches(name, HOOKS, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                wrong[f"{type(callback).__name__}.{name}"] = hint
    if wrong:
        names = ", ".join(name + hint for name, hint in wrong.items())
        warn(f"callbacks: never called: {names}; the hooks are {', '.join(HOOKS)}")


def _collect(callbacks: list[Any], hook: str) -> list[tuple[Callable[..., Any], int | None]]:
    """Return the methods named `hook`, each with the number of positional arguments it takes (None: any)."""
    result: list[tuple[Callable[..., Any], int | None]] = []
    base = getattr(Callback, hook)
    for callback in callbacks:
        method = getattr(callback, hook, None)
        if callable(method) and getattr(method, "__func__", None) is not base:
            result.append((method, _count_arguments(method)))
    return result


def _count_arguments(method: Callable[..., Any]) -> int | None:
    """Return how many positional arguments a hook takes, None for any number."""
    function = getattr(method, "__func__", None)
    # A plain method tells it in a hundredth of the time of `inspect.signature`.
    if type(method) is MethodType and type(function) is FunctionType and not vars(function):
        code = function.__code__
        return None if code.co_flags & inspect.CO_VARARGS else code.co_argcount - 1
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return None if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional)
