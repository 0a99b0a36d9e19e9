"""`Sequential`: a stack of layers, its numbers, and everything one does with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, TextIO

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastbp import initializers, objectives, optimizers, training
from fastbp.arrays import resolve_dtype, to_matrix
from fastbp.callbacks import Callback
from fastbp.engine import Engine, Gradients
from fastbp.engine.sources import inputs_in_blocks, prepare, with_gradient
from fastbp.formats._suffixes import save
from fastbp.layers import Dense, Dropout, layer_from_config, plan_layers
from fastbp.metrics import Metric, named
from fastbp.objectives import LossLike
from fastbp.validation import check_count, check_threads

__all__ = ["Sequential"]


class Sequential:
    """A multi-layer perceptron.

    Parameters
    ----------
    layers : sequence of Dense and Dropout
        In the order of the data; the last one is a `Dense`, whose units are the outputs.
    n_inputs : int
        Columns of X.
    dtype : {"float32", "float64"}
        Of parameters and computations.
    seed : int, None or numpy.random.Generator
        Where the weights start; None takes fresh entropy.

    Attributes
    ----------
    layers : list
        As given.
    engine : fastbp.engine.Engine
        Parameters (one flat array, ``engine.theta``) and kernels.
    metadata : dict of str to str
        Free notes that are saved with the model.

    Notes
    -----
    X may be an array, nested lists, a pandas or polars frame, a SciPy sparse matrix (kept sparse) or a `numpy.memmap`
    (never loaded whole). Another numeric dtype is converted to the model's, as in Keras: once per call, or block by
    block for a memmap. `fit`, `evaluate` and `value_and_grad` refuse NaN and infinity, naming row and column (memmaps
    are not scanned for them); `predict` lets NaN through: the rows it is in give NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp as fb
    >>> x = np.linspace(-1, 1, 200, dtype=np.float32).reshape(-1, 1)
    >>> net = fb.Sequential([fb.Dense(16, "tanh"), fb.Dense(1)], n_inputs=1, seed=0)
    >>> history = net.fit(x, x**2, optimizer=fb.Adam(3e-2), epochs=100, batch_size=20)
    >>> net.evaluate(x, x**2) < 1e-3
    True
    """

    __module__ = "fastbp"

    def __init__(
        self,
        layers: Sequence[Dense | Dropout],
        n_inputs: int,
        dtype: DTypeLike = "float32",
        seed: int | np.random.Generator | None = 0,
    ) -> None:
        if isinstance(layers, Dense | Dropout) or not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a list of Dense and Dropout, got {layers!r}")
        self.layers: list[Dense | Dropout] = list(layers)
        self.n_inputs = check_count(n_inputs, "n_inputs")
        self.dtype = resolve_dtype(dtype)
        self.metadata: dict[str, str] = {}
        planned, input_dropout = plan_layers(self.layers)
        self.engine = Engine(self.n_inputs, planned, self.dtype, input_dropout=input_dropout)
        self._seed = (
            None if seed is None or isinstance(seed, np.random.Generator) else check_count(seed, "seed", 0)
        )
        rng = np.random.default_rng(seed)
        for layer, W in zip(self._dense(), self.engine.weights, strict=True):
            fan_in, fan_out = W.shape
            W[...] = initializers.get(layer.initializer)(fan_in, fan_out, rng)

    # What it is

    @property
    def n_outputs(self) -> int:
        """Columns of y: the units of the last layer."""
        return self.engine.n_outputs

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return self.engine.n_parameters

    @property
    def weights(self) -> list[NDArray[Any]]:
        """The weights of each Dense layer, shape (fan_in, fan_out): live views into the model."""
        return self.engine.weights

    @property
    def biases(self) -> list[NDArray[Any] | None]:
        """The biases of each Dense layer, shape (fan_out,), or None: live views."""
        return self.engine.biases

    def set_weights(
        self, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike | None] | None = None
    ) -> None:
        """Copy numbers into the model, all or (after an error) none.

        Parameters
        ----------
        weights : sequence of arrays
            One (fan_in, fan_out) per Dense layer.
        biases : sequence of arrays and None, optional
            One (fan_out,) per Dense layer, None for a layer without bias. Left out: the biases stay.

        Raises
        ------
        ValueError
            ``layer 1 (Dense(1, 'identity')): weights must have shape (64, 1), got (1, 64)``.

        >>> net = Sequential([Dense(2)], n_inputs=3)
        >>> net.set_weights([np.ones((3, 2))], [np.zeros(2)])
        >>> net.weights[0].sum()
        np.float32(6.0)
        """
        dense = self._dense()
        if biases is None:
            biases = self.biases
        for name, given in (("weights", weights), ("biases", biases)):
            if len(given) != len(dense):
                raise ValueError(f"{name} must be {len(dense)} arrays, one per Dense layer, got {len(given)}")
        new_weights = [
            self._fitting(index, "weights", W, old.shape)
            for index, (W, old) in enumerate(zip(weights, self.weights, strict=True))
        ]
        new_biases: list[NDArray[Any] | None] = []
        for index, (b, old) in enumerate(zip(biases, self.biases, strict=True)):
            if (b is None) != (old is None):
                expected = "None (use_bias=False)" if old is None else f"an array of shape {old.shape}"
                raise ValueError(
                    f"{self._name(index)}: biases must be {expected}, got {'None' if b is None else 'an array'}"
                )
            new_biases.append(
                None if b is None or old is None else self._fitting(index, "biases", b, old.shape)
            )
        self.engine.set_parameters(new_weights, new_biases)

    def summary(self, file: TextIO | None = None) -> None:
        """Write a table of the layers (also ``str(net)``) to standard output or `file`.

        >>> Sequential([Dense(8, "relu"), Dropout(0.5), Dense(2)], n_inputs=4).summary()
        layer            output  parameters
        inputs                4           0
        Dense relu            8          40
        Dropout 0.5           8           0
        Dense identity        2          18
        float32: 58 parameters, 232 bytes
        """
        (sys.stdout if file is None else file).write(f"{self}\n")

    def __str__(self) -> str:
        """Return the table of `summary`."""
        lines = [f"{'layer':<16}{'output':>7}{'parameters':>12}", f"{'inputs':<16}{self.n_inputs:>7}{0:>12}"]
        width = self.n_inputs
        for layer in self.layers:
            count = 0
            text = f"Dropout {layer.rate:g}" if isinstance(layer, Dropout) else f"Dense {layer.activation}"
            if isinstance(layer, Dense):
                count = (width + layer.use_bias) * layer.units
                width = layer.units
            lines.append(f"{text:<16}{width:>7}{count:>12}")
        size = self.n_parameters * self.dtype.itemsize
        return "\n".join([*lines, f"{self.dtype}: {self.n_parameters} parameters, {size} bytes"])

    def __repr__(self) -> str:
        """Return the call that makes an untrained model like this."""
        return (
            f"Sequential({self.layers!r}, n_inputs={self.n_inputs}, dtype='{self.dtype}', seed={self._seed})"
        )

    # What it does

    def predict(self, x: Any, *, n_threads: int | None = None) -> NDArray[Any]:
        """Return the outputs of the last layer, shape (n, n_outputs), of the model's dtype.

        Parameters
        ----------
        x : array-like of shape (n, n_inputs)
            See the notes of the class. NaN is not refused: its rows give NaN.
        n_threads : int, optional
            None or -1: as many as pay. The numbers do not depend on it.

        >>> Sequential([Dense(2, initializer="zeros")], n_inputs=3).predict([[1, 2, 3]])
        array([[0., 0.]], dtype=float32)
        """
        if n_threads is not None:
            n_threads = check_threads(n_threads)
        if type(x) is np.ndarray and x.ndim == 2:
            if n_threads is None and len(x) <= 256:
                n_threads = 1  # to count the cores takes longer than such a prediction
            try:  # the engine's own checks take a microsecond; if they fail, the data are converted or explained below
                return self.engine.predict(x, n_threads=n_threads)
            except (TypeError, ValueError):
                pass
        parts = [
            self.engine.predict(rows, n_threads=n_threads) for rows in inputs_in_blocks(self.engine.layout, x)
        ]
        return (
            parts[0]
            if len(parts) == 1
            else np.concatenate(parts or [np.empty((0, self.n_outputs), self.dtype)])
        )

    def evaluate(
        self,
        x: Any,
        y: Any,
        loss: LossLike = "mse",
        *,
        metrics: Metric | Iterable[Metric] = (),
        sample_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> Any:
        """Return the loss on data, penalties (l1, l2) included, dropout switched off.

        Parameters
        ----------
        x, y, loss, sample_weight
            As in `fit`.
        metrics : name, function or list of them
            As in `fit`; not weighted.

        Returns
        -------
        float or dict
            The loss; with metrics a dict of ``"loss"`` and each of them.

        >>> net = Sequential([Dense(1, initializer="zeros")], n_inputs=1)
        >>> net.evaluate([[1.0], [2.0]], [1.0, 3.0]), net.evaluate([[1.0]], [3.0], metrics="mae")
        (5.0, {'loss': 9.0, 'mae': 3.0})
        """
        objective = objectives.get(loss)
        data = prepare(self.engine.layout, x, y, sample_weight, objective)
        result = training.evaluate(self.engine, data, objective, named(metrics), n_threads)
        return result if len(result) > 1 else result["loss"]

    def value_and_grad(
        self,
        x: Any,
        y: Any,
        loss: LossLike = "mse",
        *,
        sample_weight: ArrayLike | None = None,
        inputs: bool = False,
        n_threads: int | None = None,
        out: Gradients | None = None,
    ) -> tuple[float, Gradients]:
        """Return the loss (penalties included, no dropout) and its gradient; the model stays as it is.

        Parameters
        ----------
        x, y, loss, sample_weight
            As in `fit`.
        inputs : bool
            Also the gradient with respect to x: the error felt by the inputs.
        n_threads : int, optional
            None: as many as pay. The numbers do not depend on it.
        out : Gradients, optional
            From an earlier call with this model (and as many rows, if `inputs`): overwritten and returned, which saves
            a small network a quarter of the time.

        Returns
        -------
        float
            The loss.
        Gradients
            ``.weights`` and ``.biases`` as the model's, ``.inputs`` of shape (n, n_inputs) or None.

        >>> net = Sequential([Dense(1, initializer="zeros")], n_inputs=1)
        >>> loss, grads = net.value_and_grad([[1.0], [2.0]], [1.0, 3.0])
        >>> loss, grads.weights[0].item(), grads.biases[0].item()
        (5.0, -7.0, -4.0)
        """
        engine = self.engine
        if sample_weight is None and n_threads is None and not inputs and engine.prepared is not None:
            known, _, given, gradient = engine.prepared
            # The very object that it was given before needs no look at what it names.
            if (given is loss or known == objectives.get(loss)) and (
                result := gradient(x, y, out)
            ) is not None:
                return result
        objective = objectives.get(loss)
        rows = prepare(engine.layout, x, y, sample_weight, objective).whole()
        result = engine.value_and_grad_of(rows, objective, inputs=inputs, n_threads=n_threads, out=out)
        if not inputs:
            engine.prepare(x, y, rows, objective, loss)
        return result

    def pullback(
        self,
        x: Any,
        grad: Any,
        *,
        inputs: bool = True,
        n_threads: int | None = None,
        out: Gradients | None = None,
    ) -> Gradients:
        """Return the gradient of any E of the outputs, from dE/d out; the model stays as it is.

        Parameters
        ----------
        x : array-like of shape (n, n_inputs)
            The rows that `predict` made the outputs of.
        grad : array-like of shape (n, n_outputs)
            dE/d out. Penalties (l1, l2) are no part of E.
        inputs : bool
            Also the gradient with respect to x; not for sparse x.
        n_threads : int, optional
            None: as many as pay. The numbers do not depend on it.
        out : Gradients, optional
            From an earlier call, as in `value_and_grad`: overwritten and returned.

        Returns
        -------
        Gradients
            ``.weights`` and ``.biases`` as the model's, ``.inputs`` of shape (n, n_inputs) or None.

        Raises
        ------
        TypeError, ValueError
            Arrays that do not fit, or NaN and infinity, with their row and column.

        See Also
        --------
        Trainer.step_from : The same with an update.

        Examples
        --------
        >>> net = Sequential([Dense(1, initializer="zeros")], n_inputs=1)
        >>> grads = net.pullback([[1.0], [2.0]], [[1.0], [10.0]])
        >>> grads.weights[0].item(), grads.biases[0].item(), grads.inputs.ravel()
        (21.0, 11.0, array([0., 0.], dtype=float32))
        """
        engine = self.engine
        rows = with_gradient(engine.layout, x, grad)
        return engine.value_and_grad_of(
            rows, objectives.GIVEN, inputs=inputs, penalty=False, n_threads=n_threads, out=out
        )[1]

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        loss: LossLike = "mse",
        optimizer: str | optimizers.Optimizer = "adam",
        epochs: int = 1,
        batch_size: int | None = 32,
        validation_data: Sequence[Any] | None = None,
        validation_split: float = 0.0,
        callbacks: Iterable[Callback | Any] | Callback | Any = (),
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        metrics: Metric | Iterable[Metric] = (),
        shuffle: bool = True,
        seed: int | np.random.Generator | None = 0,
        n_threads: int | None = None,
        verbose: int = 1,
        max_grad_norm: float | None = None,
        resume_from: str | os.PathLike[str] | None = None,
    ) -> training.History:
        """Train by mini-batch gradient descent, in place.

        Every call starts a new optimizer; `Trainer` keeps one. After an exception the model is as it was
        before the call, except after KeyboardInterrupt: then it is as the last finished batch left it.

        Parameters
        ----------
        x : array-like of shape (n, n_inputs), or iterable of batches
            See the notes of the class. Without `y`: a list, data loader or other re-iterable of batches ``(x,
            y)`` or ``(x, y, sample_weight)``, or a function that returns a new iterator for each epoch. Then the
            batches are trained as they come, and `validation_split`, `sample_weight` and `class_weight` are refused.
        y : array-like
            (n, n_outputs), or (n,) for one output; class codes 0, 1, ... of shape (n,) for ``cross_entropy``.
        loss : str or Loss
            See `fastbp.objectives`: ``"mse"``, ``"huber(2.0)"``, ..., or a `Loss` of your own.
        optimizer : Optimizer, Rule or str
            For example ``Adam(1e-3)`` or ``SGD(OneCycle(0.5), momentum=0.9)``, or a `Rule` of your own.
        epochs : int
            Passes over the data, those before `resume_from` included.
        batch_size : int or None
            Rows per step; None is all of them (batch descent), 1 stochastic descent. The last batch may be
            short.
        validation_data : (x, y) or (x, y, sample_weight)
            Evaluated after each epoch as ``val_loss`` and ``val_<metric>``.
        validation_split : float
            Instead: the share of rows taken from the end of the data, before any shuffling (Keras).
        callbacks : list, or a single one
            See `fastbp.callbacks`. `TerminateOnNaN` is always there.
        sample_weight : array of shape (n,)
            Weight of each row in the mean of its batch; rows of weight 0 are left out.
        class_weight : dict, "balanced" or None
            Weight of each class code (an integer from 0 to n_outputs - 1), times `sample_weight`; not for validation.
        metrics : name, function or list of them
            Names of scikit-learn's scorers or of losses, or functions of (y_true, y_pred); see
            `fastbp.metrics.compute`. Evaluated at the end of each epoch on training data (one more prediction
            of them) and validation data.
        shuffle : bool
            New order of the rows in every epoch.
        seed : int, None or numpy.random.Generator
            Of shuffling and dropout. The same seed gives the same weights, bit by bit, for any number of
            threads.
        n_threads : int or None
            None or -1: all cores this process may use, if they make it faster.
        verbose : int
            1: a progress bar on a terminal or in a notebook, a line per epoch on standard error otherwise. 2: a line
            per epoch. 0: nothing of the training. (Once on a machine a line on standard error says that kernels are
            being compiled; the environment variable FASTBP_QUIET=1 switches it off.)
        max_grad_norm : float, optional
            Clip the gradient of each batch to this global norm.
        resume_from : path, optional
            File of a `Checkpoint`: go on from there, to the weights an uninterrupted run gives, bit by bit.
            The other arguments must be the same; `epochs` may be larger, and the learning rate another one.

        Returns
        -------
        History
            ``.loss``, ``.val_loss``, ``.epoch_seconds``, ``.learning_rate`` and each metric: one number per
            epoch.

        Raises
        ------
        TypeError, ValueError
            Data or arguments that do not fit, before anything changes.
        DivergenceError
            The loss or the weights became infinite or NaN.
        """
        settings = training.Fit(
            objective=objectives.get(loss),
            optimizer=optimizers.get(optimizer),
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            validation_split=validation_split,
            callbacks=callbacks,
            sample_weight=sample_weight,
            class_weight=class_weight,
            metrics=named(metrics),
            shuffle=shuffle,
            seed=seed,
            n_threads=n_threads,
            verbose=verbose,
            max_grad_norm=max_grad_norm,
            resume_from=resume_from,
        )
        return training.fit(self, x, y, settings)

    def compiled(self, loss: LossLike = "mse") -> Any:
        """Return the model for the user's own ``@njit`` code: a NamedTuple of arrays that share its parameters.

        Parameters
        ----------
        loss : str
            What ``fastbp.kernels.value_and_grad_one`` and ``train_one`` minimize.

        See Also
        --------
        fastbp.kernels.predict_one, fastbp.kernels.value_and_grad_one, fastbp.kernels.train_one,
        fastbp.kernels.pullback_one, fastbp.kernels.train_one_from
        """
        objective = objectives.get(loss)
        objectives.check_output(self.engine.layers[-1].activation, objective)
        return self.engine.compiled(objective)

    # How it is kept

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, in the format that its name ends with.

        ``.safetensors``, which `fastbp.load` reads, ``.onnx`` and ``.c``; others are refused. See
        `fastbp.formats.save`.
        """
        save(self, path)

    def to_config(self) -> dict[str, Any]:
        """Return everything but the numbers as a dict of JSON types.

        >>> Sequential.from_config(Sequential([Dense(2)], n_inputs=3).to_config()).n_parameters
        8
        """
        return {
            "class": "Sequential",
            "n_inputs": self.n_inputs,
            "dtype": self.dtype.name,
            "seed": self._seed,
            "layers": [layer.to_config() for layer in self.layers],
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make an untrained model from what `to_config` returned."""
        missing = {"n_inputs", "dtype", "layers"} - set(config)
        if config.get("class", "Sequential") != "Sequential" or missing:
            raise ValueError(
                f"config is not a Sequential's: class {config.get('class')!r}, without {sorted(missing)}"
            )
        layers = [layer_from_config(layer) for layer in config["layers"]]
        net = cls(layers, config["n_inputs"], config["dtype"], config.get("seed", 0))
        net.metadata.update(config.get("metadata", {}))
        return net

    def copy(self) -> Self:
        """Return an independent model with the same numbers.

        >>> net = Sequential([Dense(2)], n_inputs=3)
        >>> (net.copy().weights[0] == net.weights[0]).all()
        np.True_
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)  # with the attributes of a subclass
        twin.layers = list(self.layers)
        twin.metadata = dict(self.metadata)
        twin.engine = self.engine.copy()
        return twin

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a `copy`."""
        return self.copy()

    def __getstate__(self) -> dict[str, Any]:
        """Keep the configuration and contiguous arrays: independent of the engine's memory layout."""
        state = {key: value for key, value in self.__dict__.items() if key != "engine"}
        state["arrays"] = (
            [np.ascontiguousarray(W) for W in self.weights],
            [None if b is None else np.ascontiguousarray(b) for b in self.biases],
        )
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the engine and fill in the arrays."""
        values = dict(state)
        weights, biases = values.pop("arrays")
        self.__dict__.update(values)
        planned, input_dropout = plan_layers(self.layers)
        self.engine = Engine(self.n_inputs, planned, self.dtype, input_dropout=input_dropout)
        self.engine.set_parameters(weights, biases)

    def _dense(self) -> list[Dense]:
        return [layer for layer in self.layers if isinstance(layer, Dense)]

    def _name(self, index: int) -> str:
        layer = self._dense()[index]
        return f"layer {index} (Dense({layer.units}, {layer.activation!r}))"

    def _fitting(self, index: int, what: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
        array = to_matrix(values, self.dtype, f"{self._name(index)}: {what}")
        if array.shape != shape:
            raise ValueError(f"{self._name(index)}: {what} must have shape {shape}, got {array.shape}")
        return array
