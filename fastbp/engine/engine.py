"""A network's parameters in one flat buffer, and what is computed from them without training.

With session.py, this is the one door from the package to the kernels that train.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbp.arrays import BLAS_ALONE, to_real
from fastbp.engine import teams
from fastbp.engine.gradients import Gradients, new_gradients, reuse
from fastbp.engine.judging import judged, mean_of
from fastbp.engine.layout import STACK_BYTES, layout_of
from fastbp.engine.memory import Array, aligned_zeros
from fastbp.engine.prepared import Gradient, gradient_of, like
from fastbp.engine.rows import Rows
from fastbp.engine.workspace import Workspace
from fastbp.kernels import compiled
from fastbp.kernels import plan as p
from fastbp.layers import Layer
from fastbp.objectives import GIVEN, LossLike, Objective
from fastbp.own import Loss
from fastbp.validation import check_threads, shown

PREDICT_ROWS = 256  # rows of one pass of predict, loss and gradient
PIECES = 4  # for each thread of a prediction: who has a slower core does fewer of them
SPARE = 16  # workspaces that are kept for the next predictions at most


class Engine:
    """The parameters of a network in one flat, aligned, padded buffer, and what can be computed from them.

    Parameters
    ----------
    n_inputs : int
        Number of input features, at least 1.
    layers : sequence of Layer
        At least one.
    dtype : {"float32", "float64"} or numpy dtype
    input_dropout : float
        Dropout rate of the inputs while training, in [0, 1).

    Attributes
    ----------
    layout : Layout
        Where what stands, and the sizes that follow from the architecture.
    theta : ndarray, flat
        All parameters, padded; live. Copy it to keep a state, assign into it to return to one.
    training_lock : fastbp.engine.teams.TrainingLock
        Held by who trains the parameters; predictions do not ask for it.
    weights, biases : lists of ndarray
        Live views (fan_in, fan_out) and (fan_out,) into theta; None for a layer without bias.
    prepared : (Objective, int, str or Objective, callable) or None
        gradient(x, y, out) of that objective, so many rows, and what the user has named the loss by: see `prepare`.
    """

    __module__ = "fastbp.engine"

    def __init__(
        self, n_inputs: int, layers: Sequence[Layer], dtype: Any, *, input_dropout: float = 0.0
    ) -> None:
        self.layout = layout = layout_of(n_inputs, layers, dtype, input_dropout)
        self.dtype = layout.dtype
        self.params = aligned_zeros(layout.full_size, layout.dtype)
        self.theta = self.params[: layout.size]
        self.weights, self.biases = layout.views(self.theta)
        self._nothing = self.params[:0]
        self.prepared: tuple[Objective, int, LossLike, Gradient] | None = None
        self._wanted: tuple[Objective, int] | None = None
        self._penalized = any(layer.l1 != 0.0 or layer.l2 != 0.0 for layer in layout.layers)
        self._predictors: collections.deque[Workspace] = collections.deque(maxlen=SPARE)
        self._evaluators: dict[tuple[Objective, bool, int], Workspace] = {}
        self._row_plan: Array | None = None
        self.training_lock = teams.training_lock()
        self._one_row = (1, layout.n_inputs) if layout.on_stack else None

    @property
    def n_inputs(self) -> int:
        """Columns of x."""
        return self.layout.n_inputs

    @property
    def input_dropout(self) -> float:
        """Dropout rate of the inputs while training."""
        return self.layout.input_dropout

    @property
    def n_outputs(self) -> int:
        """Units of the last layer."""
        return self.layout.n_outputs

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers as they were given."""
        return self.layout.layers

    @property
    def n_parameters(self) -> int:
        """Weights and biases, padding not counted."""
        return self.layout.n_parameters

    @property
    def flops_per_row(self) -> float:
        """Floating-point operations per row of forward, backward and weight gradient, without the inputs' delta."""
        return self.layout.flops_per_row

    def views(self, flat: Array) -> tuple[list[Array], list[Array | None]]:
        """Return weights (fan_in, fan_out) and biases (fan_out,) as views into an array laid out as `theta`."""
        return self.layout.views(flat)

    def set_parameters(self, weights: Sequence[Any], biases: Sequence[Any]) -> None:
        """Copy weights and biases in; nothing is changed if any shape is wrong.

        Raises
        ------
        TypeError, ValueError
            If they are no real numbers, if the number of layers or a shape differs, or if a layer without bias is
            given one.
        """
        if len(weights) != len(self.layers) or len(biases) != len(self.layers):
            raise ValueError(
                f"expected {len(self.layers)} weights and biases, one per layer, got {len(weights)} and {len(biases)}"
            )
        pairs = []
        for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
            w = _real(w, f"weights of layer {number}")
            if w.shape != self.weights[number].shape:
                raise ValueError(
                    f"weights of layer {number} must have shape {self.weights[number].shape}, got {w.shape}"
                )
            own = self.biases[number]
            if (b is None) != (own is None):
                raise ValueError(f"layer {number} has {'no ' if own is None else 'a '}bias, got {shown(b)}")
            if own is not None:
                b = _real(b, f"biases of layer {number}")
                if b.shape != own.shape:
                    raise ValueError(f"biases of layer {number} must have shape {own.shape}, got {b.shape}")
            pairs.append((w, b))
        for number, (w, b) in enumerate(pairs):
            self.weights[number][...] = w
            own = self.biases[number]
            if own is not None:
                own[...] = b

    def copy(self) -> Engine:
        """Return an independent engine with the same parameters."""
        layout = self.layout
        twin = Engine(layout.n_inputs, layout.layers, layout.dtype, input_dropout=layout.input_dropout)
        twin.theta[...] = self.theta
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {
            "n_inputs": self.n_inputs,
            "layers": self.layers,
            "dtype": self.dtype.name,
            "input_dropout": self.layout.input_dropout,
            "weights": [np.ascontiguousarray(w) for w in self.weights],
            "biases": [None if b is None else b.copy() for b in self.biases],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Engine.__init__(
            self, state["n_inputs"], state["layers"], state["dtype"], input_dropout=state["input_dropout"]
        )
        self.set_parameters(state["weights"], state["biases"])

    # --- what is computed -------------------------------------------------------------------------------------

    def predict(
        self, x: Any, *, n_threads: int | None = 1, out: Array | None = None, layer: int | None = None
    ) -> Array:
        """Return the outputs (n, n_outputs), or those of layer number `layer`; memory does not grow with n.

        Parameters
        ----------
        x : ndarray (n, n_inputs), C-contiguous, or CSR matrix, of the engine's dtype; or Rows
        n_threads : int or None
            None or -1 for all cores; the result is the same.
        out : ndarray (n, units) of the engine's dtype, C-contiguous, optional
        layer : int, optional
            0 for the first; the default is the last.
        """
        if type(n_threads) is not int or n_threads < 1:
            n_threads = check_threads(n_threads)
        if type(x) is np.ndarray and x.shape == self._one_row and layer is None:
            flags = x.flags
            if x.dtype == self.dtype and flags.c_contiguous and flags.aligned and flags.writeable:
                # One row: the call into compiled code takes most of the time, so nothing is prepared for it.
                if self._row_plan is None:
                    self._row_plan = self.compiled().plan
                out = self._room_for(1, self.layout.n_outputs, out)
                compiled.predict_row(self._row_plan, self.params, x, out)
                return out
        return self._predict(x, n_threads, out, layer)

    def _room_for(self, n: int, width: int, out: Array | None) -> Array:
        """Return an array for outputs: `out` if that is given and fits."""
        if out is None:
            return np.empty((n, width), self.dtype)
        if out.shape != (n, width) or out.dtype != self.dtype or not out.flags.carray:
            raise ValueError(
                f"out must be a C-contiguous {self.dtype} array of shape {(n, width)}, to be written to, "
                f"got {out.dtype} {out.shape}"
            )
        return out

    def _predict(self, x: Any, n_threads: int | None, out: Array | None, layer: int | None) -> Array:
        """Do what `predict` does for any number of rows."""
        layout = self.layout
        if type(x) is Rows:
            rows = x
            rows.check(layout, labeled=False)
        else:
            rows = Rows(layout, x)
        n = rows.n
        layers = len(layout.layers) if layer is None else layer + 1
        out = self._room_for(n, layout.layers[layers - 1].units, out)
        # As many threads as pay; passes are whole, so that a row is computed alike for any number of them.
        passes = -(-n // PREDICT_ROWS)
        useful = min(int(n * layout.flops_per_row / 3 / (10 * teams.TEAM_FLOPS)), passes)
        team = min(useful, teams.size_for(math.inf, n_threads)) if useful > 1 else 1
        if team > 1:
            self._predict_together(rows, out.reshape(-1), layers, passes, team)
        else:
            workspace = self._predictor(min(PREDICT_ROWS, max(1, n)))
            workspace.call(p.PREDICT, self.params, rows, out=out.reshape(-1), begin=0, end=n, layers=layers)
            self._predictors.append(workspace)
        return out

    def _predictor(self, height: int) -> Workspace:
        """Return a workspace for passes of `height` rows that nobody else has; who is done appends it to the others."""
        try:
            workspace = self._predictors.pop()
        except IndexError:
            return Workspace(self.layout, height)
        return workspace if workspace.batch >= height else Workspace(self.layout, height)

    def _predict_together(self, rows: Rows, out: Array, layers: int, passes: int, team: int) -> None:
        """Fill `out` by a team: the passes in pieces, claimed by whoever comes next."""
        pieces = min(passes, PIECES * team)
        ends = [min(rows.n, passes * piece // pieces * PREDICT_ROWS) for piece in range(pieces + 1)]
        left = collections.deque(zip(ends, ends[1:], strict=False))
        at_work: list[Workspace] = []

        def work() -> int:
            """Do pieces until none is left. Each refreshes the copies T of transposed layers, with the same numbers."""
            workspace = self._predictor(PREDICT_ROWS)
            at_work.append(workspace)
            while left:
                try:
                    begin, end = left.popleft()
                except IndexError:
                    break  # another thread was faster
                workspace.call(p.PREDICT, self.params, rows, out=out, begin=begin, end=end, layers=layers)
            self._predictors.append(workspace)
            return 0

        def stop() -> None:
            left.clear()
            for workspace in at_work:
                workspace.stop()

        teams.together(work, team, stop)

    def compiled(self, objective: Objective | None = None) -> compiled.State:
        """Return the network as plain arrays for `fastbp.kernels` functions inside compiled code.

        Parameters
        ----------
        objective : Objective, optional
            The loss of `train_one` and `value_and_grad_one`; the default is mse.

        Returns
        -------
        State
            Its `params` is the engine's own memory: training either is seen by the other.

        Raises
        ------
        ValueError
            If the network is so wide that a row's workspace does not belong on a stack.
        TypeError
            For a loss of the user's own, which compiled code does not know.
        """
        if isinstance(objective, Loss):
            raise TypeError(
                f"loss={objective!r} is not for compiled code: there, compute dE/d out yourself, and pass it to "
                "pullback_one or train_one_from"
            )
        if not self.layout.on_stack:
            raise ValueError(
                f"the network is too wide for compiled code, whose workspace is on the stack ({STACK_BYTES // 1024} kB)"
            )
        return compiled.State(Workspace(self.layout, 1, objective or Objective()).plan, self.params)

    def hidden(self, x: Any) -> list[Array]:
        """Return the outputs of every layer, the last included, each (n, units)."""
        return [self.predict(x, layer=layer) for layer in range(len(self.layers))]

    def loss(
        self,
        x: Any,
        y: Array,
        objective: Objective,
        *,
        sample_weight: Array | None = None,
        penalty: bool = True,
        n_threads: int | None = 1,
    ) -> float:
        """Return the weighted mean loss of the rows, with the layers' penalties unless `penalty` is False."""
        rows = Rows(self.layout, x, y, sample_weight, objective)
        return self.loss_of(rows, objective, penalty=penalty, n_threads=n_threads)

    def loss_of(
        self, rows: Rows, objective: Objective, *, penalty: bool = True, n_threads: int | None = 1
    ) -> float:
        """Return what `loss` returns, for rows that are checked already."""
        rows.check(self.layout)
        if isinstance(objective, Loss):
            value = mean_of(objective, rows, self.predict(rows, n_threads=n_threads))
        else:
            team = self._team(rows.n, n_threads)
            workspace = self._borrow(rows.n, objective, False, team)
            value = workspace.total(p.VALUE, self.params, rows, team)
            self._give_back(workspace, objective, False)
        return value + (self.penalty() if penalty else 0.0)

    def loss_of_outputs(self, outputs: Array, y: Array, objective: Objective) -> float:
        """Return the mean loss of given outputs (n, n_outputs); `y` as in `loss`."""
        # A network whose outputs are its inputs has this loss.
        through = Engine(self.n_outputs, [Layer(self.n_outputs, use_bias=False)], self.dtype)
        through.weights[0][...] = np.eye(self.n_outputs, dtype=self.dtype)
        return through.loss(outputs, y, objective)

    def _borrow(self, n: int, objective: Objective, inputs: bool, team: int) -> Workspace:
        """Return a workspace for losses and gradients: the kept one of its kind, or a new one if it is in use."""
        rows = min(PREDICT_ROWS, max(1, n))
        kept = self._evaluators.pop((objective, inputs, rows), None)
        if kept is None or kept.threads < team:
            return Workspace(self.layout, rows, objective, inputs=inputs, threads=team)
        return kept

    def _give_back(self, workspace: Workspace, objective: Objective, inputs: bool) -> None:
        if len(self._evaluators) < 4:
            self._evaluators[objective, inputs, workspace.batch] = workspace

    def _team(self, n: int, n_threads: int | None) -> int:
        team = teams.size_for(min(PREDICT_ROWS, n) * self.flops_per_row, n_threads)
        return teams.for_call(team, n * self.flops_per_row)

    def penalty(self) -> float:
        """Return sum over layers of l1 sum |W| + l2 sum W^2."""
        value = 0.0
        if not self._penalized:
            return value
        for layer, w in zip(self.layers, self.weights, strict=True):
            if layer.l1 != 0.0:
                value += layer.l1 * float(np.abs(w).sum(dtype=np.float64))
            if layer.l2 != 0.0:
                value += layer.l2 * float(np.square(w, dtype=np.float64).sum())
        return value

    def value_and_grad(
        self,
        x: Any,
        y: Array,
        objective: Objective,
        *,
        sample_weight: Array | None = None,
        inputs: bool = False,
        penalty: bool = True,
        n_threads: int | None = 1,
        out: Gradients | None = None,
    ) -> tuple[float, Gradients]:
        """Return the weighted mean loss and its gradient with respect to every parameter, and the inputs if asked for.

        Parameters
        ----------
        inputs : bool
            Also compute dC/dx, (n, n_inputs); not for sparse x.
        penalty : bool
            Include the layers' penalties in value and gradient.
        out : Gradients, optional
            From an earlier call with the same network, and rows if it has `inputs`: overwritten and returned.
        """
        rows = Rows(self.layout, x, y, sample_weight, objective)
        return self.value_and_grad_of(
            rows, objective, inputs=inputs, penalty=penalty, n_threads=n_threads, out=out
        )

    def value_and_grad_of(
        self,
        rows: Rows,
        objective: Objective,
        *,
        inputs: bool = False,
        penalty: bool = True,
        n_threads: int | None = 1,
        out: Gradients | None = None,
    ) -> tuple[float, Gradients]:
        """Return what `value_and_grad` returns, for rows that are checked already."""
        rows.check(self.layout)
        if inputs and rows.sparse:
            raise ValueError("inputs=True needs a dense x: the gradient of a sparse matrix would be dense")
        felt_by = rows.n if inputs else None
        value = 0.0
        if isinstance(objective, Loss):
            value, rows = judged(objective, rows, self.predict(rows, n_threads=n_threads))
            objective = GIVEN
        grads = (
            new_gradients(self.layout, felt_by)
            if out is None
            else reuse(out, self.layout, (rows.values, rows.y, rows.weights), felt_by)
        )
        team = self._team(rows.n, n_threads)
        workspace = self._borrow(rows.n, objective, inputs, team)
        workspace.grad = grads.theta
        workspace.out = self._nothing if grads.inputs is None else grads.inputs.reshape(-1)
        value += workspace.total(p.GRADIENT, self.params, rows, team)
        self._give_back(workspace, objective, inputs)
        if penalty:
            value += self.penalty()
            for layer, w, g in zip(self.layers, self.weights, grads.weights, strict=True):
                if layer.l1 != 0.0:
                    g += layer.l1 * np.sign(w)
                if layer.l2 != 0.0:
                    g += 2.0 * layer.l2 * w
        return value, grads

    def prepare(self, x: Any, y: Any, rows: Rows, objective: Objective, loss: LossLike) -> None:
        """Make `prepared`, if the gradient of so many rows like `rows`, made from x and y, was wanted twice in a row.

        There is none for weighted or penalized rows, for targets that have to be checked for more than being finite,
        for more inputs than a BLAS sums up on this thread, and for work that pays a team: see `fastbp.engine.prepared`.
        """
        n, wanted, before = rows.n, (objective, rows.n), self._wanted
        is_like = like(self.layout, n)
        if (
            not is_like(x, y)
            or rows.weights.size
            or self._penalized
            or objective.bounded
            or isinstance(objective, Loss)
            or n > PREDICT_ROWS
            or self.n_inputs > BLAS_ALONE
            or self._team(n, None) > 1
        ):
            return
        self._wanted = wanted
        # A caller who finds it in use comes here too.
        if wanted == before and (self.prepared is None or self.prepared[:2] != wanted):
            workspace = Workspace(self.layout, n, objective)
            self.prepared = *wanted, loss, gradient_of(workspace, self.params, is_like, n)


def _real(values: Any, name: str) -> Array:
    """Return an array of real numbers; an array of them as it is, at once, since every prediction asks."""
    return values if type(values) is np.ndarray and values.dtype.kind in "biuf" else to_real(values, name)
