"""A subject of measurement: prepared once, checked once, then run again and again in turn with its rivals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.peers.workloads import (
    WORKLOADS,
    Array,
    Workload,
    initial_parameters,
    loss_of,
    make_data,
    make_orders,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a table: which measurement, of what, under which conditions."""

    suite: str
    name: str
    threads: int
    dtype: str
    quick: bool = False

    @property
    def key(self) -> str:
        """The name under which results are stored and resumed."""
        return f"{self.suite}/{self.name}/{self.threads}/{self.dtype}"


class Subject(Protocol):
    """One peer at work on one case.

    It may have `told`, a method that returns what its runs have found; that is kept in the results beside the rate.
    """

    work: float
    """Units (samples, calls, FLOPs) that one `run(1)` does."""

    check_runs: int
    """Runs of the timed work that `check` takes."""

    def check(self) -> list[float]:
        """Do the work from the start and return numbers that all peers must agree on."""
        ...

    def reset(self) -> None:
        """Back to the start; never timed."""
        ...

    def run(self, times: int) -> None:
        """The timed work, `times` over."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """Everything a peer needs to train a workload, made from seeds: no two peers can differ in it."""

    workload: Workload
    x: Array
    y: Array
    weights: list[Array]
    biases: list[Array]
    threads: int
    dtype: str

    @classmethod
    def of(cls, case: Case) -> Task:
        """Make the data and the initial parameters of a training case."""
        workload = WORKLOADS[case.name]
        if case.quick:
            workload = workload.quick()
        x, y = make_data(workload.sizes, workload.loss, workload.n_rows, case.dtype)
        weights, biases = initial_parameters(workload.sizes, case.dtype)
        return cls(workload, x, y, weights, biases, case.threads, case.dtype)


class Training(ABC):
    """Base of the training peers: a peer says how to start over, how to train, and what it learned.

    Subclasses implement `reset`, `train` (one pass over the rows per order) and `parameters`
    (weights of shape (fan_in, fan_out) and biases of shape (fan_out,), as NumPy arrays).
    """

    check_runs = 2

    def __init__(self, case: Case) -> None:
        self.task = Task.of(case)
        self.work = float(self.task.workload.n_rows)
        # A few dozen orders, drawn before any clock runs and used over and over.
        self.orders = make_orders(self.task.workload.n_rows, 2 if case.quick else 32)
        self.build()

    def build(self) -> None:
        """Compile, allocate, move data: once, before any clock runs."""

    @abstractmethod
    def reset(self) -> None:
        """Initial parameters, fresh optimizer state."""

    @abstractmethod
    def train(self, orders: list[Array]) -> None:
        """One pass over the rows for each order."""

    @abstractmethod
    def parameters(self) -> tuple[list[Array], list[Array]]:
        """Weights and biases as they are now."""

    def run(self, times: int) -> None:
        """Train for `times` epochs."""
        self.train([self.orders[e % len(self.orders)] for e in range(times)])

    def check(self) -> list[float]:
        """Loss of the parameters after `check_runs` epochs from the start."""
        self.reset()
        self.run(self.check_runs)
        weights, biases = self.parameters()
        loss = loss_of(self.task.workload, self.task.x, self.task.y, weights, biases)
        if not np.isfinite(loss):
            raise ArithmeticError(f"loss after {self.check_runs} epochs: {loss}")
        return [loss]
