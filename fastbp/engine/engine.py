"""A network's parameters in one flat buffer, their layout, and what is computed from them without training.

With session.py, this is the one door from the package to the kernels that train.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp.engine import teams
from fastbp.engine.memory import Array, aligned_zeros, stride
from fastbp.engine.workspace import Data, Workspace
from fastbp.kernels import activations, compiled, network
from fastbp.kernels import plan as p
from fastbp.layers import ACTIVATION_NAMES, Layer
from fastbp.objectives import Objective

BLOCK_BYTES = 16384  # weights of one block: its gradient, state and parameters stay in the nearest caches
WIDE_BYTES = 16384  # rows of weights from here on make blocks of twice the height: each reads all deltas anew
STACK_BYTES = 1 << 18
PREDICT_ROWS = 256  # rows of one pass of predict, loss and gradient
TRANSPOSE_RATIO = 2  # W' is stored where that shrinks a layer's padded size by this factor


@dataclass(frozen=True)
class Gradients:
    """Gradients of a mean loss: `weights`, `biases` as the model's, `theta` flat and padded, `inputs` (n, n_inputs)."""

    weights: list[Array]
    biases: list[Array | None]
    theta: Array
    inputs: Array | None = None


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
    theta : ndarray, flat
        All parameters, padded; live. Copy it to keep a state, assign into it to return to one.
    weights, biases : lists of ndarray
        Live views (fan_in, fan_out) and (fan_out,) into theta; None for a layer without bias.
    n_parameters : int
        Weights and biases, padding not counted.
    flops_per_row : float
        Floating-point operations per row of forward, backward and weight gradient, without the inputs' delta.
    """

    def __init__(
        self, n_inputs: int, layers: Sequence[Layer], dtype: Any, *, input_dropout: float = 0.0
    ) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise TypeError(f"dtype must be float32 or float64, got {self.dtype}")
        if n_inputs < 1:
            raise ValueError(f"n_inputs must be at least 1, got {n_inputs}")
        if not layers:
            raise ValueError("layers must hold at least one layer")
        self.n_inputs = int(n_inputs)
        self.layers = list(layers)
        self.input_dropout = float(input_dropout)
        _check_rate("input_dropout", self.input_dropout)
        for number, layer in enumerate(self.layers):
            if layer.units < 1:
                raise ValueError(f"layer {number} must have at least 1 unit, got {layer.units}")
            if layer.activation not in activations.CODES:
                raise ValueError(
                    f"layer {number}: unknown activation {layer.activation!r}; known are {', '.join(ACTIVATION_NAMES)}"
                )
            _check_rate(f"dropout of layer {number}", layer.dropout)
        self._allocate()

    def _allocate(self) -> None:
        size = self.dtype.itemsize
        self._record = np.zeros((len(self.layers), p.RECORD), np.int64)
        offset = block = 0
        fan_in = self.n_inputs
        for record, layer in zip(self._record, self.layers, strict=True):
            fan_out = layer.units
            plain = fan_in * stride(fan_out, size)
            turned = fan_out * stride(fan_in, size)
            transposed = plain > TRANSPOSE_RATIO * turned
            rows, columns = (fan_out, fan_in) if transposed else (fan_in, fan_out)
            record[p.FAN_IN], record[p.FAN_OUT], record[p.TRANSPOSED] = fan_in, fan_out, transposed
            record[p.W], record[p.LDW] = offset, stride(columns, size)
            offset += rows * int(record[p.LDW])
            record[p.B] = offset if layer.use_bias else -1
            offset += stride(fan_out, size) if layer.use_bias else 0
            record[p.ACTIVATION] = activations.CODES[layer.activation]
            # Multiples of 48 rows suit tiles of 6 and of 8 rows and squares of 4, 8 and 16.
            row_bytes = int(record[p.LDW]) * size
            height = 48 * max(2 if row_bytes >= WIDE_BYTES else 1, BLOCK_BYTES // (48 * row_bytes))
            record[p.BLOCK_ROWS], record[p.FIRST_BLOCK] = height, block
            record[p.BLOCKS] = -(-rows // height)
            block += int(record[p.BLOCKS])
            fan_in = fan_out
        self._n_padded = offset
        self._n_blocks = block
        for number, record in enumerate(self._record):
            rows = int(record[p.FAN_OUT] if record[p.TRANSPOSED] else record[p.FAN_IN])
            if number > 0 and rows == 1 and record[p.TRANSPOSED]:
                # One output of padded rows: sums of products with the one row of W', which nobody needs turned.
                record[p.T] = -1
                continue
            record[p.T], record[p.LDT] = offset, stride(rows, size)
            offset += int(record[p.LDW]) * int(record[p.LDT])
        # Of W or of its copy T, in bytes.
        self._largest_matrix = max(int(r[p.LDW]) * int(r[p.LDT]) for r in self._record) * size
        # Plain numbers: reading them out of the records takes longer than a small network's gradient.
        self._places = [
            tuple(int(v) for v in record[[p.W, p.LDW, p.B, p.FAN_IN, p.FAN_OUT, p.TRANSPOSED]])
            for record in self._record
        ]
        first, *rest = [i * o for _, _, _, i, o, _ in self._places]
        self.flops_per_row = 4.0 * first + 6.0 * sum(rest)
        self.params = aligned_zeros(offset, self.dtype)
        self.theta = self.params[: self._n_padded]
        self.weights, self.biases = self.views(self.theta)
        self.n_parameters = sum(w.size for w in self.weights) + sum(
            b.size for b in self.biases if b is not None
        )
        self._predictor: dict[int, Workspace] = {}
        self._evaluators: dict[tuple[Objective, bool, int], Workspace] = {}
        self._row_plan: Array | None = None
        # A single row's workspace is on the stack, of which a thread may have as little as half a megabyte.
        units = 2 * self.n_inputs + 4 * sum(layer.units for layer in self.layers)
        self._on_stack = units * self.dtype.itemsize < STACK_BYTES

    @property
    def n_outputs(self) -> int:
        """Units of the last layer."""
        return self.layers[-1].units

    def views(self, flat: Array) -> tuple[list[Array], list[Array | None]]:
        """Return weights (fan_in, fan_out) and biases (fan_out,) as views into an array laid out as `theta`."""
        weights: list[Array] = []
        biases: list[Array | None] = []
        for start, ld, b, i, o, turned in self._places:
            rows, columns = (o, i) if turned else (i, o)
            stored = flat[start : start + rows * ld].reshape(rows, ld)[:, :columns]
            weights.append(stored.T if turned else stored)
            biases.append(flat[b : b + o] if b >= 0 else None)
        return weights, biases

    def set_parameters(self, weights: Sequence[Any], biases: Sequence[Any]) -> None:
        """Copy weights and biases in; nothing is changed if any shape is wrong.

        Raises
        ------
        ValueError
            If the number of layers or a shape differs, or a bias is given where there is none.
        """
        if len(weights) != len(self.layers) or len(biases) != len(self.layers):
            raise ValueError(
                f"expected {len(self.layers)} weights and biases, one per layer, got {len(weights)} and {len(biases)}"
            )
        pairs = []
        for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
            w = np.asarray(w)
            if w.shape != self.weights[number].shape:
                raise ValueError(
                    f"weights of layer {number} must have shape {self.weights[number].shape}, got {w.shape}"
                )
            own = self.biases[number]
            if (b is None) != (own is None):
                raise ValueError(f"layer {number} has {'no ' if own is None else 'a '}bias, got {b!r}")
            if own is not None:
                b = np.asarray(b)
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
        twin = Engine(self.n_inputs, self.layers, self.dtype, input_dropout=self.input_dropout)
        twin.theta[...] = self.theta
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {
            "n_inputs": self.n_inputs,
            "layers": self.layers,
            "dtype": self.dtype.name,
            "input_dropout": self.input_dropout,
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
        x : ndarray (n, n_inputs), C-contiguous, or CSR matrix; of the engine's dtype
        n_threads : int or None
            None for all cores; the result is the same.
        out : ndarray (n, units) of the engine's dtype, C-contiguous, optional
        layer : int, optional
            0 for the first; the default is the last.
        """
        if (
            self._on_stack
            and layer is None
            and out is None
            and type(x) is np.ndarray
            and x.shape == (1, self.n_inputs)
        ):
            flags = x.flags
            if x.dtype == self.dtype and flags.c_contiguous and flags.aligned and flags.writeable:
                # One row: a call into compiled code is most of its time, so nothing is prepared for it.
                if self._row_plan is None:
                    self._row_plan = self.compiled().plan
                row = np.empty((1, self.layers[-1].units), self.dtype)
                compiled.predict_row(self._row_plan, self.params, x, row)
                return row
        data = Data(self, x)
        layers = len(self.layers) if layer is None else layer + 1
        width = self.layers[layers - 1].units
        if out is None:
            out = np.empty((data.n, width), self.dtype)
        elif out.shape != (data.n, width) or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(
                f"out must be a C-contiguous {self.dtype} array of shape {(data.n, width)}, got {out.shape}"
            )
        useful = min(
            int(data.n * self.flops_per_row / 3 / (10 * teams.TEAM_FLOPS)), -(-data.n // PREDICT_ROWS)
        )
        team = 1
        if useful > 1 and n_threads != 1:
            team = min(useful, teams.default_threads() if n_threads is None else n_threads)
        flat = out.reshape(-1)

        def part(member: int) -> None:
            workspace = self._predictor.pop(member, None) or Workspace(
                self, min(PREDICT_ROWS, max(1, data.n))
            )
            if workspace.batch < min(PREDICT_ROWS, data.n):
                workspace = Workspace(self, PREDICT_ROWS)
            # Whole passes to each thread, so that a row is computed alike for any number of them.
            passes = -(-data.n // PREDICT_ROWS)
            start = passes * member // team * PREDICT_ROWS
            stop = min(data.n, passes * (member + 1) // team * PREDICT_ROWS)
            workspace.call(network.PREDICT, data, out=flat, begin=start, end=stop, layers=layers)
            self._predictor[member] = workspace

        if team == 1:
            part(0)
        else:
            # T copies of transposed layers are refreshed by every thread with the same numbers.
            helpers = [threading.Thread(target=part, args=(member,)) for member in range(1, team)]
            for helper in helpers:
                helper.start()
            part(0)
            for helper in helpers:
                helper.join()
        return out

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
        """
        if not self._on_stack:
            raise ValueError(
                f"the network is too wide for compiled code, whose workspace is on the stack ({STACK_BYTES // 1024} kB)"
            )
        workspace = Workspace(self, 1, objective or Objective())
        workspace.plan[p.CLASS_INDEX] = workspace.objective.name == "cross_entropy"
        return compiled.State(workspace.plan, workspace.hyper, self.params)

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
        data = Data(self, x)
        team = self._team(data.n, n_threads)
        workspace = self._borrow(data.n, objective, False, team)
        workspace.targets(data, y, sample_weight)
        value = workspace.total(network.VALUE, data, team)
        self._give_back(workspace, objective, False)
        return value + (self.penalty() if penalty else 0.0)

    def _borrow(self, n: int, objective: Objective, inputs: bool, team: int) -> Workspace:
        """Return a workspace for losses and gradients; one of each kind is kept, and a second thread makes its own."""
        rows = min(PREDICT_ROWS, max(1, n))
        kept = self._evaluators.pop((objective, inputs, rows), None)
        if kept is None or kept.threads < team:
            return Workspace(self, rows, objective, inputs=inputs, threads=team)
        return kept

    def _give_back(self, workspace: Workspace, objective: Objective, inputs: bool) -> None:
        if len(self._evaluators) < 4:
            self._evaluators[objective, inputs, workspace.batch] = workspace

    def _team(self, n: int, n_threads: int | None) -> int:
        team = teams.size_for(min(PREDICT_ROWS, n) * self.flops_per_row, n_threads)
        return teams.for_call(team, n * self.flops_per_row)

    def loss_of_outputs(self, outputs: Array, y: Array, objective: Objective) -> float:
        """Return the mean loss of outputs (n, n_outputs) that are there already; `y` as in `loss`."""
        # The loss of the network that hands its inputs on.
        through = Engine(self.n_outputs, [Layer(self.n_outputs, use_bias=False)], self.dtype)
        through.weights[0][...] = np.eye(self.n_outputs, dtype=self.dtype)
        return through.loss(outputs, y, objective)

    def penalty(self) -> float:
        """Return sum over layers of l1 sum |W| + l2 sum W^2."""
        value = 0.0
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
    ) -> tuple[float, Gradients]:
        """Return the weighted mean loss and its gradient with respect to every parameter, and the inputs if asked for.

        Parameters
        ----------
        inputs : bool
            Also compute dC/dx, (n, n_inputs); not for sparse x.
        penalty : bool
            Include the layers' penalties in value and gradient.
        """
        data = Data(self, x)
        if inputs and data.sparse:
            raise ValueError("inputs=True needs a dense x: the gradient of a sparse matrix would be dense")
        grad = aligned_zeros(self._n_padded, self.dtype)
        felt = np.empty((data.n, self.n_inputs), self.dtype) if inputs else None
        team = self._team(data.n, n_threads)
        workspace = self._borrow(data.n, objective, inputs, team)
        workspace.targets(data, y, sample_weight)
        workspace.grad = grad
        if felt is not None:
            workspace.out = felt.reshape(-1)
        value = workspace.total(network.GRADIENT, data, team)
        self._give_back(workspace, objective, inputs)
        weights, biases = self.views(grad)
        if penalty:
            value += self.penalty()
            for layer, w, g in zip(self.layers, self.weights, weights, strict=True):
                if layer.l1 != 0.0:
                    g += layer.l1 * np.sign(w)
                if layer.l2 != 0.0:
                    g += 2.0 * layer.l2 * w
        return value, Gradients(weights, biases, grad, felt)


def _check_rate(name: str, rate: float) -> None:
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"{name} must be in [0, 1), got {rate}")
