"""`fastbp.explain`: the worked example of backpropagation for a network of the user's own."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastbp import objectives
from fastbp import reference as ref
from fastbp.arrays import is_sparse, to_inputs, to_real
from fastbp.explaining import steps
from fastbp.explaining.entries import DOWNHILL, SIGNS
from fastbp.explaining.passage import Passage
from fastbp.explaining.problem import Problem, layers_of
from fastbp.explaining.text import Page, layout
from fastbp.objectives import LossLike, Objective
from fastbp.own import Loss
from fastbp.validation import check_choice, check_number, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NetworkExplanation", "explain"]

Floats = NDArray[np.float64]

# Plain Python computes a million products in a second or so, and writes a line for each weight.
MOST = 1_000_000


class Gradients(NamedTuple):
    """Of the loss: ``weights[l]`` (fan_in, fan_out), ``biases[l]`` (fan_out,) or None, ``inputs`` shaped as x."""

    weights: list[Floats]
    biases: list[Floats | None]
    inputs: Floats


class NetworkExplanation:
    """Every number of one forward and one backward pass and of the update; `fastbp.explain` makes it.

    ``print`` shows all of it, each number beside its formula; a notebook shows a picture, too. Arrays are float64. A
    layer's has shape (units,) if x was one sample, else (rows, units); ``[0]`` is the first layer.

    Attributes
    ----------
    v_in, v_out : list of array
        What enters the units of each layer, and what leaves them.
    y_hat : array
        What leaves the last layer.
    loss : float
        The mean over the rows, penalties included.
    delta : list of array
        How the loss changes with v_in; its negative if `sign` is "downhill".
    delta_inputs : array
        The same for x: delta(0), the error felt by the inputs.
    gradients : named tuple
        How the loss changes with ``weights[l]`` and ``biases[l]``, as `Sequential.value_and_grad` returns them, and
        with the ``inputs``. Their sign is always the same.
    learning_rate : float
    sign : str
    weights, biases : lists of array
        After the update: ``net.set_weights(explanation.weights, explanation.biases)`` does it.
    loss_after : float
        With those weights.
    """

    __module__ = "fastbp.explaining"

    def __init__(self, explanation: steps.Explanation, is_sample: bool) -> None:
        self._explanation, self._is_sample = explanation, is_sample
        passage: Passage = explanation.passages[0]
        turn = -1.0 if explanation.sign == DOWNHILL else 1.0
        self.v_in = [self._array(rows) for rows in passage.v_in]
        self.v_out = [self._array(rows) for rows in passage.v_out]
        self.y_hat = self.v_out[-1]
        self.loss = passage.loss
        self.delta = [turn * self._array(rows) + 0.0 for rows in passage.delta]  # no negative zeros
        self.delta_inputs = turn * self._array(passage.felt) + 0.0
        self.gradients = Gradients(*_parameters(passage.gradients), self._array(passage.felt))
        self.learning_rate, self.sign = explanation.lr, explanation.sign
        self.weights, self.biases = _parameters(passage.updated)
        self.loss_after = explanation.problem.loss(passage.updated)

    def agreement(self) -> dict[str, float]:
        """Let the compiled kernels compute the same in float64; return how far each quantity differs.

        The differences are relative to the largest number of the quantity, or to 1. They stay below 1e-9.
        """
        from fastbp.explaining.agreement import agreement

        return agreement(self._explanation)

    def figure(self, max_units: int = 10) -> Figure:
        """Draw the network twice: forward, with what leaves each unit, and backward, with its delta.

        Parameters
        ----------
        max_units : int
            Layers with more units are drawn in part.

        Returns
        -------
        matplotlib.figure.Figure
            Of the first row, if there are many. It needs matplotlib: ``pip install "fastbp[plot]"``.
        """
        from fastbp.explaining.picture import picture

        return picture(self._explanation, max_units)

    def __str__(self) -> str:
        """Return the text of ``fastbp explain``."""
        return "\n".join(layout(self._explanation, Page()))

    def __repr__(self) -> str:
        """Return what was explained, in one line."""
        sizes = "-".join(map(str, self._explanation.problem.sizes))
        return f"<explanation of a {sizes} network: loss {self.loss:.5g} -> {self.loss_after:.5g}>"

    def _repr_html_(self) -> str:
        """Return picture and text for a notebook; the text alone without matplotlib."""
        try:
            figure = self.figure()
        except ImportError:
            image = ""
        else:
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=100)
            data = base64.b64encode(file.getvalue()).decode()
            image = f'<img alt="The network, forward and backward" src="data:image/png;base64,{data}">'
        return f'<div>{image}<pre style="white-space: pre">{html.escape(str(self))}</pre></div>'

    def _array(self, rows: ref.Matrix) -> Floats:
        return np.array(rows[0] if self._is_sample else rows)


def explain(
    net: Any,
    x: Any,
    y: Any,
    loss: LossLike = "half_squared_error",
    *,
    learning_rate: float = 0.5,
    sign: str = "uphill",
) -> NetworkExplanation:
    """Explain backpropagation with the numbers of your own network: forward, error, backward, update.

    The numbers are computed by the specification, `fastbp.reference`, in float64, as ``fastbp explain`` computes
    them. The network stays as it is.

    Parameters
    ----------
    net : Sequential, or a fitted MLPClassifier or MLPRegressor
        Of any layers. Dropout acts in training only, so it is left out; so are the penalties of an estimator.
    x : array-like, shape (n_inputs,) or (n, n_inputs)
        One sample, or the rows of a batch.
    y : array-like
        The targets, as `Sequential.fit` takes them for this loss; of one sample (n_outputs,), or a number.
    loss : str or loss object
        As in `Sequential.fit`. The default is the tutorials' E = 1/2 (y - y_hat)^2.
    learning_rate : float
        Of the update, plain gradient descent.
    sign : {"uphill", "downhill"}
        "uphill": delta is how the loss changes with v_in, as usual in the field. "downhill": its negative, as in the
        tutorials.

    Returns
    -------
    NetworkExplanation
        ``print`` shows all of it; its attributes are the numbers.

    Raises
    ------
    TypeError, ValueError
        The arguments do not fit each other, or x has so many rows that a line for each number helps nobody.
    OverflowError
        A number grows beyond what a float can hold.

    Examples
    --------
    >>> import fastbp as fb
    >>> layers = [fb.Dense(units, "sigmoid", use_bias=False) for units in (2, 1)]
    >>> net = fb.Sequential(layers, n_inputs=3, dtype="float64")
    >>> net.set_weights([[[0.4, -0.4], [0.1, 0.4], [-0.2, 0.6]], [[0.4], [-0.3]]])
    >>> explanation = fb.explain(net, x=[1.0, 0.5, -0.5], y=1.0)
    >>> explanation
    <explanation of a 3-2-1 network: loss 0.10809 -> 0.10435>
    >>> print(explanation)  # doctest: +ELLIPSIS
    Backpropagation, step by step: 3 inputs -> 2 sigmoid -> 1 sigmoid
    ...
      delta(1) = (W(1->2) delta(2)) f'(v_in(1)), f' = f (1 - f)
        delta(1)[1] = (0.4*(-0.11567)) * 0.23201 = -0.010734
    ...
    >>> explanation.delta[0].round(4), explanation.gradients.weights[1].round(4).ravel()
    (array([-0.0107,  0.0082]), array([-0.0733, -0.0437]))
    >>> net.set_weights(explanation.weights, explanation.biases)
    """
    layers, notes = layers_of(net)
    layers, notes = _with_penalties(net, layers, notes)
    objective = objectives.get(loss)
    if not isinstance(objective, Loss) and objective != Objective(objective.name, objective.parameter):
        raise ValueError(f"loss must be a name or a fastbp.Loss, got {shown(objective)}")
    rate = check_number(learning_rate, "learning_rate", 0.0, open_low=True)
    check_choice(sign, "sign", SIGNS)
    double, n_inputs, n_outputs = np.dtype(np.float64), len(layers[0].W), len(layers[-1].W[0])
    objectives.check_output(layers[-1].activation, objective)
    rows = x if is_sparse(x) else to_real(x, "x")
    is_sample = rows.ndim == 1
    rows = to_inputs(rows[None] if is_sample else rows, n_inputs, double, name="x", layer="the network")
    n = int(rows.shape[0])
    if n == 0:
        raise ValueError("x has 0 rows")
    products = n * sum(len(layer.W) * len(layer.W[0]) for layer in layers)
    if products > MOST:
        raise ValueError(
            f"x has {n} rows, and the network {products // n} weights: an explanation has a line for each number; "
            f"take fewer rows, so that rows times weights is at most {MOST}"
        )
    if is_sample:
        target = to_real(y, "y")
        y = target.reshape(1) if target.size == 1 else target[None] if target.ndim == 1 else target
    targets = objectives.to_targets(y, objective, n, n_outputs, double)
    if targets.dtype.kind == "i":
        targets = np.eye(n_outputs)[targets]
    rows = rows.toarray() if is_sparse(rows) else rows
    problem = Problem(layers, rows.tolist(), targets.tolist(), "Weights of your network", notes, objective)
    return NetworkExplanation(steps.explain(problem, rate, sign=sign), is_sample)


def _with_penalties(net: Any, layers: list[ref.Layer], notes: list[str]) -> tuple[list[ref.Layer], list[str]]:
    """The layers with the penalties of a `Sequential`, and the notes without them."""
    dense = [layer for layer in getattr(net, "layers", ()) if hasattr(layer, "units")]
    if not dense:
        return layers, notes
    dropout = len(dense) < len(net.layers)
    notes = ["Dropout of the model is left out: it acts in training only."] if dropout else []
    pairs = zip(layers, dense, strict=True)
    return [layer._replace(l1=own.l1, l2=own.l2) for layer, own in pairs], notes


def _parameters(pairs: Any) -> tuple[list[Floats], list[Floats | None]]:
    """Weights and biases of layers, or of their gradients, as arrays."""
    weights = [np.array(pair[0]) for pair in pairs]
    return weights, [None if pair[1] is None else np.array(pair[1]) for pair in pairs]
