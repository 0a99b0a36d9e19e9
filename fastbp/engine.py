"""Python's side of the kernels: the layout of the parameters, plans, workspaces, threads, and every check.

Kernels trust their callers, so this is the one door: what passes here has the shapes, dtypes and ranges that they
assume. An `Engine` is a network's parameters and their layout; a `Session` is a training run on it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp.kernels import activations, compiled, losses, network, optimizers, sync
from fastbp.kernels import plan as p
from fastbp.kernels.tile import TILE_ROWS

ACTIVATION_NAMES = tuple(sorted(activations.CODES))
OBJECTIVE_NAMES = tuple(sorted(losses.CODES))
RULE_NAMES = tuple(sorted(set(optimizers.CODES) - {"momentum"}))

LINE = 64  # bytes that rows are padded and buffers aligned to
BLOCK_BYTES = (
    16384  # weights of one block: gradient, state and parameters of a block stay in the nearest caches
)
CHUNK_SECONDS = 0.05  # one kernel call: signals, callbacks and progress live between two
PREDICT_ROWS = 256  # rows of one pass of predict, loss and gradient
PART_ROWS, PART_BYTES = (
    512,
    1 << 19,
)  # a larger batch goes through in parts of so many rows, or of so many bytes
# Below this much work per batch a second thread costs more than it brings (bench/benchmarks/threads.py).
TEAM_FLOPS = 4e6
TRANSPOSE_RATIO = 2  # W' is stored where that shrinks a layer's padded size by this factor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """One dense layer: a = f(x W + b), with the penalty l1 sum |W| + l2 sum W^2 and dropout of the output."""

    units: int
    activation: str = "identity"
    use_bias: bool = True
    l1: float = 0.0
    l2: float = 0.0
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss by name, its parameter, and how values of outputs and rows are put together (see `losses`)."""

    name: str = "mse"
    parameter: float | None = None
    mean_outputs: bool = False
    full: bool = False
    clip: float = 0.0
    summed: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """An update rule by name, with the hyper-parameters of all; formulas are PyTorch's unless a flag says so."""

    kind: str = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    velocity: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    eps_inside: bool = True
    momentum_decay: float = 0.004
    alpha: float = 0.99
    eta_minus: float = 0.5
    eta_plus: float = 1.2
    step_min: float = 1e-6
    step_max: float = 50.0
    initial_accumulator: float = 0.0

    @property
    def kernel(self) -> str:
        """The kernel's name of the rule: plain SGD keeps no state, with momentum it does."""
        return "momentum" if self.kind == "sgd" and self.momentum != 0.0 else self.kind


@dataclass(frozen=True)
class Gradients:
    """Gradients of a mean loss: `weights`, `biases` as the model's, `theta` flat and padded, `inputs` (n, n_inputs)."""

    weights: list[Array]
    biases: list[Array | None]
    theta: Array
    inputs: Array | None = None


