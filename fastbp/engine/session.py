"""A training run: batches through the kernel in pieces of about 50 ms, with the optimizer's state in between."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbp.arrays import all_finite
from fastbp.engine import teams
from fastbp.engine.engine import Engine
from fastbp.engine.memory import Array, aligned_zeros, flat
from fastbp.engine.prepared import Step, like, step_of
from fastbp.engine.rows import Rows
from fastbp.engine.workspace import EMPTY_ORDER, Workspace
from fastbp.kernels import network, optimizers
from fastbp.kernels import plan as p
from fastbp.objectives import Objective
from fastbp.optimizers import RULE_NAMES, Rule

CHUNK_SECONDS = 0.05  # one kernel call: signals, callbacks and progress live between two
TRIAL_SECONDS = 0.02  # length of a trial with the number of threads that was slower so far
MULTIPLIED = 1_000_000  # factors of NAdam's product that are multiplied one by one: a fraction of a second
# Rows of W wait if W and its state take so much, and a row so much; and if a batch has so few entries for a row of W.
WAITING_BYTES, WAITING_ROW, WAITING_ENTRIES = 1 << 23, 128, 0.6
LEAST_EPS = {np.dtype(kind): 1e4 * float(np.finfo(kind).tiny) for kind in (np.float32, np.float64)}
# Places in `numbers` that a workspace takes over from the one before it.
_RUNNING = [p.LOSS_SUM, p.STEPS, p.PRODUCT]


class Session:
    """One training run on an engine: workspace, optimizer state, and the number of batches done.

    Parameters
    ----------
    engine : Engine
    objective : Objective
    rule : Rule
    batch_size : int
        Rows of a batch, at least 1; the last batch of a pass may be shorter.
    max_grad_norm : float, optional
        Scale the gradient of all parameters down to this norm (Pascanu et al. 2013), as torch.nn.utils.clip_grad_norm_.
    alpha : float
        scikit-learn's L2: alpha / 2 sum W^2 / S is added to a batch's loss, S its rows or the sum of their weights.
    seed : int
        Of the dropout masks; they depend on it and on `step`, and on nothing else.
    n_threads : int or None
        None for all cores. Results are bit-identical for any number.
    by_weight : bool
        In the sum of the losses a batch counts by the weight of its rows; otherwise by their number, as in
        scikit-learn.

    Attributes
    ----------
    slots : dict of str to ndarray
        The optimizer's state, flat and live, each array laid out like ``engine.theta``.
    prepared : callable or None
        step(x, y, learning_rate) for batches like the last one: see `prepare`.
    """

    def __init__(
        self,
        engine: Engine,
        objective: Objective,
        rule: Rule,
        *,
        batch_size: int,
        max_grad_norm: float | None = None,
        alpha: float = 0.0,
        seed: int = 0,
        n_threads: int | None = 1,
        by_weight: bool = False,
    ) -> None:
        if max_grad_norm is not None and not max_grad_norm > 0.0:
            raise ValueError(f"max_grad_norm must be positive, got {max_grad_norm}")
        _check_rule(rule)
        self.engine, self.objective, self._rule = engine, objective, rule
        self.max_grad_norm, self.alpha = max_grad_norm, alpha
        self.n_threads, self.by_weight = n_threads, by_weight
        names = optimizers.SLOTS[rule.kernel]
        size = engine.layout.size
        self._state = aligned_zeros(len(names) * size, engine.dtype)
        self.slots = {name: self._state[k * size : (k + 1) * size] for k, name in enumerate(names)}
        self._rate = np.zeros(1)
        self.prepared: Step | None = None
        self._workspace: Workspace
        self._running: Array | None = None  # what a workspace takes over from the one before it
        self._begin_with(seed)
        self.resize(batch_size)

    def begin_anew(self, engine: Engine, rule: Rule, seed: int) -> None:
        """Be as a new session on an engine of the same layout, with a rule of the same kind and this seed."""
        self.engine = engine
        if rule is not self._rule and rule != self._rule:
            self.rule = rule
        self._state.fill(0.0)
        losses = self._workspace.losses
        losses[p.LOSS_SUM], losses[p.STEPS], losses[p.PRODUCT] = 0.0, 0.0, 1.0
        self._begin_with(seed)

    def _begin_with(self, seed: int) -> None:
        """Set what a run begins with, in a state of zeros."""
        self._seed = int(seed) & 0x7FFFFFFFFFFFFFFF
        if "sum" in self.slots:
            self.slots["sum"][...] = self._rule.initial_accumulator
        self._seconds_per_row = 0.0

    def resize(self, batch_size: int) -> None:
        """Go on with batches of up to this many rows; optimizer state and counters stay."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.batch_size = int(batch_size)
        self._begin_workspace(waits=False)

    def _begin_workspace(self, waits: bool) -> None:
        """Make a workspace, which goes on with the numbers of the one before it."""
        engine, layout = self.engine, self.engine.layout
        running = self._workspace.numbers[_RUNNING] if hasattr(self, "_workspace") else self._running
        team = teams.size_for(self.batch_size * layout.flops_per_row, self.n_threads)
        self._pace = teams.Pace(team)
        # Clipping needs the whole gradient before any of it is used.
        clipped = self.max_grad_norm is not None
        workspace = Workspace(
            layout,
            self.batch_size,
            self.objective,
            gradient=True,
            by_block=not clipped and not waits,
            threads=team,
            waits=waits,
        )
        workspace.plan[p.CLIPPED] = network.address_for("clipped", layout.dtype) if clipped else 0
        workspace.hyper[p.MAX_NORM] = self.max_grad_norm or 0.0
        workspace.hyper[p.L2_PER_ROW] = self.alpha
        workspace.out = self._state
        if running is not None:
            workspace.numbers[_RUNNING] = running
        self._plain = (
            self.batch_size == 1
            and self.alpha == 0.0
            and not clipped
            and layout.input_dropout == 0.0
            and all(layer.l1 == layer.l2 == layer.dropout == 0.0 for layer in engine.layers)
        )
        self._workspace = workspace
        self.prepared = None
        self.rule = self._rule

    def rest(self) -> None:
        """Let go of the buffers; optimizer state and counters stay. `resize` makes new ones, and the session goes on.

        Nothing else may be called meanwhile.
        """
        self._running = self._workspace.numbers[_RUNNING]
        self.prepared = None
        del self._workspace

    @property
    def rule(self) -> Rule:
        """The update rule; another one of the same kind may be set between calls."""
        return self._rule

    @rule.setter
    def rule(self, rule: Rule) -> None:
        _check_rule(rule)
        if rule.kernel != self._rule.kernel:
            raise ValueError(f"the rule of a session cannot change from {self._rule.kernel} to {rule.kernel}")
        self._rule = rule
        self.prepared = None
        plan, hyper = self._workspace.plan, self._workspace.hyper
        # The kernel has a separate path for single rows and plain SGD.
        self._online = self._plain and rule.kernel == "sgd" and rule.weight_decay == 0.0
        place_rule(plan, hyper, rule, self.engine.dtype)

    @property
    def step(self) -> int:
        """Batches done so far: t of Adam's bias correction, and the number of the dropout mask."""
        return int(self._workspace.numbers[p.STEPS])

    @step.setter
    def step(self, value: int) -> None:
        self._workspace.numbers[p.STEPS] = value
        self.product = _product(self._rule, value) if self._rule.kind == "nadam" else 1.0
        self.prepared = None

    @property
    def product(self) -> float:
        """The product of NAdam's mu over the batches done, as the kernel has rounded it; set together with `step`."""
        return float(self._workspace.numbers[p.PRODUCT])

    @product.setter
    def product(self, value: float) -> None:
        self._workspace.numbers[p.PRODUCT] = value

    @property
    def loss_sum(self) -> float:
        """Sum of loss times rows (or weights) over the batches since it was last set: the same bits for all cuts."""
        return self._workspace.losses[p.LOSS_SUM]

    @loss_sum.setter
    def loss_sum(self, value: float) -> None:
        self._workspace.losses[p.LOSS_SUM] = value

    def run(
        self, x: Any, y: Any, order: Array, learning_rate: float | Array, *, sample_weight: Any = None
    ) -> float:
        """Train on x[order] in batches, in place.

        Parameters
        ----------
        x : ndarray (n, n_inputs), C-contiguous, or CSR matrix; of the engine's dtype
        y : ndarray (n, n_outputs) of the engine's dtype, or (n,) integer class codes for cross_entropy
        order : ndarray (k,), int64
            Rows in the order they are visited.
        learning_rate : float, or ndarray (batches,) float64
        sample_weight : ndarray (n,), optional

        Returns
        -------
        float
            Sum over the batches of mean loss (penalties included) times rows, or times their weight.
        """
        rows = Rows(self.engine.layout, x, y, sample_weight, self.objective)
        return self.train(rows, order, learning_rate)

    def train(self, rows: Rows, order: Array, learning_rate: float | Array) -> float:
        """Do what `run` does, on rows that are checked already."""
        before, self.loss_sum = self.loss_sum, 0.0
        try:
            for _ in self.chunks(rows, order, learning_rate):
                pass
            return self.loss_sum
        finally:
            self.loss_sum = before

    def train_batch(self, x: Any, y: Any, learning_rate: float, sample_weight: Any = None) -> float:
        """Train on all rows of x as one batch of at most `batch_size` rows; return its mean loss, penalties included.

        The parameters are those of `run`. Loops that users write come here. A call may take only a few microseconds, so
        nothing is prepared that one batch does not need.
        """
        return self.update(Rows(self.engine.layout, x, y, sample_weight, self.objective), learning_rate)

    def update(self, rows: Rows, learning_rate: float) -> float:
        """Do what `train_batch` does, on rows that are checked already."""
        workspace, n = self._workspace_for(rows, one_batch=True), rows.n
        self._begin(learning_rate)
        losses = workspace.losses
        before, losses[p.LOSS_SUM] = losses[p.LOSS_SUM], 0.0
        self._rate[0] = learning_rate
        team, _ = self._pace.choose()
        team = self._team_for(team, n, rows)
        begun = time.perf_counter()
        try:
            done = workspace.call(
                p.TRAIN,
                self.engine.params,
                rows,
                begin=0,
                end=n,
                rates=self._rate,
                seed=self._seed,
                online=self._online and not rows.sparse,
                team=team,
            )
            total = losses[p.LOSS_SUM]
        finally:
            losses[p.LOSS_SUM] = before
        self._pace.note(team, time.perf_counter() - begun, n)
        if done < n:
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        return total / n

    def prepare(self, x: Any, y: Any, rows: Rows) -> None:
        """Make `prepared` for batches like `rows`, made from x and y, on which `update` has just trained.

        There is none for batches that a team trains on, and for arrays that kernels do not take as they are: see
        `fastbp.engine.prepared`.
        """
        is_like = like(self.engine.layout, rows.n, codes=rows.codes)
        if self._pace.team == 1 and is_like(x, y):
            self.prepared = step_of(
                self._workspace,
                self.engine.params,
                is_like,
                rows.n,
                codes=rows.codes,
                seed=self._seed,
                online=self._online,
            )

    def _workspace_for(self, rows: Rows, *, one_batch: bool = False, labeled: bool = True) -> Workspace:
        """Return the workspace, if it can take these rows; as a single batch, or without targets, if that is said."""
        rows.check(self.engine.layout, labeled=labeled)
        if one_batch and not 1 <= rows.n <= self.batch_size:
            raise ValueError(
                f"x must have 1 to {self.batch_size} rows, the batch size of the session, got {rows.n}"
            )
        if rows.sparse and self.engine.layout.input_dropout > 0.0:
            raise ValueError(
                "dropout of the inputs is not made for sparse x; use a dense x, or drop hidden units"
            )
        return self._workspace

    def _begin(self, learning_rate: float) -> None:
        """Before the first batch, set what the state takes from its learning rate: Rprop's steps start from that.

        A call that is refused, or gives up before its first batch is done, leaves `step` at 0: the next comes here.
        """
        if self._rule.kind == "rprop" and self.step == 0:
            self.slots["step_size"][...] = learning_rate

    def chunks(self, rows: Rows, order: Array, learning_rate: float | Array) -> Iterator[tuple[int, float]]:
        """Train on rows[order] in pieces of about 50 ms: yields (rows done, sum of loss times rows) of each.

        Between two pieces the model is as the last finished batch has left it. Ctrl-C takes effect there, or after the
        batch in hand if a piece may take more than twice as long. Where rows of W wait, a piece is 16 batches or more.

        Parameters
        ----------
        rows : Rows
        order : ndarray (k,), int64
        learning_rate : float, or ndarray (batches,) float64
        """
        self._workspace_for(rows)
        batch = self.batch_size
        order, in_order, rates = self._checked(rows, order, learning_rate)
        size = int(order.size)
        if in_order:
            order = EMPTY_ORDER  # the kernel reads the rows in place
        waits = self._waits(rows)
        if size:
            self._begin(float(rates[0]))
        workspace = self._workspace
        done = 0
        while done < size:
            team, trial = self._pace.choose(self._guess() * batch > CHUNK_SECONDS)
            piece = self._piece(done, size, TRIAL_SECONDS if trial else CHUNK_SECONDS, waits)
            team = self._team_for(team, piece, rows)
            before = self.loss_sum
            started = time.perf_counter()
            first_rate = done // batch if rates.size > 1 else 0
            finished = workspace.call(
                p.TRAIN,
                self.engine.params,
                rows,
                begin=done,
                end=done + piece,
                order=order,
                rates=rates[first_rate : first_rate + -(-piece // batch)] if rates.size > 1 else rates,
                seed=self._seed,
                online=self._online and not rows.sparse,
                team=team,
                apart=self._guess() * piece > 2 * CHUNK_SECONDS,
                by_weight=self.by_weight,
                waits=waits,
            )
            elapsed = time.perf_counter() - started
            self._seconds_per_row = elapsed / piece
            self._pace.note(team, elapsed, piece)
            if finished < piece:
                finished += self._fell_short(rows, order, done + finished, rates, size)
            done += finished
            yield finished, self.loss_sum - before

    def _fell_short(self, rows: Rows, order: Array, place: int, rates: Array, size: int) -> int:
        """Answer a call that has given up the batch that begins at a place of the order."""
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")

    def _checked(self, rows: Rows, order: Array, learning_rate: float | Array) -> tuple[Array, bool, Array]:
        """Return the order, whether it is 0, 1, 2, ..., and the learning rates: copies, which are checked.

        A row number is an address to the kernel.
        """
        order = np.array(order, np.int64)
        size = int(order.size)
        in_order = (
            order.ndim == 1
            and 0 < size <= rows.n
            and order[0] == 0
            and order[-1] == size - 1
            and bool(np.all(order[1:] > order[:-1]))
        )
        if not in_order and (
            order.ndim != 1 or (size and not 0 <= int(order.min()) <= int(order.max()) < rows.n)
        ):
            raise ValueError(f"order must be one-dimensional and hold row numbers from 0 to {rows.n - 1}")
        n_batches = -(-size // self.batch_size)
        rates = flat(np.ascontiguousarray(learning_rate, np.float64))
        if rates.size not in (1, n_batches):
            raise ValueError(
                f"learning_rate must be one number or one per batch ({n_batches}), got {rates.size}"
            )
        return flat(order), in_order, rates

    def passes_in_a_call(self, span: int) -> int:
        """Return how many passes over `span` rows one call of the kernel takes about 50 ms for; 0 if not even one."""
        return min(p.MOST_PASSES, int(CHUNK_SECONDS / (self._guess() * span)))

    def passes(
        self, rows: Rows, order: Array, learning_rate: float | Array, count: int
    ) -> list[float] | None:
        """Train several times on the same rows, in one call of the kernel; return each pass's sum of loss times rows.

        The bits are those of `chunks`, called for one pass after the other. None if loss or weights are not finite
        after more than one pass: then, and after an exception, the session and the engine are as they were before.

        Parameters
        ----------
        rows : Rows
        order : ndarray (count, k), int64, C-contiguous, or empty
            The rows of each pass in the order they are visited; not checked. Empty: all, as they lie.
        learning_rate : float, or ndarray (count * batches,) float64
        count : int
            At most `plan.MOST_PASSES`.
        """
        before = self._remember() if count > 1 else None
        try:
            sums = self._pass(rows, order, learning_rate, count)
        except BaseException:
            if before is not None:
                self._go_back(before)
            raise
        if before is None or (math.isfinite(sum(sums)) and all_finite(self.engine.theta)):
            return sums
        self._go_back(before)
        return None

    def _pass(self, rows: Rows, order: Array, learning_rate: float | Array, count: int) -> list[float]:
        """Do what `passes` does, and leave what has become of it."""
        self._workspace_for(rows)
        span = order.shape[1] if order.size else rows.n
        waits = self._waits(rows)
        workspace = self._workspace
        if isinstance(learning_rate, float):
            self._rate[0] = learning_rate
            rates = self._rate
        else:
            rates = learning_rate
        self._begin(float(rates[0]))
        losses = workspace.losses
        losses[p.LOSS_SUM] = 0.0
        team, _ = self._pace.choose()
        team = self._team_for(team, count * span, rows)
        begun = time.perf_counter()
        done = workspace.call(
            p.TRAIN,
            self.engine.params,
            rows,
            begin=0,
            end=count * span,
            span=span,
            order=order.reshape(-1),
            rates=rates,
            seed=self._seed,
            online=self._online and not rows.sparse,
            team=team,
            waits=waits,
        )
        elapsed = time.perf_counter() - begun
        self._seconds_per_row = elapsed / (count * span)
        self._pace.note(team, elapsed, count * span)
        if done < count * span:
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        return list(losses[p.PASSES : p.PASSES + count])

    def _remember(self) -> tuple[Array, Array, Array]:
        """Return all that training changes, for `_go_back`."""
        numbers = self._workspace.numbers[_RUNNING]
        return self.engine.theta.copy(), self._state.copy(), numbers

    def _go_back(self, before: tuple[Array, Array, Array]) -> None:
        """Return to what `_remember` returned."""
        theta, state, numbers = before
        self.engine.theta[:], self._state[:] = theta, state
        self._workspace.numbers[_RUNNING] = numbers
        self.prepared = None

    def _team_for(self, team: int, count: int, rows: Rows) -> int:
        """Return how many threads a call of `count` of the rows gets; training row by row cannot be shared."""
        if self._online and not rows.sparse:
            return 1
        return teams.for_call(team, count * self.engine.layout.flops_per_row)

    def _guess(self) -> float:
        """Return the seconds that a row took in the last piece; before the first piece, a guess from its work."""
        return self._seconds_per_row or self.engine.layout.flops_per_row / 2e10 + 1e-6 / self.batch_size

    def _piece(self, done: int, size: int, length: float, waits: bool) -> int:
        """Return how many of the rows behind `done` take `length` seconds; windows are not cut."""
        batches = max(1, int(length / (self._guess() * self.batch_size)))
        end = done // self.batch_size + batches
        if waits:
            end = -(-end // p.WINDOW) * p.WINDOW
        return min(size, end * self.batch_size) - done

    def _waits(self, rows: Rows) -> bool:
        """Return whether rows of the first W wait for a batch that names them.

        That follows from the network and the rows alone, since the sum of the losses is rounded in another way. If the
        workspace was not made for it, a new one is.
        """
        layout, bottom = self.engine.layout, self.engine.layout.records[0]
        row = int(bottom[p.LDW]) * layout.dtype.itemsize
        waits = (
            rows.sparse
            and self.batch_size < rows.n
            and self.batch_size <= min(p.SUM_ROWS, self._workspace.part)
            and self.max_grad_norm is None
            and not bottom[p.TRANSPOSED]
            and row >= WAITING_ROW
            and (1 + len(self.slots)) * layout.n_inputs * row >= WAITING_BYTES
            and int(rows.indptr[-1]) * self.batch_size < WAITING_ENTRIES * rows.n * layout.n_inputs
        )
        if waits != self._workspace.waits:
            self._begin_workspace(waits)
        return waits


def _product(rule: Rule, steps: int) -> float:
    """Return mu_1 mu_2 ... mu_steps, multiplied in this order as the kernel does."""
    product = 1.0
    for t in range(1, min(steps, MULTIPLIED) + 1):
        following = product * (rule.beta1 * (1.0 - 0.5 * 0.96 ** (t * rule.momentum_decay)))
        if following == product:
            return product  # mu grows and stays below 1, so all that follow round to the same: it is almost 0
        product = following
    # If the product is not almost 0 by now, then mu has reached beta1 to the last bit.
    return float(product * rule.beta1 ** max(0, steps - MULTIPLIED))


def place_rule(plan: Array, hyper: Array, rule: Rule, dtype: np.dtype[Any]) -> None:
    """Write what the kernels must know of a rule into a plan, and into the same memory as float64."""
    plan[p.RULE] = optimizers.CODES[rule.kernel]
    plan[p.RULE_SWITCHES] = [getattr(rule, name) for name in optimizers.SWITCHES]
    hyper[p.RULE_NUMBERS] = [getattr(rule, name) for name in optimizers.HYPER]
    # Never quite 0: padding, which never had a gradient, must not become 0 / 0.
    hyper[p.NETWORK.fields["eps"]] = max(rule.eps, LEAST_EPS[dtype])


def _check_rule(rule: Rule) -> None:
    if rule.kind not in RULE_NAMES:
        raise ValueError(f"unknown update rule {rule.kind!r}; known are {', '.join(RULE_NAMES)}")
