"""Small networks of one shape in groups, a model per lane: which tasks that is for, and the work of such groups.

A model per lane trains up to ten times as fast as models one by one, the smaller it is. Its numbers equal theirs but
for rounding. Which way a model takes does not depend on the number of threads.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastbp.arrays import all_finite
from fastbp.engine.lanes import SPEED, Lanes, Plan, Shape, lanes_of, pays, shape_of
from fastbp.engine.layout import positions
from fastbp.engine.memory import Array
from fastbp.engine.own import is_own
from fastbp.engine.rows import Rows
from fastbp.engine.session import CHUNK_SECONDS
from fastbp.many.stack import Stack
from fastbp.many.tasks import Generators, Task
from fastbp.many.work import Control
from fastbp.schedules import ConstantSchedule, Schedule
from fastbp.sequential import Sequential
from fastbp.training.history import History, Recorded

# A group that is not full pays if at least one in so many lanes is used.
LEAST_SHARE = 2
PIECES = 4  # for each thread: who has a slower core does fewer of them


def grouped(tasks: Sequence[Task]) -> tuple[list[list[Task]], list[Task]]:
    """Return lists of tasks that can be trained side by side, and the tasks for models one by one."""
    kinds: dict[Any, list[Task]] = {}
    alone: list[Task] = []
    before, place = None, alone
    for task in tasks:
        if task.callbacks or task.validation is not None:
            alone.append(task)
            continue
        if before is None or not task.is_like(before):
            key = _kind(task)
            place = alone if key is None else kinds.setdefault(key, [])
        place.append(task)
        before = task
    groups = []
    for alike in kinds.values():
        side = lanes_of(alike[0].layout.dtype)
        whole = len(alike) // side * side
        if LEAST_SHARE * (len(alike) - whole) >= side:
            whole = len(alike)
        if whole:
            groups.append(alike[:whole])
        alone += alike[whole:]
    return groups, sorted(alone, key=lambda task: task.number)


def _kind(task: Task) -> Any:
    """Return what all models of a group have in common; None for one that is trained alone, watched or not."""
    shape, source, settings = shape_of(task.layout), task.source, task.settings
    if (
        shape is None
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


def parts(tasks: list[Task], threads: int) -> list[list[Task]]:
    """Cut a list of tasks into pieces of whole groups: some for each thread, none longer than a chunk if possible."""
    side, first = lanes_of(tasks[0].layout.dtype), tasks[0]
    seconds = side * first.samples * (first.layout.flops_per_row + 50.0) / SPEED
    share = -(-len(tasks) // (side * PIECES * threads))
    count = side * max(1, min(share, int(CHUNK_SECONDS / seconds)))
    return [tasks[begin : begin + count] for begin in range(0, len(tasks), count)]


class Group:
    """Tasks that are trained side by side, in one piece of work.

    Parameters
    ----------
    members : list of Sequential, or Stack
        Of all tasks.
    tasks : list of Task
    generators : Generators
    histories : list
        Of all tasks; those of this group are filled in.
    alone : callable
        Trains one task by itself, and returns a line about it: for those that left the finite numbers.
    """

    def __init__(
        self,
        members: list[Sequential] | Stack,
        tasks: list[Task],
        generators: Generators,
        histories: list[Any],
        alone: Callable[[Task, Control], str],
    ) -> None:
        self._members, self._tasks, self._generators = members, tasks, generators
        self._histories, self._alone = histories, alone

    @property
    def work(self) -> float:
        """How long it takes, about; see `Task.work`."""
        return len(self._tasks) * self._tasks[0].work

    @property
    def samples(self) -> int:
        """Rows to train, of all tasks; see `Task.samples`."""
        return len(self._tasks) * self._tasks[0].samples

    def __call__(self, control: Control) -> str:
        """Train; return a line about it."""
        tasks = self._tasks
        shape = shape_of(tasks[0].layout)
        assert shape is not None
        with contextlib.ExitStack() as locks:
            if isinstance(self._members, list):
                # In one order, whatever that of the list is: two calls that share nets must not wait for each other.
                own = [self._members[task.number].engine.training_lock for task in tasks]
                for lock in sorted(own, key=id):
                    locks.enter_context(lock)
            failed = self._train(shape, control)
        for task in failed:
            self._alone(task, control)
        last = tasks[-1].number + 1
        return (
            f"nets {tasks[0].number + 1} to {last}  {len(tasks)} side by side, {len(failed)} of them diverged"
        )

    def _train(self, shape: Shape, control: Control) -> list[Task]:
        """Train all; return the tasks whose loss or weights are not finite: their models are as they were before."""
        tasks, settings, n = self._tasks, self._tasks[0].settings, self._tasks[0].n
        batch = min(settings.batch_size or n, n)
        steps = -(-n // batch)
        plan = Plan(shape, settings.objective, settings.optimizer.rule(), batch)
        start = self._read()
        kinds = _distinct(tasks)
        penalized = any(layer.l1 or layer.l2 for task in kinds for layer in task.layout.layers)
        lanes = Lanes(plan, start, [task.layout.layers for task in tasks] if penalized else None)
        x, y, codes, base = _data(tasks, kinds)
        orders = _orders(tasks, kinds, self._generators, batch < n and settings.shuffle)
        schedules = _schedules(tasks, kinds, steps)
        losses = np.empty((len(tasks), settings.epochs))
        rates = np.empty((settings.epochs, len(tasks)))
        seconds: list[float] = []
        epoch = 0
        count = lanes.passes_in_a_call(n, tasks[0].layout.flops_per_row, CHUNK_SECONDS)
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
                control.advance(count * n * len(tasks))
        finally:
            theta = lanes.theta
            self._write(theta)
        return self._record(start, theta, losses, rates, seconds)

    def _record(
        self, start: Array, theta: Array, losses: Array, rates: Array, seconds: list[float]
    ) -> list[Task]:
        """Write the histories; give those models back that left the finite numbers, and return their tasks."""
        failed = []
        whole = math.isfinite(float(losses.sum())) and all_finite(theta)
        good = np.logical_and(np.isfinite(losses).all(axis=1), np.isfinite(theta).all(axis=1))
        recorded = Recorded(losses, rates, seconds)
        for k, task in enumerate(self._tasks):
            if whole or good[k]:
                self._histories[task.number] = History.of(recorded, k)
            else:
                theta[k] = start[k]
                failed.append(task)
        if failed:
            self._write(theta)
        return failed

    def _read(self) -> Array:
        """Return the parameters of the models, (models, parameters): a copy."""
        numbers = [task.number for task in self._tasks]
        if isinstance(self._members, Stack):
            return self._members.theta[numbers]
        layout = self._tasks[0].layout
        whole = np.concatenate([self._members[i].engine.theta for i in numbers])
        return whole.reshape(-1, layout.size)[:, positions(layout)]

    def _write(self, theta: Array) -> None:
        """Give the models their parameters."""
        numbers = [task.number for task in self._tasks]
        if isinstance(self._members, Stack):
            self._members.theta[numbers] = theta
            return
        layout = self._tasks[0].layout
        whole = np.zeros((len(numbers), layout.size), layout.dtype)
        whole[:, positions(layout)] = theta
        for i, own in zip(numbers, whole, strict=True):
            self._members[i].engine.theta[:] = own


def _distinct(tasks: list[Task]) -> list[Task]:
    """Return the tasks that differ from the one before in more than the model, and where its rows begin."""
    return [task for k, task in enumerate(tasks) if k == 0 or not task.is_like(tasks[k - 1])]


def _data(tasks: list[Task], kinds: list[Task]) -> tuple[Array, Array, bool, Array]:
    """Return x and y of all tasks, flat, whether y holds codes, and each task's row 0."""
    sources: dict[int, Rows] = {}
    for task in kinds:
        assert isinstance(task.source, Rows)
        sources.setdefault(id(task.source), task.source)
    base = np.array([task.base for task in tasks], np.int64)
    if len(sources) > 1:
        begins = dict(zip(sources, np.cumsum([0, *map(len, sources.values())]).tolist(), strict=False))
        base += [begins[id(task.source)] for task in tasks]
    first, *others = sources.values()
    if not others:
        return first.values, first.y, first.codes, base
    rows = [first, *others]
    x, y = (np.concatenate([getattr(own, name) for own in rows]) for name in ("values", "y"))
    return x, y, first.codes, base


