"""The work of a `fit_many`: a piece for each net, or for many small ones that share their vectors; and what ends it."""

from __future__ import annotations

import functools
import threading
from dataclasses import replace

from fastbp.callbacks import DivergenceError
from fastbp.engine.layout import positions
from fastbp.engine.loading import load_kernels
from fastbp.engine.memory import Array
from fastbp.engine.sources import Selection
from fastbp.many.histories import Histories
from fastbp.many.lanes import Group, grouped, parts
from fastbp.many.stack import Stack
from fastbp.many.tasks import Alike, Generators, Task
from fastbp.many.work import Control, Piece, Watch, work_off
from fastbp.sequential import Sequential
from fastbp.training.fitting import loop_of, train
from fastbp.training.model_loop import ModelLoop


def train_all(members: list[Sequential] | Stack, alike: list[Alike], threads: int, verbose: int) -> Histories:
    """Train every member by its task; after an exception other than KeyboardInterrupt all are as they were before."""
    work = _Work(members, alike)
    pieces = work.pieces(threads)
    # The longest first, so that no core is idle at the end.
    pieces.sort(key=lambda item: -item[0])
    samples = sum(of_piece for _, of_piece, _ in pieces)
    before = work.remember()
    try:
        work_off([piece for _, _, piece in pieces], threads, work.control, samples=samples, verbose=verbose)
    except KeyboardInterrupt:
        raise
    except BaseException:
        work.go_back(before)
        raise
    return work.histories


class _Work:
    """What all pieces share."""

    def __init__(self, members: list[Sequential] | Stack, alike: list[Alike]) -> None:
        self.members, self.alike = members, alike
        self.control, self.generators = Control(), Generators()
        self.histories = Histories(len(members))
        self._of_thread = threading.local()

    def pieces(self, threads: int) -> list[tuple[float, int, Piece]]:
        """Return the work, each piece with how long it takes, about, and its samples; nothing is trained yet."""
        members = self.members
        groups, alone = grouped(self.alike)
        found: list[tuple[float, int, Piece]] = []
        for same in groups:
            for part in parts(same, threads):
                group = Group(members, part, self.generators, self.histories, self._alone)
                found.append((group.work, group.samples, group))
        if isinstance(members, Stack):
            engines = [members.net.engine]
        else:
            engines = list({net.dtype: net.engine for net in members}.values())
        for engine in engines:
            load_kernels(engine)
        return found + [(task.work, task.samples, functools.partial(self._alone, task)) for task in alone]

    def remember(self) -> list[Array]:
        """Return all parameters, for `go_back`."""
        if isinstance(self.members, Stack):
            return [self.members.theta.copy()]
        return [net.engine.theta.copy() for net in self.members]

    def go_back(self, before: list[Array]) -> None:
        """Return to what `remember` returned."""
        if isinstance(self.members, Stack):
            self.members.theta[...] = before[0]
            return
        for net, theta in zip(self.members, before, strict=True):
            net.engine.theta[:] = theta

    def _loop(self, net: Sequential, task: Task) -> ModelLoop:
        """Return the loop that trains one net."""
        source = task.source
        validation = None if task.validation is None else Selection(source, task.validation + task.base)
        settings = replace(task.settings, callbacks=[*task.callbacks, Watch(self.control)])
        rng = self.generators.of(task, task.learned)
        return loop_of(net, source, validation, settings, rng, task.rows)

    def _alone(self, task: Task, control: Control) -> str:
        """Train one member; return a line about it."""
        members = self.members
        if not isinstance(members, Stack):
            return self._net(members[task.number], task)
        net, own = self._stand_in(members, task), members.theta[task.number]
        where = positions(net.engine.layout)
        net.engine.theta[where] = own
        try:
            return self._net(net, task)
        finally:
            own[...] = net.engine.theta[where]

    def _stand_in(self, stack: Stack, task: Task) -> Sequential:
        """Return a net for a member of a stack: the same one for all that a thread trains, unless callbacks see it."""
        if task.callbacks:
            return stack.net.copy()
        net: Sequential | None = getattr(self._of_thread, "net", None)
        if net is None:
            net = self._of_thread.net = stack.net.copy()
        return net

    def _net(self, net: Sequential, task: Task) -> str:
        """Train one net; return a line about it."""
        loop = self._loop(net, task)
        history = loop.history
        with net.engine.training_lock:
            try:
                train(loop)
            except DivergenceError as error:
                history.error = error
        self.histories.note(task.number, history)
        return f"net {task.number + 1}  {history.error or history!r}"