def default_threads() -> int:
    """Return how many cores this process may use: affinity, container limits, and what joblib's workers are given."""
    import joblib

    allowed = int(joblib.cpu_count())
    for name in ("FASTBP_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return min(allowed, int(value))
    return allowed


def _padded(count: int, itemsize: int) -> int:
    return -(-count * itemsize // LINE) * LINE // itemsize


def _stride(count: int, itemsize: int) -> int:
    """Return the distance of rows in elements: padded, and no multiple of 2048 bytes, which would share cache sets."""
    padded = _padded(count, itemsize)
    return padded + LINE // itemsize if padded * itemsize % 2048 == 0 else padded


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Return a zero array whose first element starts a cache line: a vector that straddles two costs half the speed."""
    raw = np.zeros(size * dtype.itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)


class _Writable:
    """A read-only array presented as a writable one, uncopied: kernels only read it, one type is one compilation."""

    def __init__(self, array: Array) -> None:
        self._owner = array
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.__array_interface__["data"][0], False),
        }


def _flat(array: Array) -> Array:
    """Return a C-contiguous array as a plain, flat, writable view."""
    if type(array) is not np.ndarray or not array.flags.writeable:
        array = np.asarray(_Writable(array))
    return array.reshape(-1)


_EMPTY_INDEX = np.zeros(0, np.int32)
_EMPTY_ORDER = np.zeros(0, np.int64)
_NO_RATES = np.zeros(1)
_NO_WEIGHTS = np.zeros(0)
_active = 0
_active_lock = threading.Lock()


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
            plain = fan_in * _stride(fan_out, size)
            turned = fan_out * _stride(fan_in, size)
            transposed = plain > TRANSPOSE_RATIO * turned
            rows, columns = (fan_out, fan_in) if transposed else (fan_in, fan_out)
            record[p.FAN_IN], record[p.FAN_OUT], record[p.TRANSPOSED] = fan_in, fan_out, transposed
            record[p.W], record[p.LDW] = offset, _stride(columns, size)
            offset += rows * int(record[p.LDW])
            record[p.B] = offset if layer.use_bias else -1
            offset += _stride(fan_out, size) if layer.use_bias else 0
            record[p.ACTIVATION] = activations.CODES[layer.activation]
            # Multiples of 48 rows suit tiles of 6 and of 8 rows and squares of 4, 8 and 16.
            height = 48 * max(1, BLOCK_BYTES // (48 * int(record[p.LDW]) * size))
            record[p.BLOCK_ROWS], record[p.FIRST_BLOCK] = height, block
            record[p.BLOCKS] = -(-rows // height)
            block += int(record[p.BLOCKS])
            fan_in = fan_out
        self._n_padded = offset
        self._n_blocks = block
        for record in self._record:
            rows = int(record[p.FAN_OUT] if record[p.TRANSPOSED] else record[p.FAN_IN])
            record[p.T], record[p.LDT] = offset, _stride(rows, size)
            offset += int(record[p.LDW]) * int(record[p.LDT])
        self.params = aligned_zeros(offset, self.dtype)
        self.theta = self.params[: self._n_padded]
        self.weights, self.biases = self.views(self.theta)
        self.n_parameters = sum(w.size for w in self.weights) + sum(
            b.size for b in self.biases if b is not None
        )
        self._predictor: dict[int, _Workspace] = {}
        self._evaluators: dict[tuple[Objective, bool, int], _Workspace] = {}
        self._row_plan: Array | None = None

    @property
    def n_outputs(self) -> int:
        """Units of the last layer."""
        return self.layers[-1].units

    def views(self, flat: Array) -> tuple[list[Array], list[Array | None]]:
        """Return weights (fan_in, fan_out) and biases (fan_out,) as views into an array laid out as `theta`."""
        weights: list[Array] = []
        biases: list[Array | None] = []
        for record in self._record:
            i, o, turned = int(record[p.FAN_IN]), int(record[p.FAN_OUT]), bool(record[p.TRANSPOSED])
            rows, columns = (o, i) if turned else (i, o)
            start, ld = int(record[p.W]), int(record[p.LDW])
            stored = flat[start : start + rows * ld].reshape(rows, ld)[:, :columns]
            weights.append(stored.T if turned else stored)
            b = int(record[p.B])
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

    @property
    def flops_per_row(self) -> float:
        """Floating-point operations per row of forward, backward and weight gradient, without the inputs' delta."""
        first, *rest = [int(r[p.FAN_IN]) * int(r[p.FAN_OUT]) for r in self._record]
        return 4.0 * first + 6.0 * sum(rest)

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
        if layer is None and out is None and type(x) is np.ndarray and x.shape == (1, self.n_inputs):
            flags = x.flags
            if x.dtype == self.dtype and flags.c_contiguous and flags.aligned and flags.writeable:
                # One row: a call into compiled code is most of its time, so nothing is prepared for it.
                if self._row_plan is None:
                    self._row_plan = self.compiled().plan
                row = np.empty((1, self.layers[-1].units), self.dtype)
                compiled.predict_row(self._row_plan, self.params, x, row)
                return row
        data = _Data(self, x)
        layers = len(self.layers) if layer is None else layer + 1
        width = self.layers[layers - 1].units
        if out is None:
            out = np.empty((data.n, width), self.dtype)
        elif out.shape != (data.n, width) or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(
                f"out must be a C-contiguous {self.dtype} array of shape {(data.n, width)}, got {out.shape}"
            )
        useful = min(int(data.n * self.flops_per_row / 3 / (10 * TEAM_FLOPS)), -(-data.n // PREDICT_ROWS))
        team = 1
        if useful > 1 and n_threads != 1:
            team = min(useful, default_threads() if n_threads is None else n_threads)
        flat = out.reshape(-1)

        def part(member: int) -> None:
            workspace = self._predictor.pop(member, None) or _Workspace(
                self, min(PREDICT_ROWS, max(1, data.n))
            )
            if workspace.batch < min(PREDICT_ROWS, data.n):
                workspace = _Workspace(self, PREDICT_ROWS)
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
        """
        workspace = _Workspace(self, 1, objective or Objective())
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
        data = _Data(self, x)
        with self._evaluating(data, objective, inputs=False) as workspace:
            workspace.targets(data, y, sample_weight)
            value = workspace.total(network.VALUE, data)
        return value + (self.penalty() if penalty else 0.0)

    @contextlib.contextmanager
    def _evaluating(self, data: _Data, objective: Objective, *, inputs: bool) -> Iterator[_Workspace]:
        """Lend a workspace for losses and gradients; one of each kind is kept, and a second thread makes its own."""
        key = (objective, inputs, min(PREDICT_ROWS, max(1, data.n)))
        workspace = self._evaluators.pop(key, None) or _Workspace(self, key[2], objective, inputs=inputs)
        yield workspace
        if len(self._evaluators) < 4:
            self._evaluators[key] = workspace

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
        data = _Data(self, x)
        if inputs and data.sparse:
            raise ValueError("inputs=True needs a dense x: the gradient of a sparse matrix would be dense")
        grad = aligned_zeros(self._n_padded, self.dtype)
        felt = np.empty((data.n, self.n_inputs), self.dtype) if inputs else None
        with self._evaluating(data, objective, inputs=inputs) as workspace:
            workspace.targets(data, y, sample_weight)
            workspace.grad = grad
            if felt is not None:
                workspace.out = felt.reshape(-1)
            value = workspace.total(network.GRADIENT, data, _team(self, workspace.batch, n_threads))
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


def _team(engine: Engine, batch: int, n_threads: int | None) -> int:
    """Return how many threads a run uses: no more than asked for, than its work feeds, than this process has left."""
    if n_threads is not None and n_threads < 1:
        raise ValueError(f"n_threads must be at least 1 or None, got {n_threads}")
    if n_threads == 1 or batch * engine.flops_per_row < TEAM_FLOPS:
        return 1
    return default_threads() if n_threads is None else n_threads


class _Data:
    """The rows of a data set as the kernels take them: flat values, and CSR's index arrays or empty ones."""

    def __init__(self, engine: Engine, x: Any) -> None:
        self.sparse = not isinstance(x, np.ndarray)
        if self.sparse and getattr(x, "format", None) != "csr":
            raise TypeError(f"x must be a NumPy array or a SciPy CSR matrix, got {type(x).__name__}")
        if x.ndim != 2 or x.shape[1] != engine.n_inputs:
            raise ValueError(f"x must have shape (n, {engine.n_inputs}), got {x.shape}")
        if x.dtype != engine.dtype:
            raise TypeError(f"x must be {engine.dtype} as the network is, got {x.dtype}")
        self.n = int(x.shape[0])
        if self.sparse:
            if x.nnz >= 2**31:
                raise ValueError(f"x has {x.nnz} entries; a sparse matrix may have 2^31 - 1")
            if not x.has_canonical_format:
                x = x.copy()
                x.sum_duplicates()
            self.values = _flat(x.data)
            self.indices = _flat(x.indices.astype(np.int32, copy=False))
            self.indptr = _flat(x.indptr.astype(np.int32, copy=False))
            if (
                self.indices.size
                and not 0 <= int(self.indices.min()) <= int(self.indices.max()) < engine.n_inputs
            ):
                raise ValueError(f"x holds column indices outside 0..{engine.n_inputs - 1}")
            if (
                len(self.indptr) != self.n + 1
                or int(self.indptr[-1]) > self.indices.size
                or np.any(np.diff(self.indptr) < 0)
            ):
                raise ValueError("x is not a valid CSR matrix: indptr does not fit indices")
        else:
            if not x.flags.c_contiguous:
                raise ValueError("x must be C-contiguous; use numpy.ascontiguousarray")
            self.values = _flat(x)
            self.indices = self.indptr = _EMPTY_INDEX


class _Workspace:
    """Plan and buffers of an engine for batches of up to `batch` rows; allocated once, used for every call."""

    def __init__(
        self,
        engine: Engine,
        batch: int,
        objective: Objective | None = None,
        *,
        inputs: bool = False,
        gradient: bool = False,
    ) -> None:
        self.engine = engine
        self.batch = max(1, batch)
        self.objective = objective or Objective()
        size = engine.dtype.itemsize
        n = len(engine.layers)
        self.plan = np.zeros(p.HEADER + n * p.RECORD, np.int64)
        self.hyper = np.zeros(p.HYPER + n * p.LAYER_HYPER)
        self.records = self.plan[p.HEADER :].reshape(n, p.RECORD)
        self.records[...] = engine._record
        plan = self.plan
        plan[p.N_LAYERS], plan[p.N_PARAMS], plan[p.BATCH] = n, engine._n_padded, self.batch
        plan[p.N_BLOCKS], plan[p.N_OUT], plan[p.WANT_INPUTS] = engine._n_blocks, engine.n_outputs, inputs
        large = engine.params.nbytes > 2**20
        plan[p.ROW_BLOCK] = TILE_ROWS * (16 if large else 4)
        offset = _stride(max(engine.n_inputs, *(layer.units for layer in engine.layers)), size)
        # The first row stays zero: where sums without bias start.
        plan[p.ZEROS] = 0
        # Activations of a part of a large batch stay in the second cache, and memory does not grow with the batch.
        widths = engine.n_inputs + sum(2 * layer.units for layer in engine.layers)
        self.part = min(self.batch, max(PART_ROWS, PART_BYTES // (widths * size)))
        plan[p.PART] = self.part
        a_in, ld_in, d_in = offset, _stride(engine.n_inputs, size), -1
        offset += self.part * ld_in
        if inputs:
            d_in = offset
            offset += self.part * ld_in
        for record, layer in zip(self.records, engine.layers, strict=True):
            record[p.A_IN], record[p.LD_IN], record[p.D_IN] = a_in, ld_in, d_in
            ld = _stride(layer.units, size)
            record[p.LD], record[p.A] = ld, offset
            offset += self.part * ld
            record[p.Z] = -1
            if layer.activation in activations.NEEDS_Z:
                record[p.Z] = offset
                offset += self.part * ld
            record[p.D] = d_in = -1
            if objective is not None:
                record[p.D] = d_in = offset
                offset += self.part * ld
            a_in, ld_in = int(record[p.A]), ld
        if objective is None:
            self.records[:, p.D_IN] = -1
        plan[p.WORK_SIZE] = offset
        self.work = aligned_zeros(offset, engine.dtype)
        self.numbers = np.zeros(network.ROWS + 2 * self.part + 2 * engine._n_blocks)
        self.numbers[network.PRODUCT] = 1.0
        empty = np.zeros(0, engine.dtype)
        self.grad = aligned_zeros(engine._n_padded, engine.dtype) if gradient else empty
        self.state = empty
        self.out = empty
        self.y = empty
        self.sample_weight = np.zeros(0)
        self.sync = np.zeros(sync.SYNC_SIZE, np.int64)
        self.whole = 0.0
        for place, layer in zip(self.hyper[p.HYPER :].reshape(n, p.LAYER_HYPER), engine.layers, strict=True):
            place[p.DROPOUT], place[p.L1], place[p.L2] = layer.dropout, layer.l1, 2.0 * layer.l2
        self.hyper[p.INPUT_DROPOUT] = engine.input_dropout
        self._set_objective(self.objective)

    def _set_objective(self, objective: Objective) -> None:
        if objective.name not in losses.CODES:
            raise ValueError(f"unknown loss {objective.name!r}; known are {', '.join(OBJECTIVE_NAMES)}")
        outputs = self.engine.n_outputs
        name, hyper = objective.name, self.hyper
        self.plan[p.LOSS] = losses.CODES[name]
        per_element = (
            1.0 if objective.summed or name in ("half_squared_error", "cross_entropy") else 1.0 / outputs
        )
        hyper[p.VALUE_SCALE] = per_element / outputs if objective.mean_outputs else per_element
        hyper[p.SLOPE_SCALE] = per_element
        hyper[p.LOW], hyper[p.HIGH] = -np.inf, np.inf
        if objective.clip > 0.0:
            hyper[p.LOW], hyper[p.HIGH] = -np.log1p(-objective.clip), -np.log(objective.clip)
        default = {"huber": 1.0, "quantile": 0.5}.get(name, 0.0)
        hyper[p.PARAMETER] = default if objective.parameter is None else objective.parameter
        hyper[p.FULL] = float(objective.full)

    def targets(self, data: _Data, y: Any, sample_weight: Any) -> None:
        """Check targets and weights against the rows and keep them for the next calls."""
        engine = self.engine
        outputs = engine.n_outputs
        if (
            type(y) is np.ndarray
            and y.shape == (data.n, outputs)
            and y.dtype is engine.dtype
            and sample_weight is None
        ):
            flags = y.flags
            if flags.c_contiguous and flags.writeable:
                self.plan[p.CLASS_INDEX] = 0
                self.y, self.sample_weight = y.reshape(-1), _NO_WEIGHTS
                return
        y = np.asarray(y)
        if self.objective.name == "cross_entropy" and y.ndim == 1 and y.dtype.kind in "iu":
            if y.shape != (data.n,):
                raise ValueError(f"y must have one class code per row, {data.n}, got shape {y.shape}")
            if data.n and not 0 <= int(y.min()) <= int(y.max()) < outputs:
                raise ValueError(
                    f"y must hold class codes from 0 to {outputs - 1}, got {int(y.min())} to {int(y.max())}"
                )
            self.plan[p.CLASS_INDEX] = 1
            y = y.astype(engine.dtype)
        else:
            if y.shape != (data.n, outputs):
                raise ValueError(f"y must have shape {(data.n, outputs)}, got {y.shape}")
            if y.dtype != engine.dtype:
                raise TypeError(f"y must be {engine.dtype} as the network is, got {y.dtype}")
            self.plan[p.CLASS_INDEX] = 0
            y = np.ascontiguousarray(y)
        self.y = _flat(y)
        self.sample_weight = _NO_WEIGHTS
        if sample_weight is not None:
            weight = np.ascontiguousarray(sample_weight, dtype=np.float64)
            if weight.shape != (data.n,):
                raise ValueError(f"sample_weight must have shape {(data.n,)}, got {weight.shape}")
            self.sample_weight = _flat(weight)

    def total(self, mode: int, data: _Data, team: int = 1) -> float:
        """Return the weighted mean loss of all rows; in mode GRADIENT the gradient is left in `grad`."""
        self.whole = float(self.sample_weight.sum()) if self.sample_weight.size else float(data.n)
        if self.whole == 0.0:
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        self.numbers[network.LOSS_SUM] = 0.0
        self.call(mode, data, out=self.out, begin=0, end=data.n, team=team)
        return float(self.numbers[network.LOSS_SUM])

    def call(
        self,
        mode: int,
        data: _Data,
        *,
        begin: int,
        end: int,
        out: Array | None = None,
        order: Array = _EMPTY_ORDER,
        rates: Array = _NO_RATES,
        layers: int = 0,
        seed: int = 0,
        team: int = 1,
    ) -> int:
        """Run the kernel on rows [begin, end) of `order`, with a team of threads if asked for; return the rows done."""
        self.plan[p.SPARSE] = data.sparse
        arguments = (
            self.plan,
            self.hyper,
            self.engine.params,
            self.grad,
            self.state,
            self.work,
            self.numbers,
            data.values,
            data.indices,
            data.indptr,
            self.y,
            self.sample_weight,
            order,
            begin,
            end,
            rates,
            self.whole,
            layers or len(self.engine.layers),
            self.out if out is None else out,
            seed,
            self.sync,
        )
        if team == 1:
            return int(network.run(mode, *arguments, 0, 1))
        return _together(lambda member, size: network.run(mode, *arguments, member, size), team)


def _together(call: Any, team: int) -> int:
    """Run call(member, team) on `team` threads at once, this one included; on fewer where no more can be started.

    Threads of one call share the process's cores with those of other calls: the more fits run at once, the fewer
    threads each gets. Threads live for one call of about 50 ms, so nothing survives to trouble a fork.
    """
    global _active
    with _active_lock:
        _active += 1
        team = max(1, min(team, -(-default_threads() // _active)))
    size = 0
    started = threading.Event()

    def member(number: int) -> None:
        started.wait()
        if number < size:
            call(number, size)

    helpers: list[threading.Thread] = []
    try:
        for number in range(1, team):
            helper = threading.Thread(target=member, args=(number,), daemon=True, name="fastbp")
            try:
                helper.start()
            except RuntimeError:
                break
            helpers.append(helper)
        size = len(helpers) + 1
        started.set()
        return int(call(0, size))
    finally:
        started.set()
        for helper in helpers:
            helper.join()
        with _active_lock:
            _active -= 1


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
        Of the dropout masks, which depend on nothing else but `step`.
    n_threads : int or None
        None for all cores. Results are bit-identical for any number.
    """

    _rule: Rule

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
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if max_grad_norm is not None and not max_grad_norm > 0.0:
            raise ValueError(f"max_grad_norm must be positive, got {max_grad_norm}")
        self.engine = engine
        self.batch_size = int(batch_size)
        self.seed = int(seed) & 0x7FFFFFFFFFFFFFFF
        self.n_threads = n_threads
        self._team = _team(engine, self.batch_size, n_threads)
        self._workspace = _Workspace(engine, self.batch_size, objective, gradient=True)
        self._workspace.plan[p.CLIPPED] = max_grad_norm is not None
        self._workspace.hyper[p.MAX_NORM] = max_grad_norm or 0.0
        self._workspace.hyper[p.L2_PER_ROW] = alpha
        self._online = (
            batch_size == 1
            and rule.kernel == "sgd"
            and rule.weight_decay == 0.0
            and alpha == 0.0
            and max_grad_norm is None
            and engine.input_dropout == 0.0
            and all(layer.l1 == layer.l2 == layer.dropout == 0.0 for layer in engine.layers)
        )
        self.rule = rule
        names = optimizers.SLOTS[rule.kernel]
        size = engine._n_padded
        self._workspace.state = aligned_zeros(len(names) * size, engine.dtype)
        self.slots = {name: self._workspace.state[k * size : (k + 1) * size] for k, name in enumerate(names)}
        if "sum" in self.slots:
            self.slots["sum"][...] = rule.initial_accumulator
        self._fresh = True
        self._rate = np.zeros(1)
        self._seconds_per_row = 0.0

    @property
    def rule(self) -> Rule:
        """The update rule; another one of the same kind may be set between calls."""
        return self._rule

    @rule.setter
    def rule(self, rule: Rule) -> None:
        if rule.kind not in RULE_NAMES:
            raise ValueError(f"unknown update rule {rule.kind!r}; known are {', '.join(RULE_NAMES)}")
        if hasattr(self, "_rule") and rule.kernel != self._rule.kernel:
            raise ValueError(f"the rule of a session cannot change from {self._rule.kernel} to {rule.kernel}")
        self._rule = rule
        plan, hyper = self._workspace.plan, self._workspace.hyper
        plan[p.RULE] = optimizers.CODES[rule.kernel]
        plan[p.NESTEROV], plan[p.EPS_INSIDE], plan[p.VELOCITY] = rule.nesterov, rule.eps_inside, rule.velocity
        hyper[p.BETA1], hyper[p.BETA2], hyper[p.EPS] = rule.beta1, rule.beta2, rule.eps
        hyper[p.MOMENTUM], hyper[p.WEIGHT_DECAY], hyper[p.ALPHA] = (
            rule.momentum,
            rule.weight_decay,
            rule.alpha,
        )
        hyper[p.MOMENTUM_DECAY] = rule.momentum_decay
        hyper[p.ETA_MINUS], hyper[p.ETA_PLUS] = rule.eta_minus, rule.eta_plus
        hyper[p.STEP_MIN], hyper[p.STEP_MAX] = rule.step_min, rule.step_max

    @property
    def step(self) -> int:
        """Batches done so far: t of Adam's bias correction, and the number of the dropout mask."""
        return int(self._workspace.numbers[network.STEPS])

    @step.setter
    def step(self, value: int) -> None:
        self._workspace.numbers[network.STEPS] = value
        product = 1.0
        if self._rule.kind == "nadam":
            for t in range(1, value + 1):
                product *= self._rule.beta1 * (1.0 - 0.5 * 0.96 ** (t * self._rule.momentum_decay))
        self._workspace.numbers[network.PRODUCT] = product
        self._fresh = value == 0

    @property
    def loss_sum(self) -> float:
        """Sum of loss times rows over the batches since it was last set: the same bits however they were cut."""
        return float(self._workspace.numbers[network.LOSS_SUM])

    @loss_sum.setter
    def loss_sum(self, value: float) -> None:
        self._workspace.numbers[network.LOSS_SUM] = value

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
            Sum over the batches of mean loss (penalties included) times rows.
        """
        before, self.loss_sum = self.loss_sum, 0.0
        for _ in self.chunks(x, y, order, learning_rate, sample_weight=sample_weight):
            pass
        total, self.loss_sum = self.loss_sum, before
        return total

    def train_batch(self, x: Any, y: Any, learning_rate: float, sample_weight: Any = None) -> float:
        """Train on all rows of x as one batch of at most `batch_size` rows; return its mean loss, penalties included.

        The parameters are as those of `run`. This is the path of user-written loops, where a call may take a few
        microseconds: nothing is prepared that one batch does not need.
        """
        data = _Data(self.engine, x)
        if not 1 <= data.n <= self.batch_size:
            raise ValueError(
                f"x must have 1 to {self.batch_size} rows, the batch size of the session, got {data.n}"
            )
        workspace = self._workspace
        workspace.targets(data, y, sample_weight)
        workspace.plan[p.ONLINE] = self._online and not data.sparse
        if self._fresh:
            self._begin(learning_rate)
        numbers = workspace.numbers
        before = numbers[network.LOSS_SUM]
        numbers[network.LOSS_SUM] = 0.0
        self._rate[0] = learning_rate
        done = workspace.call(
            network.TRAIN, data, begin=0, end=data.n, rates=self._rate, seed=self.seed, team=self._team
        )
        total = float(numbers[network.LOSS_SUM])
        numbers[network.LOSS_SUM] = before
        if done < data.n:
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        return total / data.n

    def _begin(self, learning_rate: float) -> None:
        """Set what the state takes from the first learning rate: Rprop's steps start from it."""
        if self._rule.kind == "rprop":
            self.slots["step_size"][...] = learning_rate
        self._fresh = False

    def chunks(
        self, x: Any, y: Any, order: Array, learning_rate: float | Array, *, sample_weight: Any = None
    ) -> Iterator[tuple[int, float]]:
        """Train as `run` does, in pieces of about 50 ms: yields (rows done, sum of loss times rows) of each.

        Between two pieces the model is in the state of the last finished batch; that is where Ctrl-C is answered.
        """
        data = _Data(self.engine, x)
        workspace = self._workspace
        workspace.targets(data, y, sample_weight)
        order = np.ascontiguousarray(order, np.int64)
        if order.ndim != 1 or (order.size and not 0 <= int(order.min()) <= int(order.max()) < data.n):
            raise ValueError(f"order must be one-dimensional and hold row numbers from 0 to {data.n - 1}")
        size = int(order.size)
        # Rows in their own order are read in place.
        in_order = size > 0 and order[0] == 0 and order[-1] == size - 1 and bool(np.all(np.diff(order) == 1))
        order = _EMPTY_ORDER if in_order else _flat(order)
        workspace.plan[p.ONLINE] = self._online and not data.sparse
        batch = self.batch_size
        n_batches = -(-size // batch)
        rates = np.ascontiguousarray(learning_rate, np.float64).reshape(-1)
        if rates.size not in (1, n_batches):
            raise ValueError(
                f"learning_rate must be one number or one per batch ({n_batches}), got {rates.size}"
            )
        if self._fresh and n_batches:
            self._begin(float(rates[0]))
        done = 0
        while done < size:
            rows = self._piece(size - done)
            before = self.loss_sum
            started = time.perf_counter()
            first_rate = done // batch if rates.size > 1 else 0
            finished = workspace.call(
                network.TRAIN,
                data,
                begin=done,
                end=done + rows,
                order=order,
                rates=rates[first_rate : first_rate + -(-rows // batch)] if rates.size > 1 else rates,
                seed=self.seed,
                team=self._team,
            )
            self._seconds_per_row = (time.perf_counter() - started) / rows
            done += finished
            if finished < rows:
                raise ZeroDivisionError("Weights sum to zero, can't be normalized")
            yield finished, self.loss_sum - before

    def _piece(self, left: int) -> int:
        """Return how many rows make about 50 ms: a first guess from the work, then from what the last piece took."""
        seconds = self._seconds_per_row or self.engine.flops_per_row / 2e10
        batches = max(1, int(CHUNK_SECONDS / (seconds * self.batch_size)))
        return min(left, batches * self.batch_size)