def _orders(
    tasks: list[Task], kinds: list[Task], generators: Generators, shuffled: bool
) -> Callable[[int, int], Array]:
    """Return orders(epoch, count): the rows of so many epochs, one order for all tasks, or (epochs, n, tasks)."""
    first, n = tasks[0], tasks[0].n
    alike = all(task.chosen is first.chosen and task.settings.seed == first.settings.seed for task in kinds)
    alike = alike and (not shuffled or first.settings.seed is not None)
    draws = [generators.of(task, n) for task in (tasks[:1] if alike else tasks)]
    for rng in draws:
        rng.integers(2**31)  # a fit draws the seed of its dropout first

    def of_task(task: Task, rng: Any, count: int) -> Array:
        order = np.empty((count, n), np.int64)
        for k in range(count):
            places = rng.permutation(n) if shuffled else np.arange(n)
            order[k] = places if task.chosen is None else task.chosen[places]
        return order

    def orders(epoch: int, count: int) -> Array:
        if alike:
            return of_task(first, draws[0], count)
        return np.stack([of_task(task, rng, count) for task, rng in zip(tasks, draws, strict=True)], axis=-1)

    return orders


def _schedules(tasks: list[Task], kinds: list[Task], steps: int) -> Callable[[int, int], Array]:
    """Return rates(epoch, count): the learning rates of the steps of so many epochs, (steps, tasks), or (1, tasks)."""
    epochs = tasks[0].settings.epochs
    bound: dict[int, Schedule] = {
        id(task.settings): task.settings.optimizer.schedule.bind(steps, epochs) for task in kinds
    }
    constants = {
        key: float(schedule.learning_rate)
        for key, schedule in bound.items()
        if isinstance(schedule, ConstantSchedule)
    }
    if len(constants) == len(bound):
        constant = np.array([[constants[id(task.settings)] for task in tasks]])
        return lambda epoch, count: constant

    def rates(epoch: int, count: int) -> Array:
        known = {
            key: np.concatenate(
                [schedule.epoch_rates(e, e * steps, steps) for e in range(epoch, epoch + count)]
            )
            for key, schedule in bound.items()
        }
        return np.stack([known[id(task.settings)] for task in tasks], axis=1)

    return rates
