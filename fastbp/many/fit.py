"""`fit_many`: from what the user passed to trained models. Arguments of each net, one piece of work each, threads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from fastbp import objectives, optimizers
from fastbp.callbacks import Callback, Checkpoint, CSVLogger, ProgressBar
from fastbp.callbacks.hooks import as_list
from fastbp.engine import teams
from fastbp.many.arguments import Data, about, check_length, each
from fastbp.many.histories import Histories
from fastbp.many.predict import check_nets
from fastbp.many.stack import Stack
from fastbp.many.tasks import Alike, Task, joined
from fastbp.many.training import train_all
from fastbp.notices import warn
from fastbp.objectives import LossLike
from fastbp.schedules import Schedule
from fastbp.sequential import Sequential
from fastbp.training import Fit, History
from fastbp.validation import check_count, check_threads

__all__ = ["fit_many"]

SHOWN = 5  # nets that a warning names


@overload
def fit_many(
    nets: Sequence[Sequential],
    x: Any,
    y: Any,
    *,
    n: None = None,
    rows: Any = None,
    loss: LossLike = "mse",
    optimizer: str | optimizers.Optimizer | Sequence[str | optimizers.Optimizer] = "adam",
    learning_rate: float | Schedule | Sequence[float | Schedule] | ArrayLike | None = None,
    epochs: int | Sequence[int] = 1,
    batch_size: int | Sequence[int | None] | None = 32,
    sample_weight: Any = None,
    validation_rows: Any = None,
    callbacks: Iterable[Any] | Callback | Any = (),
    shuffle: bool = True,
    seed: int | Sequence[int | None] | None = 0,
    n_threads: int | None = None,
    verbose: int = 0,
) -> list[History]: ...
@overload
def fit_many(
    nets: Sequential | Stack,
    x: Any,
    y: Any,
    *,
    n: int | None = None,
    rows: Any = None,
    loss: LossLike = "mse",
    optimizer: str | optimizers.Optimizer | Sequence[str | optimizers.Optimizer] = "adam",
    learning_rate: float | Schedule | Sequence[float | Schedule] | ArrayLike | None = None,
    epochs: int | Sequence[int] = 1,
    batch_size: int | Sequence[int | None] | None = 32,
    sample_weight: Any = None,
    validation_rows: Any = None,
    callbacks: Iterable[Any] | Callback | Any = (),
    shuffle: bool = True,
    seed: int | Sequence[int | None] | None = 0,
    n_threads: int | None = None,
    verbose: int = 0,
) -> Stack: ...
def fit_many(
    nets: Sequence[Sequential] | Sequential | Stack,
    x: Any,
    y: Any,
    *,
    n: int | None = None,
    rows: Any = None,
    loss: LossLike = "mse",
    optimizer: Any = "adam",
    learning_rate: Any = None,
    epochs: Any = 1,
    batch_size: Any = 32,
    sample_weight: Any = None,
    validation_rows: Any = None,
    callbacks: Iterable[Any] | Callback | Any = (),
    shuffle: bool = True,
    seed: Any = 0,
    n_threads: int | None = None,
    verbose: int = 0,
) -> list[History] | Stack:
    """Train many models, each as if it were alone, side by side on all cores.

    Net i ends as ``nets[i].fit(x[rows[i]], y[rows[i]], ...)`` would leave it, bit by bit, for any number of threads.

    Parameters
    ----------
    nets : list of Sequential
        Trained in place; of any mixture of shapes. Or one `Sequential` together with `n`; or a `Stack`, to go on.
    x : array-like of shape (rows, n_inputs), or a list of them
        As in `Sequential.fit`: for all nets, or one per net; also an array (nets, rows, n_inputs). What several nets
        share is checked and converted once.
    y : array-like, or a list of arrays
        As in `Sequential.fit`: for all nets, or one per net; also an array of three axes, or of two beside such an `x`.
    n : int, optional
        Train so many models of the architecture of `nets`, each with its own first weights (see `Stack`).
    rows : row numbers, mask, range or slice, or a list of them
        Rows of `x` and `y` to train on, for all or one per net: folds, bootstrap samples. Left out: all.
    loss : str
        As in `Sequential.fit`.
    optimizer : Optimizer or str, or a list of them
    learning_rate : float or Schedule, or a list of them, optional
        In place of that of the optimizer.
    epochs, batch_size : int, or a list of them
    sample_weight : array of shape (rows,), or a list of them
        Of the rows of `x`; validation is weighted, too.
    validation_rows : as `rows`
        Rows to evaluate after each epoch, as ``val_loss``; an item None is for a net without validation.
    callbacks : list, or a list of lists
        Every net has its own deep copies of them. A list of lists, one per net, is used as it is. What writes a file
        needs such a list. Hooks are called in the threads that train.
    shuffle : bool
        As in `Sequential.fit`.
    seed : int or None, or a list of them
        Of shuffling and dropout: the same for all nets, unless it is a list. With `n`, of the first weights, too; these
        take the first item of a list.
    n_threads : int or None
        None or -1: all cores this process may use. Each thread trains one net at a time.
    verbose : int
        1: one bar for all nets, on a terminal or in a notebook. 2: a line per net on standard error. 0: nothing.

    Returns
    -------
    list of History, or Stack
        One per net; with `n`, or for a `Stack`, the stack, whose ``histories`` they are.

    Raises
    ------
    TypeError, ValueError
        Data or arguments that do not fit, before anything changes; the message names the net.
    KeyboardInterrupt
        Every net is left as its last finished chunk left it.

    Warns
    -----
    UserWarning
        Nets that diverged. They get back the weights they had before, and their ``history.error`` is the
        `DivergenceError`; the others are trained to their end.

    Notes
    -----
    An error in a callback ends the call, and all nets get back the weights they had before.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp as fb
    >>> x = np.linspace(-1, 1, 200, dtype=np.float32).reshape(-1, 1)
    >>> nets = [fb.Sequential([fb.Dense(units, "tanh"), fb.Dense(1)], n_inputs=1) for units in (4, 8, 16)]
    >>> histories = fb.fit_many(nets, x, x**2, learning_rate=[0.05, 0.03, 0.02], epochs=100, batch_size=20)
    >>> [history.loss[-1] < 0.01 for history in histories]
    [True, True, True]
    >>> stack = fb.fit_many(nets[0], x, x**2, n=20, learning_rate=0.05, epochs=50, batch_size=20)
    >>> stack.predict(x).shape
    (20, 200, 1)
    """
    members = _members(nets, n, seed)
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")
    threads = check_threads(n_threads) or teams.default_threads()
    alike = _tasks(
        members,
        (x, y, sample_weight, rows, validation_rows),
        objectives.get(loss),
        {"optimizer": optimizer, "learning_rate": learning_rate, "epochs": epochs, "batch_size": batch_size},
        seed,
        callbacks,
        shuffle=shuffle,
        n_threads=max(1, threads // len(members)),
    )
    histories = train_all(members, alike, threads, verbose)
    _report(histories)
    if isinstance(members, Stack):
        members._histories = histories
        return members
    return histories.made


def _members(nets: Any, n: int | None, seed: Any) -> list[Sequential] | Stack:
    """Return the models to train; refuse those that are twice in the list, or in training already."""
    if isinstance(nets, Stack):
        if n is not None and n != len(nets):
            raise ValueError(f"n must be left out, since nets is a Stack of {len(nets)}, got {n}")
        return nets
    if isinstance(nets, Sequential):
        if n is None:
            raise ValueError("n is missing: with one Sequential, n says how many models to train")
        first = each(seed, n, "seed")[0] if isinstance(n, int) and n > 0 else 0
        return Stack(nets, n, first)
    if n is not None:
        raise ValueError(f"n must be left out, since nets is a list, got {n}")
    members = check_nets(nets)
    seen: dict[int, int] = {}
    for i, net in enumerate(members):
        before = seen.setdefault(id(net), i)
        if before != i:
            raise ValueError(f"nets[{i}] is nets[{before}]: pass net.copy() to train it twice")
        if teams.held(net.engine.training_lock):
            raise ValueError(f"nets[{i}] is being trained by the call that this one is made from")
    return members


def _tasks(
    members: list[Sequential] | Stack,
    data: tuple[Any, Any, Any, Any, Any],
    objective: objectives.Objective,
    settings: dict[str, Any],
    seed: Any,
    callbacks: Any,
    **for_all: Any,
) -> list[Alike]:
    """Return what each net is trained on, checked."""
    n = len(members)
    layouts = (
        [members.net.engine.layout] * n
        if isinstance(members, Stack)
        else [net.engine.layout for net in members]
    )
    columns = [each(value, n, name) for name, value in {**settings, "seed": seed}.items()]
    own, differ = _own_callbacks(callbacks, n)
    given = Data(layouts, *data, objective)
    known: dict[Any, Fit] = {}
    alike = not any(isinstance(value, list | tuple | np.ndarray) for value in (*settings.values(), seed))
    one_kind = (
        alike and given.alike and not as_list(callbacks) and all(layout is layouts[0] for layout in layouts)
    )
    tasks: list[Task] = []
    bases = given.bases
    made: Fit | None = None
    seen: set[tuple[int, int]] = set()
    i = 0
    try:
        for i in range(n):
            if made is None or not alike:
                made = _settings(known, [column[i] for column in columns], objective, for_all)
            source = given.source(i)
            chosen, held_out = given.rows(i, source), given.validation_rows(i, source)
            task = Task(i, layouts[i], source, int(bases[i]), chosen, held_out, made, own(i))
            # What was right for one net is right for all of the same kind.
            if source.weights.size or (id(made), task.n) not in seen:
                task.check_steps()
                seen.add((id(made), task.n))
            if i == 0 or differ:
                task.check_callbacks()
            if one_kind:
                return [Alike(task, np.arange(n), bases)]
            tasks.append(task)
    except (TypeError, ValueError) as error:
        raise about(error, i, n) from error
    return joined(tasks)


def _settings(
    known: dict[Any, Fit], mine: list[Any], objective: objectives.Objective, for_all: dict[str, Any]
) -> Fit:
    """Return the settings of a net; the same object for the same ones."""
    key = tuple(value if type(value) in (int, float) else id(value) for value in mine)
    if key not in known:
        optimizer, rate, epochs, batch_size, number = mine
        known[key] = Fit(
            objective=objective,
            optimizer=_optimizer(optimizer, rate),
            epochs=epochs,
            batch_size=batch_size,
            seed=None if number is None else check_count(number, "seed", 0),
            verbose=0,
            **for_all,
        )
    return known[key]


def _optimizer(optimizer: Any, learning_rate: Any) -> optimizers.Optimizer:
    """Return the optimizer with the learning rate in place of its own, unless that is None."""
    resolved = optimizers.get(optimizer)
    return resolved if learning_rate is None else replace(resolved, learning_rate=learning_rate)


def _own_callbacks(callbacks: Any, n: int) -> tuple[Callable[[int], list[Any]], bool]:
    """Return own(i), the callbacks of net i, and whether they are others than those of the other nets."""
    given = as_list(callbacks)
    if any(isinstance(item, list | tuple) for item in given):
        check_length(given, n, "callbacks")
        return lambda i: as_list(given[i]), True
    for k, callback in enumerate(given):
        if isinstance(callback, ProgressBar):
            raise ValueError(
                f"callbacks[{k}]: pass verbose=1 in place of a ProgressBar: one bar for all nets"
            )
        if isinstance(callback, Checkpoint | CSVLogger) and n > 1:
            kind = type(callback).__name__
            raise ValueError(
                f"callbacks[{k}]: the {kind} of every net would write {callback.path}; pass a list of callbacks for "
                "each net"
            )
    if not given:
        nobody: list[Any] = []
        return lambda i: nobody, False
    try:
        copy.deepcopy(given)
    except Exception as error:
        raise TypeError(
            f"callbacks cannot be copied for each net ({type(error).__name__}: {error}); pass a list of callbacks for "
            "each net"
        ) from error
    return lambda i: copy.deepcopy(given), False


def _report(histories: Histories) -> None:
    """Warn of the nets that diverged."""
    wrong = histories.wrong
    if wrong:
        some = ", ".join(map(str, wrong[:SHOWN])) + (", ..." if len(wrong) > SHOWN else "")
        warn(
            f"{len(wrong)} of {len(histories.made)} nets diverged and have the weights they had before: {some}; "
            f"the first: {histories.made[wrong[0]].error}"
        )
