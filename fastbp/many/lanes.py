"""Small networks of one shape in groups, a model per lane: which tasks that is for, and the work of such groups.

A model per lane trains up to ten times as fast as models one by one, the smaller it is. Its numbers equal theirs but
for rounding. Which way a model takes does not depend on the number of threads.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastbp.engine.lanes import SPEED, Lanes, Plan, Shape, lanes_of, pays, shape_of
from fastbp.engine.layout import positions
from fastbp.engine.memory import Array
from fastbp.engine.own import is_own
from fastbp.engine.rows import Rows
from fastbp.engine.session import CHUNK_SECONDS
from fastbp.many.histories import Histories
from fastbp.many.stack import Stack
from fastbp.many.tasks import Alike, Generators, Task, cut
from fastbp.many.work import Control
from fastbp.schedules import ConstantSchedule, Schedule
from fastbp.sequential import Sequential
from fastbp.training.history import Recorded

# A group that is not full pays if at least one in so many lanes is used.
LEAST_SHARE = 2
PIECES = 4  # for each thread: who has a slower core does fewer of them


def grouped(alike: Sequence[Alike]) -> tuple[list[list[Alike]], list[Task]]:
    """Return groups of tasks that can be trained side by side, and the tasks for models one by one."""
    kinds: dict[Any, list[Alike]] = {}
    alone: list[Alike] = []
    for each in alike:
        key = _kind(each.first)
        (alone if key is None else kinds.setdefault(key, [])).append(each)
    groups = []
    for of_kind in kinds.values():
        side, count = lanes_of(of_kind[0].first.layout.dtype), _count(of_kind)
        whole = count // side * side
        if LEAST_SHARE * (count - whole) >= side:
            whole = count
        group, *rest = cut(of_kind, whole) if whole else ([], of_kind)
        if whole:
            groups.append(group)
        alone += itertools.chain.from_iterable(rest)
    return groups, sorted(itertools.chain.from_iterable(alone), key=lambda task: task.number)


def _count(alike: Sequence[Alike]) -> int:
    """Return how many tasks there are."""
    return sum(map(len, alike))


def _kind(task: Task) -> Any:
    """Return what all models of a group have in common; None for one that is trained alone."""
    shape, source, settings = shape_of(task.layout), task.source, task.settings
    if (
        task.callbacks
        or task.validation is not None
        or shape is None
        or not isinstance(source, Rows)
        or source.sparse
        or source.weights.size
        or settings.max_grad_norm is not None
        or is_own(settings.objective, settings.optimizer.rule())
        or not pays(task.layout, min(settings.batch_size or task.n, task.n), task.samples)
    ):
        return None
    return (
        shape,
        settings.objective,
        settings.optimizer.rule(),
        settings.epochs,
        settings.batch_size,
        settings.shuffle,
        task.n,
        source.codes,
    )


def parts(group: list[Alike], threads: int) -> list[list[Alike]]:
    """Cut a group into pieces of whole vectors: some for each thread, none longer than a chunk if possible."""
    first = group[0].first
    side = lanes_of(first.layout.dtype)
    seconds = side * first.samples * (first.layout.flops_per_row + 50.0) / SPEED
    share = -(-_count(group) // (side * PIECES * threads))
    return cut(group, side * max(1, min(share, int(CHUNK_SECONDS / seconds))))


class Group:
    """Tasks that are trained side by side, in one piece of work.

    Parameters
    ----------
    members : list of Sequential, or Stack
        Of all tasks.
    alike : list of Alike
    generators : Generators
    histories : Histories
        Of all tasks; those of this group are noted.
    alone : callable
        Trains one task by itself, and returns a line about it: for those that left the finite numbers.
    """

    def __init__(
        self,
        members: list[Sequential] | Stack,
        alike: list[Alike],
        generators: Generators,
        histories: Histories,
        alone: Callable[[Task, Control], str],
    ) -> None:
        self._members, self._alike, self._generators = members, alike, generators
        self._histories, self._alone = histories, alone
        self._first = alike[0].first
        self._numbers, self._bases = (
            np.concatenate([getattr(each, name) for each in alike]) for name in ("numbers", "bases")
        )

    @property
    def work(self) -> float:
        """How long it takes, about; see `Task.work`."""
        return len(self._numbers) * self._first.work

    @property
    def samples(self) -> int:
        """Rows to train, of all tasks; see `Task.samples`."""
        return len(self._numbers) * self._first.samples

    def __call__(self, control: Control) -> str:
        """Train; return a line about it."""
        numbers = self._numbers.tolist()
        shape = shape_of(self._first.layout)
        assert shape is not None
        with contextlib.ExitStack() as locks:
            if isinstance(self._members, list):
                # In one order, whatever that of the list is: two calls that share nets must not wait for each other.
                own = [self._members[number].engine.training_lock for number in numbers]
                for lock in sorted(own, key=id):
                    locks.enter_context(lock)
            failed = self._train(shape, control)
        for task in failed:
            self._alone(task, control)
        which = f"nets {numbers[0] + 1} to {numbers[-1] + 1}"
        return f"{which}  {len(numbers)} side by side, {len(failed)} of them diverged"

    def _train(self, shape: Shape, control: Control) -> list[Task]:
        """Train all; return the tasks whose loss or weights are not finite: their models are as they were before."""
        alike, models, settings, n = self._alike, len(self._numbers), self._first.settings, self._first.n
        batch = min(settings.batch_size or n, n)
        steps = -(-n // batch)
        plan = Plan(shape, settings.objective, settings.optimizer.rule(), batch)
        start = self._read()
        penalized = any(layer.l1 or layer.l2 for each in alike for layer in each.first.layout.layers)
        layers = [each.first.layout.layers for each in alike for _ in range(len(each))] if penalized else None
        lanes = Lanes(plan, start, layers)
        x, y, codes, base = _data(alike, self._bases)
        orders = _orders(alike, self._generators, batch < n and settings.shuffle)
        schedules = _schedules(alike, steps)
        losses = np.empty((models, settings.epochs))
        rates = np.empty((settings.epochs, models))
        seconds: list[float] = []
        epoch = 0
        count = lanes.passes_in_a_call(n, self._first.layout.flops_per_row, CHUNK_SECONDS)
        try:
            while epoch < settings.epochs:
                count = min(count, settings.epochs - epoch)
                began = time.perf_counter()
                of_step = schedules(epoch, count)
                if epoch == 0:
                    lanes.begin(of_step[0])
                constant = len(of_step) == 1
                sums = lanes.train(
                    x, y, codes, orders(epoch, count), base, of_step[0] if constant else of_step
                )
                losses[:, epoch : epoch + count] = sums / n
                rates[epoch : epoch + count] = of_step if constant else of_step[steps - 1 :: steps]
                seconds += [(time.perf_counter() - began) / count] * count
                epoch += count
                control.advance(count * n * models)
        finally:
            theta = lanes.theta
            self._write(theta)
        return self._record(start, theta, losses, rates, seconds)

    def _record(
        self, start: Array, theta: Array, losses: Array, rates: Array, seconds: list[float]
    ) -> list[Task]:
        """Note the histories; give those models back that left the finite numbers, and return their tasks."""
        good = np.isfinite(losses).all(axis=1) & np.isfinite(theta).all(axis=1)
        places, failed = np.flatnonzero(good), np.flatnonzero(~good)
        self._histories.note_together(self._numbers[places], places, Recorded(losses, rates, seconds))
        if not failed.size:
            return []
        theta[failed] = start[failed]
        self._write(theta)
        tasks = list(itertools.chain.from_iterable(self._alike))
        return [tasks[k] for k in failed]

    def _read(self) -> Array:
        """Return the parameters of the models, (models, parameters): a copy."""
        if isinstance(self._members, Stack):
            own: Array = self._members.theta[self._numbers]
            return own
        layout = self._first.layout
        whole = np.concatenate([self._members[i].engine.theta for i in self._numbers.tolist()])
        return whole.reshape(-1, layout.size)[:, positions(layout)]

    def _write(self, theta: Array) -> None:
        """Give the models their parameters."""
        if isinstance(self._members, Stack):
            self._members.theta[self._numbers] = theta
            return
        layout = self._first.layout
        whole = np.zeros((len(theta), layout.size), layout.dtype)
        whole[:, positions(layout)] = theta
        for i, own in zip(self._numbers.tolist(), whole, strict=True):
            self._members[i].engine.theta[:] = own


def _data(alike: list[Alike], base: Array) -> tuple[Array, Array, bool, Array]:
    """Return x and y of all tasks, flat, whether y holds codes, and each task's row 0."""
    sources: dict[int, Rows] = {}
    for each in alike:
        assert isinstance(each.first.source, Rows)
        sources.setdefault(id(each.first.source), each.first.source)
    if len(sources) > 1:
        begins = dict(zip(sources, np.cumsum([0, *map(len, sources.values())]).tolist(), strict=False))
        base = base + _of_each(alike, [begins[id(each.first.source)] for each in alike])
    first, *others = sources.values()
    if not others:
        return first.values, first.y, first.codes, base
    rows = [first, *others]
    x, y = (np.concatenate([getattr(own, name) for own in rows]) for name in ("values", "y"))
    return x, y, first.codes, base


