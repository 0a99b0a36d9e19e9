"""A network as circles and lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.arrays import to_real
from fastbp.plot._diagram import Diagram
from fastbp.plot._style import Floats, check_labels
from fastbp.validation import check_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUANTITIES = {"activations": "activation", "deltas": r"delta = $\partial$loss / $\partial z$"}


def network(
    net: Any,
    x: Any = None,
    y: Any = None,
    *,
    show: str = "auto",
    loss: Any = None,
    max_units: int = 10,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw units and weights, and what one sample does to them.

    A line is a weight: dark and solid if positive, light and dashed if negative, the wider the
    greater. Small networks show their numbers; wide layers are drawn in part.

    Parameters
    ----------
    net : Sequential or fitted estimator
        An estimator must have ``hidden_activations`` to show activations, and shows no deltas.
    x : array, shape (n_inputs,) or (1, n_inputs), optional
        One sample.
    y : number or array, shape (n_outputs,) or (1, n_outputs), optional
        Its target; for ``cross_entropy`` also its class code.
    show : {"auto", "weights", "activations", "deltas"}
        What the units are colored by. "deltas" are the error terms of back propagation, the
        derivative of the loss by a unit's weighted input (uphill: the update subtracts them), and
        for an input by the input itself. "auto" shows deltas if there are x and y, activations if
        there is x, else weights only.
    loss : str or loss object, optional
        For deltas. Default "cross_entropy" if y is the class code of a network of several outputs,
        else "half_squared_error", 1/2 (y - output)^2.
    max_units : int
        Layers with more units are drawn in part, the first and last of them.
    input_names, output_names : sequence of str, optional
        Default x_1, x_2, ... and the same with y hat.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If net has no weights, or cannot tell what is to be shown.
    ValueError
        If x is not one sample, or what is to be shown needs x or y and has not got it.

    Examples
    --------
    >>> import fastbp as fb
    >>> net = fb.Sequential([fb.Dense(2, "sigmoid"), fb.Dense(1, "sigmoid")], n_inputs=3, seed=0)
    >>> ax = fb.plot.network(net, [1.0, 0.5, -1.0])
    >>> len(ax.patches)
    6
    """
    weights, biases = _parameters(net)
    sizes = [W.shape[0] for W in weights] + [weights[-1].shape[1]]
    check_count(max_units, "max_units", 2)
    if show not in ("auto", "weights", *QUANTITIES):
        raise ValueError(f'show must be "auto", "weights", "activations" or "deltas", got {show!r}')
    if show == "auto":
        show = "weights" if x is None else "activations" if y is None else "deltas"
    if show != "weights" and x is None:
        raise ValueError(f'show="{show}" needs a sample x')
    if show == "deltas" and y is None:
        raise ValueError('show="deltas" needs the target y of the sample')
    names_in = None if input_names is None else check_labels(input_names, sizes[0], "inputs")
    names_out = None if output_names is None else check_labels(output_names, sizes[-1], "outputs")
    values: list[Floats] | None = None
    if show != "weights":
        sample = _sample(net, x, sizes[0])
        values = _activations(net, sample) if show == "activations" else _deltas(net, sample, y, loss, sizes)
        for layer, value in enumerate(values):
            if not np.isfinite(value).all():
                raise ValueError(f"the {show} of layer {layer} are not finite")

    drawing = Diagram(weights, biases, max_units)
    ax = drawing.place(ax, names_in, names_out, colorbar=values is not None)
    drawing.captions(ax, _activation_names(net, len(weights)), names_in, names_out)
    drawing.edges(ax)
    drawing.nodes(ax, values, QUANTITIES.get(show))
    return ax