def _of_each(alike: list[Alike], values: list[Any], axis: int = 0) -> Array:
    """Return an array with a value for each task, given one for those that are alike."""
    return np.repeat(np.array(values), [len(each) for each in alike], axis=axis)


def _orders(alike: list[Alike], generators: Generators, shuffled: bool) -> Callable[[int, int], Array]:
    """Return orders(epoch, count): the rows of so many epochs, one order for all tasks, or (epochs, n, tasks)."""
    first, n = alike[0].first, alike[0].first.n
    same = all(
        each.first.chosen is first.chosen and each.first.settings.seed == first.settings.seed
        for each in alike
    )
    same = same and (not shuffled or first.settings.seed is not None)
    tasks = [first] if same else [each.first for each in alike for _ in range(len(each))]
    draws = [generators.of(task, n) for task in tasks]
    for rng in draws:
        rng.integers(2**31)  # a fit draws the seed of its dropout first

    def of_task(task: Task, rng: Any, count: int) -> Array:
        order = np.empty((count, n), np.int64)
        for k in range(count):
            places = rng.permutation(n) if shuffled else np.arange(n)
            order[k] = places if task.chosen is None else task.chosen[places]
        return order

    def orders(epoch: int, count: int) -> Array:
        if same:
            return of_task(first, draws[0], count)
        return np.stack([of_task(task, rng, count) for task, rng in zip(tasks, draws, strict=True)], axis=-1)

    return orders


def _schedules(alike: list[Alike], steps: int) -> Callable[[int, int], Array]:
    """Return rates(epoch, count): the learning rates of the steps of so many epochs, (steps, tasks), or (1, tasks)."""
    of_each = [each.first.settings for each in alike]
    epochs = of_each[0].epochs
    bound: dict[int, Schedule] = {
        id(settings): settings.optimizer.schedule.bind(steps, epochs) for settings in of_each
    }
    constants = {
        key: float(schedule.learning_rate)
        for key, schedule in bound.items()
        if isinstance(schedule, ConstantSchedule)
    }
    if len(constants) == len(bound):
        constant = _of_each(alike, [constants[id(settings)] for settings in of_each])[None]
        return lambda epoch, count: constant

    def rates(epoch: int, count: int) -> Array:
        known = {
            key: np.concatenate(
                [schedule.epoch_rates(e, e * steps, steps) for e in range(epoch, epoch + count)]
            )
            for key, schedule in bound.items()
        }
        return _of_each(alike, [known[id(settings)] for settings in of_each]).T

    return rates