def _parameters(net: Any) -> tuple[list[Floats], list[Floats | None]]:
    weights, biases = getattr(net, "weights", None), getattr(net, "biases", None)
    if weights is None:
        weights, biases = getattr(net, "coefs_", None), getattr(net, "intercepts_", None)
    if weights is None or biases is None:
        raise TypeError(
            f"net must have weights and biases (Sequential) or coefs_ and intercepts_ (a fitted estimator), "
            f"but {type(net).__name__} has not"
        )
    for layer, W in enumerate(weights):
        if not np.isfinite(W).all():
            raise ValueError(f"the weights of layer {layer + 1} are not finite")
    return (
        [np.asarray(W, dtype=np.float64) for W in weights],
        [None if b is None else np.asarray(b, dtype=np.float64) for b in biases],
    )


def _sample(net: Any, x: Any, n_inputs: int) -> Floats:
    sample = to_real(x, "x")
    if sample.shape not in ((n_inputs,), (1, n_inputs)):
        raise ValueError(f"x must be one sample of {n_inputs} inputs, got shape {sample.shape}")
    dtype = getattr(net, "dtype", np.float64) if hasattr(net, "weights") else np.float64
    return np.ascontiguousarray(sample.reshape(1, n_inputs), dtype=np.dtype(dtype))


def _activations(net: Any, x: Floats) -> list[Floats]:
    """The sample and the output of every layer."""
    if hasattr(net, "engine"):
        layers = net.engine.hidden(x)
    elif hasattr(net, "hidden_activations"):
        output = np.atleast_2d(net.predict_proba(x) if hasattr(net, "predict_proba") else net.predict(x))
        units = net.coefs_[-1].shape[1]  # two classes share one unit: the probability of the second
        layers = [*net.hidden_activations(x), output[:, -units:].reshape(1, units)]
    else:
        raise TypeError(f"{type(net).__name__} has no hidden_activations: only its weights can be shown")
    return [np.array(layer, dtype=np.float64).ravel() for layer in (x, *layers)]


def _deltas(net: Any, x: Floats, y: Any, loss: Any, sizes: list[int]) -> list[Floats]:
    """The derivative of the loss by the inputs and by the weighted input of every unit."""
    if not hasattr(net, "value_and_grad"):
        raise TypeError(f"deltas need a Sequential, {type(net).__name__} has no value_and_grad")
    target = to_real(y, "y")
    code = sizes[-1] > 1 and target.size == 1
    if code:
        target = target.reshape(1)
    elif target.size == sizes[-1]:
        target = np.ascontiguousarray(target.reshape(1, sizes[-1]), dtype=x.dtype)
    else:
        raise ValueError(f"y must be one target of {sizes[-1]} outputs, got shape {target.shape}")
    if any(b is None for b in net.biases):
        net = _with_biases(net)
    # With a batch of one, the gradient of a bias is the delta of its unit (BP3 in Nielsen 2015).
    if loss is None:
        loss = "cross_entropy" if code else "half_squared_error"
    _, gradients = net.value_and_grad(x, target, loss=loss, inputs=True)
    return [np.array(layer, dtype=np.float64).ravel() for layer in (gradients.inputs, *gradients.biases)]


def _with_biases(net: Any) -> Any:
    """The same network; its layers without biases get some that are 0."""
    from fastbp.layers import Dense
    from fastbp.sequential import Sequential

    units = [layer for layer in net.layers if hasattr(layer, "units")]
    twin = Sequential(
        [Dense(layer.units, layer.activation) for layer in units], n_inputs=net.n_inputs, dtype=net.dtype
    )
    twin.set_weights(
        net.weights,
        [
            np.zeros(W.shape[1], W.dtype) if b is None else b
            for W, b in zip(net.weights, net.biases, strict=True)
        ],
    )
    return twin


def _activation_names(net: Any, count: int) -> list[str]:
    if hasattr(net, "layers"):
        names = [str(layer.activation) for layer in net.layers if hasattr(layer, "activation")]
    else:
        hidden = getattr(net, "activation", "")
        hidden = [hidden] * (count - 1) if isinstance(hidden, str) else list(hidden)
        names = [*hidden, str(getattr(net, "out_activation_", ""))]
    return names if len(names) == count else [""] * count
