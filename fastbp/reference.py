r"""The specification: the whole algorithm in plain Python, in the order of the maths.

Lists, floats and ``math`` only, float64, one row at a time. The compiled kernels are tested against this
file, entry by entry, so an activation, loss or optimizer exists once it stands in a table here. Nothing
here is fast, and nothing should be.

Notation
--------
``layers[l]`` takes the vector ``x`` (the data, or the output of the layer before) to

    z_j = sum_i x_i W[i][j] + b[j]        a_j = f(z_j)

``W[i][j]`` leads from unit i to unit j: a row per unit of the layer before, a column per unit of the layer
after. ``delta_j = dE/dz_j`` is the error of unit j. **Sign:** the tutorials let their delta point downhill,
(y - y_hat) f'(h), and add it to the weights; here, as usual in the field, delta points uphill, (y_hat - y)
f'(h), and its multiple is subtracted. One is the negative of the other, and the updated weights are the
same.

The worked example
------------------
Three inputs, two sigmoid units, one sigmoid output, E = 1/2 (y - y_hat)^2:

>>> layers, x, y = example()
>>> passes = forward(layers, x)
>>> for z, a in passes:
...     print([round(v, 4) for v in z], [round(v, 4) for v in a])
[0.55, -0.5] [0.6341, 0.3775]
[0.1404] [0.535]
>>> loss = LOSSES["half_squared_error"]
>>> y_hat = passes[-1][1]
>>> round(loss.value(y_hat, y), 6)
0.108094
>>> deltas, gradients, felt = backward(layers, x, passes, loss.delta(y_hat, y))
>>> [[round(d, 6) for d in delta] for delta in deltas]
[[-0.010734, 0.008155], [-0.115669]]
>>> [round(e, 6) for e in felt]                                        # the error felt by the inputs
[-0.007556, 0.002188, 0.00704]
>>> stepped = [updated(layer, dW, db, lr=0.5) for layer, (dW, db) in zip(layers, gradients)]
>>> [[round(w, 4) for w in row] for row in stepped[0].W]
[[0.4054, -0.4041], [0.1027, 0.398], [-0.2027, 0.602]]
>>> round(loss.value(forward(stepped, x)[-1][1], y), 6)               # smaller than before
0.104347
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Row = list[float]
Matrix = list[list[float]]
State = dict[str, float]


# ----------------------------------------------------------------------------------------------------------
# Activations
# ----------------------------------------------------------------------------------------------------------
class Activation(NamedTuple):
    """An activation ``f`` and its derivative ``f_prime``, both functions of the pre-activation z.

    ``formula`` and ``derivative`` are the same for people: of z, and of the output a if that is shorter.
    Products are written side by side. A letter may be explained behind a comma, once for both.

    >>> ACTIVATIONS["silu"].formula, ACTIVATIONS["silu"].derivative
    ('z s, s = sigmoid(z)', 's + a (1 - s)')
    """

    f: Callable[[float], float]
    f_prime: Callable[[float], float]
    formula: str
    derivative: str
    source: str = ""


def exp(z: float) -> float:
    """e^z, infinite where it is too large for a float (``math.exp`` raises there)."""
    try:
        return math.exp(z)
    except OverflowError:
        return math.inf


def sigmoid(z: float) -> float:
    """1 / (1 + e^-z), written so that the exponential never overflows."""
    e = math.exp(-abs(z))
    return 1.0 / (1.0 + e) if z >= 0 else e / (1.0 + e)


def softplus(z: float) -> float:
    """log(1 + e^z), written so that the exponential never overflows."""
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def normal_cdf(z: float) -> float:
    """P(Z <= z) of the standard normal distribution."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def normal_pdf(z: float) -> float:
    """Density of the standard normal distribution."""
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def sign(z: float) -> float:
    """-1, 0 or 1."""
    return float((z > 0) - (z < 0))


def tanh_prime(z: float) -> float:
    """tanh' = 1 - tanh^2: the derivative from the output, as sigmoid' = s (1 - s)."""
    return 1.0 - math.tanh(z) ** 2


def sigmoid_prime(z: float) -> float:
    """sigmoid' = s (1 - s), with s the *output* of the unit."""
    return sigmoid(z) * (1.0 - sigmoid(z))


def mish_prime(z: float) -> float:
    """(z tanh(s))' = tanh(s) + z tanh'(s) s' with s = softplus(z), s' = sigmoid(z)."""
    return math.tanh(softplus(z)) + z * tanh_prime(softplus(z)) * sigmoid(z)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

# At a kink the derivative is PyTorch's: 0 for relu, hard_sigmoid and hard_tanh, the left one for
# leaky_relu, elu and selu.
ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(lambda z: z, lambda z: 1.0, "z", "1"),
    "relu": Activation(
        lambda z: max(z, 0.0),
        lambda z: float(z > 0),
        "max(z, 0)",
        "1 if z > 0 else 0",
        "Nair and Hinton (2010)",
    ),
    "sigmoid": Activation(sigmoid, sigmoid_prime, "1 / (1 + e^-z)", "a (1 - a)"),
    "tanh": Activation(math.tanh, tanh_prime, "tanh(z)", "1 - a^2"),
    "leaky_relu": Activation(
        lambda z: z if z > 0 else 0.01 * z,
        lambda z: 1.0 if z > 0 else 0.01,
        "z if z > 0 else 0.01 z",
        "1 if z > 0 else 0.01",
        "Maas et al. (2013)",
    ),
    "elu": Activation(
        lambda z: z if z > 0 else math.expm1(z),
        lambda z: 1.0 if z > 0 else exp(z),
        "z if z > 0 else e^z - 1",
        "1 if z > 0 else a + 1",
        "Clevert et al. (2016)",
    ),
    "selu": Activation(
        lambda z: SELU_SCALE * (z if z > 0 else SELU_ALPHA * math.expm1(z)),
        lambda z: SELU_SCALE * (1.0 if z > 0 else SELU_ALPHA * exp(z)),
        "1.0507 (z if z > 0 else 1.6733 (e^z - 1))",
        "1.0507 if z > 0 else a + 1.7581",
        "Klambauer et al. (2017)",
    ),
    "gelu": Activation(
        lambda z: z * normal_cdf(z),
        lambda z: normal_cdf(z) + z * normal_pdf(z),
        "z Phi(z)",
        "Phi(z) + z phi(z)",
        "Hendrycks and Gimpel (2016)",
    ),
    "silu": Activation(
        lambda z: z * sigmoid(z),
        lambda z: sigmoid(z) + z * sigmoid_prime(z),
        "z s, s = sigmoid(z)",
        "s + a (1 - s)",
        "Elfwing et al. (2018)",
    ),
    "softplus": Activation(softplus, sigmoid, "log(1 + e^z)", "sigmoid(z)", "Dugas et al. (2001)"),
    "softsign": Activation(
        lambda z: z / (1.0 + abs(z)),
        lambda z: (1.0 / (1.0 + abs(z))) ** 2,
        "z / (1 + |z|)",
        "(1 - |a|)^2",
        "Turian et al. (2009)",
    ),
    "hard_sigmoid": Activation(  # Keras' has slope 1/5 before its version 3, 1/6 since
        lambda z: min(max(z / 6.0 + 0.5, 0.0), 1.0),
        lambda z: 1.0 / 6.0 if -3.0 < z < 3.0 else 0.0,
        "min(max(z/6 + 1/2, 0), 1)",
        "1/6 if -3 < z < 3 else 0",
        "Howard et al. (2019)",
    ),
    "hard_tanh": Activation(
        lambda z: min(max(z, -1.0), 1.0),
        lambda z: 1.0 if -1.0 < z < 1.0 else 0.0,
        "min(max(z, -1), 1)",
        "1 if -1 < z < 1 else 0",
        "Collobert (2004)",
    ),
    "mish": Activation(
        lambda z: z * math.tanh(softplus(z)),
        mish_prime,
        "z tanh(s), s = log(1 + e^z)",
        "tanh(s) + z (1 - tanh(s)^2) sigmoid(z)",
        "Misra (2020)",
    ),
    "exp": Activation(exp, exp, "e^z", "a"),
}


# ----------------------------------------------------------------------------------------------------------
# Losses
# ----------------------------------------------------------------------------------------------------------
class Parameter(NamedTuple):
    """The one number that some losses take, within ``low`` and ``high``, which it does not reach."""

    symbol: str
    default: float
    low: float = 0.0
    high: float = math.inf


class Loss(NamedTuple):
    """A loss of one row: ``value`` and ``delta``, its derivative by each output of the network.

    ``z`` is the output of the last layer, ``y`` the target. The value of a row is the mean over its outputs
    of ``element(z_k, y_k, parameter)``, or their sum if ``summed``. ``activation`` is what the loss itself
    makes of z, and what makes a prediction of it: for binary_cross_entropy z are logits, for poisson logarithms
    of rates. ``targets`` are the least and the greatest y. ``formula`` and ``derivative`` are element and slope for
    people, as in `Activation`.

    scikit-learn's flavors are made of the same parts: its log loss and Poisson loss are ``summed=True``;
    its squared error is half_squared_error with value ``summed=False`` (mean over outputs) and delta
    ``summed=True``.

    >>> LOSSES["mse"].value([1.0, 2.0], [0.0, 0.0]), LOSSES["mse"].delta([1.0, 2.0], [0.0, 0.0])
    (2.5, [1.0, 2.0])
    """

    element: Callable[[float, float, float], float]
    slope: Callable[[float, float, float], float]
    formula: str
    derivative: str
    source: str = ""
    parameter: Parameter | None = None
    summed: bool = False
    activation: str = "identity"
    targets: tuple[float, float] = (-math.inf, math.inf)

    def value(self, z: Row, y: Row, parameter: float | None = None, summed: bool | None = None) -> float:
        """Loss of one row."""
        p = self._number(parameter)
        total = sum(self.element(z_k, y_k, p) for z_k, y_k in zip(z, y, strict=True))
        return total if (self.summed if summed is None else summed) else total / len(z)

    def delta(self, z: Row, y: Row, parameter: float | None = None, summed: bool | None = None) -> Row:
        """Derivative of the row's loss by each of its outputs."""
        p = self._number(parameter)
        n = 1 if (self.summed if summed is None else summed) else len(z)
        return [self.slope(z_k, y_k, p) / n for z_k, y_k in zip(z, y, strict=True)]

    def _number(self, parameter: float | None) -> float:
        default = self.parameter.default if self.parameter else math.nan
        return default if parameter is None else parameter


class CrossEntropy(NamedTuple):
    """-sum_k y_k log p_k with p = softmax(z), one value per row; y is one-hot, a distribution or a code.

    >>> round(LOSSES["cross_entropy"].value([0.0, 0.0], 1), 6)
    0.693147
    >>> LOSSES["cross_entropy"].delta([0.0, 0.0], [0.0, 1.0])
    [0.5, -0.5]
    """

    formula: str = "-sum_k y_k log(p_k), p = softmax(z)"
    derivative: str = "p sum(y) - y, p = softmax(z)"
    source: str = ""
    parameter: Parameter | None = None
    summed: bool = True
    activation: str = "softmax"
    targets: tuple[float, float] = (0.0, 1.0)

    def value(
        self, z: Row, y: Row | int, parameter: float | None = None, summed: bool | None = None
    ) -> float:
        """Loss of one row of logits."""
        top = max(z)
        log_sum = top + math.log(sum(math.exp(z_k - top) for z_k in z))
        return sum(y_k * (log_sum - z_k) for z_k, y_k in zip(z, one_hot(y, len(z)), strict=True))

    def delta(self, z: Row, y: Row | int, parameter: float | None = None, summed: bool | None = None) -> Row:
        """p - y, why softmax and cross entropy belong together (p sum(y) - y if y does not sum to 1)."""
        targets = one_hot(y, len(z))
        return [p_k * sum(targets) - y_k for p_k, y_k in zip(softmax(z), targets, strict=True)]


def softmax(z: Row) -> Row:
    """e^z_k / sum_j e^z_j."""
    e = [math.exp(z_k - max(z)) for z_k in z]
    return [e_k / sum(e) for e_k in e]


def one_hot(y: Row | int, n: int) -> Row:
    """The class code as a row of n zeros with a one in its place; a row stays as it is."""
    return [float(k == y) for k in range(n)] if isinstance(y, int) else y


def huber(z: float, y: float, width: float) -> float:
    """Quadratic within ``width`` of the target, linear beyond."""
    e = abs(z - y)
    return 0.5 * e * e if e <= width else width * (e - 0.5 * width)


def quantile_slope(z: float, y: float, q: float) -> float:
    """-q below the target, 1 - q above it, 0 on it (as sign(0) = 0 in mae)."""
    return -q if z < y else (1.0 - q if z > y else 0.0)


def poisson_constant(y: float) -> float:
    """What scikit-learn adds to the Poisson loss so that it is 0 at the target: y log y - y."""
    return y * math.log(y) - y if y > 0 else 0.0


def clipped_log(p: float, clip: float) -> float:
    """The log of a probability in the *value* of scikit-learn's log loss; the gradient does not clip."""
    return math.log(min(max(p, clip), 1.0 - clip))


LOSSES: dict[str, Loss | CrossEntropy] = {
    "half_squared_error": Loss(  # E = 1/2 (y - y_hat)^2
        lambda z, y, _: 0.5 * (z - y) * (z - y), lambda z, y, _: z - y, "(z - y)^2 / 2", "z - y", summed=True
    ),
    "mse": Loss(lambda z, y, _: (z - y) * (z - y), lambda z, y, _: 2.0 * (z - y), "(z - y)^2", "2 (z - y)"),
    "mae": Loss(lambda z, y, _: abs(z - y), lambda z, y, _: sign(z - y), "|z - y|", "sign(z - y)"),
    "huber": Loss(
        huber,
        lambda z, y, width: min(max(z - y, -width), width),
        "r^2 / 2 if |r| <= delta else delta (|r| - delta / 2), r = z - y",
        "min(max(z - y, -delta), delta)",
        "Huber (1964)",
        Parameter("delta", 1.0),
    ),
    "log_cosh": Loss(  # log cosh r = |r| + log(1 + e^-2|r|) - log 2
        lambda z, y, _: abs(z - y) + math.log1p(math.exp(-2.0 * abs(z - y))) - math.log(2.0),
        lambda z, y, _: math.tanh(z - y),
        "log(cosh(z - y))",
        "tanh(z - y)",
    ),
    "quantile": Loss(  # the pinball loss
        lambda z, y, q: max(q * (y - z), (q - 1.0) * (y - z)),
        quantile_slope,
        "max(q (y - z), (q - 1) (y - z))",
        "-q if z < y else 1 - q if z > y else 0",
        "Koenker and Bassett (1978)",
        Parameter("q", 0.5, high=1.0),
    ),
    "poisson": Loss(  # z is the logarithm of the rate
        lambda z, y, _: exp(z) - y * z,
        lambda z, y, _: exp(z) - y,
        "e^z - y z",
        "e^z - y",
        activation="exp",
        targets=(0.0, math.inf),
    ),
    "binary_cross_entropy": Loss(  # -y log p - (1 - y) log(1 - p) = softplus(z) - y z
        lambda z, y, _: softplus(z) - y * z,
        lambda z, y, _: sigmoid(z) - y,
        "-y log(p) - (1 - y) log(1 - p), p = sigmoid(z)",
        "p - y, p = sigmoid(z)",
        activation="sigmoid",
        targets=(0.0, 1.0),
    ),
    "cross_entropy": CrossEntropy(),
}


# ----------------------------------------------------------------------------------------------------------
# Forward
# ----------------------------------------------------------------------------------------------------------
class Layer(NamedTuple):
    """One layer: ``W[i][j]`` from unit i to unit j, ``b[j]`` or None, name of f, its share of the penalty."""

    W: Matrix
    b: Row | None = None
    activation: str = "identity"
    l1: float = 0.0
    l2: float = 0.0


Passes = list[tuple[Row, Row]]
Masks = Sequence[Row | None]
Gradient = tuple[Matrix, Row | None]


def forward(layers: Sequence[Layer], x: Row, masks: Masks | None = None) -> Passes:
    """(z, a) of every layer for one row x: f(f(x W + b) W + b), node by node.

    ``masks[l]``, if given, multiplies the output of layer l (see `dropout_mask`).

    >>> forward([Layer([[1.0], [2.0]], [0.5], "relu")], [3.0, 4.0])
    [([11.5], [11.5])]
    """
    passes = []
    for depth, (W, b, activation, _, _) in enumerate(layers):
        f = ACTIVATIONS[activation].f
        z = [sum(x[i] * W[i][j] for i in range(len(x))) + (b[j] if b else 0.0) for j in range(len(W[0]))]
        a = masked([f(z_j) for z_j in z], masks[depth] if masks else None)
        passes.append((z, a))
        x = a
    return passes


def dropout_mask(keep: Sequence[float], rate: float) -> Row:
    """Inverted dropout (Srivastava et al., 2014): kept units (1) grow by 1 / (1 - rate), others are 0.

    >>> dropout_mask([1, 0, 1], 0.5)
    [2.0, 0.0, 2.0]
    """
    return [k / (1.0 - rate) for k in keep]


def masked(v: Row, mask: Row | None) -> Row:
    """v times mask, element by element; v itself without a mask."""
    return v if mask is None else [v_j * m_j for v_j, m_j in zip(v, mask, strict=True)]


# ----------------------------------------------------------------------------------------------------------
# Backward
# ----------------------------------------------------------------------------------------------------------
def backward(
    layers: Sequence[Layer], x: Row, passes: Passes, error: Row, masks: Masks | None = None
) -> tuple[list[Row], list[Gradient], Row]:
    """Deltas and gradients of every layer for one row, and the error felt by the inputs.

    ``error[k]`` is dE/da_k at the output (`Loss.delta`). From the last layer to the first, with e the error
    felt by a layer's outputs:

        delta_j = e_j f'(z_j)           dE/dz_j
        dW[i][j] = x_i delta_j          dE/dW_ij
        db[j] = delta_j                 dE/db_j
        e_i = sum_j W[i][j] delta_j     dE/dx_i: unit i is felt through every edge that leaves it

    >>> layers = [Layer([[1.0], [2.0]], [0.5], "relu")]
    >>> backward(layers, [3.0, 4.0], forward(layers, [3.0, 4.0]), [1.0])
    ([[1.0]], [([[3.0], [4.0]], [1.0])], [1.0, 2.0])
    """
    deltas: list[Row] = []
    gradients: list[Gradient] = []
    for depth in reversed(range(len(layers))):
        W, b, activation, _, _ = layers[depth]
        f_prime = ACTIVATIONS[activation].f_prime
        inputs = passes[depth - 1][1] if depth > 0 else x
        error = masked(error, masks[depth] if masks else None)
        delta = [e_j * f_prime(z_j) for e_j, z_j in zip(error, passes[depth][0], strict=True)]
        dW = [[x_i * delta_j for delta_j in delta] for x_i in inputs]
        deltas.insert(0, delta)
        gradients.insert(0, (dW, None if b is None else list(delta)))
        error = [sum(w_ij * delta_j for w_ij, delta_j in zip(row, delta, strict=True)) for row in W]
    return deltas, gradients, error


def penalty(layers: Sequence[Layer]) -> float:
    """Sum over the layers of l1 sum|W| + l2 sum W^2 (Keras' L1L2; biases are free).

    >>> penalty([Layer([[1.0, -2.0]], l1=0.5, l2=0.25)])
    2.75
    """
    weights = [(layer, w) for layer in layers for row in layer.W for w in row]
    return sum(layer.l1 * abs(w) + layer.l2 * w * w for layer, w in weights)


def penalized(layer: Layer, dW: Matrix) -> Matrix:
    """dW with the derivative of the layer's penalty, l1 sign(w) + 2 l2 w.

    >>> penalized(Layer([[1.0, -2.0]], l1=0.5, l2=0.25), [[0.0, 0.0]])
    [[1.0, -1.5]]
    """
    return added([[layer.l1 * sign(w) + 2.0 * layer.l2 * w for w in row] for row in layer.W], dW)


def value_and_grad(
    layers: Sequence[Layer],
    X: Sequence[Row],
    Y: Sequence[Any],
    loss: str = "half_squared_error",
    parameter: float | None = None,
    sample_weight: Sequence[float] | None = None,
    masks: Sequence[Masks | None] | None = None,
    summed: bool | None = None,
) -> tuple[float, list[Gradient], Matrix]:
    """E of a batch = sum_r w_r loss_r / sum_r w_r + penalty, its gradients, and the error felt by the inputs.

    scikit-learn's ``alpha`` is l2 = alpha / (2 sum_r w_r).

    >>> layers = [Layer([[2.0]], [0.0])]
    >>> value_and_grad(layers, [[1.0], [2.0]], [[0.0], [0.0]], "mse")
    (10.0, [([[10.0]], [6.0])], [[4.0], [8.0]])
    """
    weights = list(sample_weight) if sample_weight is not None else [1.0] * len(X)
    value = penalty(layers)
    errors = []
    for r, (x, y) in enumerate(zip(X, Y, strict=True)):
        share = weights[r] / sum(weights)
        y_hat = forward(layers, x, masks[r] if masks else None)[-1][1]
        value += share * LOSSES[loss].value(y_hat, y, parameter, summed)
        errors.append([share * e for e in LOSSES[loss].delta(y_hat, y, parameter, summed)])
    gradients, felt = pullback(layers, X, errors, masks)
    with_penalty = [(penalized(layer, dW), db) for layer, (dW, db) in zip(layers, gradients, strict=True)]
    return value, with_penalty, felt


def pullback(
    layers: Sequence[Layer],
    X: Sequence[Row],
    errors: Sequence[Row],
    masks: Sequence[Masks | None] | None = None,
) -> tuple[list[Gradient], Matrix]:
    """The gradients of any E of the outputs, and the error felt by the inputs: ``errors[r]`` is dE/d out of row r.

    What E is, nobody needs to know: the gradients are the sums over the rows of what `backward` makes of their
    errors.

    >>> pullback([Layer([[2.0]], [0.0])], [[1.0], [3.0]], [[1.0], [10.0]])
    ([([[31.0]], [11.0])], [[2.0], [20.0]])
    """
    total: list[Gradient] = [
        ([[0.0] * len(row) for row in layer.W], layer.b and [0.0] * len(layer.b)) for layer in layers
    ]
    felt = []
    for r, (x, error) in enumerate(zip(X, errors, strict=True)):
        mask = masks[r] if masks else None
        _, gradients, error_x = backward(layers, x, forward(layers, x, mask), error, mask)
        total = [
            (added(W, dW), b and added([b], [db or []])[0])
            for (W, b), (dW, db) in zip(total, gradients, strict=True)
        ]
        felt.append(error_x)
    return total, felt


def added(A: Matrix, B: Matrix) -> Matrix:
    """A + B."""
    return [[p + q for p, q in zip(row_a, row_b, strict=True)] for row_a, row_b in zip(A, B, strict=True)]


# ----------------------------------------------------------------------------------------------------------
# Update
# ----------------------------------------------------------------------------------------------------------
# Every rule is said for one parameter p with gradient g. ``s`` is what it remembers of this parameter from
# step to step, t = 1, 2, ... the number of the step, lr the learning rate; the new p is returned. `RULES`
# applies them to flat lists of parameters.
def sgd(
    p: float,
    g: float,
    s: State,
    t: int,
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    velocity: bool = False,
    weight_decay: float = 0.0,
) -> float:
    """p - lr g; with momentum v = mu v + g and p - lr v; Nesterov steps along g + mu v (torch.optim.SGD).

    ``velocity=True`` is the form of scikit-learn and Keras, v = mu v - lr g and p + v (Nesterov: p + mu v -
    lr g): the same for a constant learning rate, different when it changes.
    """
    g += weight_decay * p
    if velocity:
        v = s["v"] = momentum * s.get("v", 0.0) - lr * g
        return p + (momentum * v - lr * g if nesterov else v)
    v = s["v"] = momentum * s.get("v", 0.0) + g
    return p - lr * (g + momentum * v if nesterov else v)


def adagrad(
    p: float,
    g: float,
    s: State,
    t: int,
    lr: float,
    eps: float = 1e-10,
    initial_accumulator: float = 0.0,
    weight_decay: float = 0.0,
) -> float:
    """v = v + g^2; p - lr g / (sqrt(v) + eps) (Duchi et al., 2011; torch.optim.Adagrad)."""
    g += weight_decay * p
    v = s["v"] = s.get("v", initial_accumulator) + g * g
    return p - lr * g / (math.sqrt(v) + eps)


def rmsprop(
    p: float,
    g: float,
    s: State,
    t: int,
    lr: float,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> float:
    """v = alpha v + (1 - alpha) g^2; p - lr g / (sqrt(v) + eps) (Hinton, 2012; torch.optim.RMSprop)."""
    g += weight_decay * p
    v = s["v"] = alpha * s.get("v", 0.0) + (1.0 - alpha) * g * g
    return p - lr * g / (math.sqrt(v) + eps)


def adam(
    p: float,
    g: float,
    s: State,
    t: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    eps_inside: bool = True,
) -> float:
    """p - lr m_hat / (sqrt(v_hat) + eps) (Kingma and Ba, 2015).

    m_hat = m / (1 - beta1^t), v_hat = v / (1 - beta2^t); m and v are running means of g and g^2. This is
    torch.optim.Adam. ``eps_inside=False`` is scikit-learn's form, which adds eps to the uncorrected root:
    p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps).
    """
    g += weight_decay * p
    m = s["m"] = beta1 * s.get("m", 0.0) + (1.0 - beta1) * g
    v = s["v"] = beta2 * s.get("v", 0.0) + (1.0 - beta2) * g * g
    if eps_inside:
        return p - lr * (m / (1.0 - beta1**t)) / (math.sqrt(v / (1.0 - beta2**t)) + eps)
    return p - lr * math.sqrt(1.0 - beta2**t) / (1.0 - beta1**t) * m / (math.sqrt(v) + eps)


def adamw(
    p: float,
    g: float,
    s: State,
    t: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> float:
    """Adam from p - lr weight_decay p: decoupled decay (Loshchilov and Hutter, 2019; torch.optim.AdamW)."""
    return adam(p - lr * weight_decay * p, g, s, t, lr, beta1, beta2, eps)


def nadam(
    p: float,
    g: float,
    s: State,
    t: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    momentum_decay: float = 0.004,
    weight_decay: float = 0.0,
) -> float:
    """Adam with Nesterov momentum (Dozat, 2016; torch.optim.NAdam).

    With mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) and M_t = mu_1 ... mu_t:
    p - lr [(1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m] / (sqrt(v / (1 - beta2^t)) + eps).
    """
    g += weight_decay * p
    m = s["m"] = beta1 * s.get("m", 0.0) + (1.0 - beta1) * g
    v = s["v"] = beta2 * s.get("v", 0.0) + (1.0 - beta2) * g * g
    mu, mu_next = (beta1 * (1.0 - 0.5 * math.pow(0.96, k * momentum_decay)) for k in (t, t + 1))
    M = s["M"] = s.get("M", 1.0) * mu
    step = (1.0 - mu) / (1.0 - M) * g + mu_next / (1.0 - M * mu_next) * m
    return p - lr * step / (math.sqrt(v / (1.0 - beta2**t)) + eps)


def rprop(
    p: float,
    g: float,
    s: State,
    t: int,
    lr: float,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    step_min: float = 1e-6,
    step_max: float = 50.0,
) -> float:
    """p - sign(g) step: only the sign of g counts (Riedmiller and Braun, 1993; torch.optim.Rprop).

    A rule for full batches. The parameter's own step starts at lr, grows by eta_plus while the sign of g
    stays and shrinks by eta_minus where it changed; there g counts as 0, now and as the next step's "before".
    """
    change = sign(g * s.get("g", 0.0))
    factor = eta_plus if change > 0 else (eta_minus if change < 0 else 1.0)
    s["step"] = min(max(s.get("step", lr) * factor, step_min), step_max)
    s["g"] = 0.0 if change < 0 else g
    return p - sign(s["g"]) * s["step"]


class Update(NamedTuple):
    """A rule for all parameters: ``update(theta, grad, state, t, lr, **hyper)``, theta and grad flat lists.

    ``state`` is a dict, empty before the first step and changed in place: ``state[i]`` is what the rule
    remembers of theta[i].

    >>> state = {}
    >>> Update(sgd)([1.0, 2.0], [0.5, -0.5], state, 1, lr=1.0, momentum=0.9), state
    ([0.5, 2.5], {0: {'v': 0.5}, 1: {'v': -0.5}})
    """

    rule: Callable[..., float]

    def __call__(
        self, theta: Row, grad: Row, state: dict[int, State], t: int, lr: float, **hyper: Any
    ) -> Row:
        """The parameters after step t."""
        pairs = enumerate(zip(theta, grad, strict=True))
        return [self.rule(p, g, state.setdefault(i, {}), t, lr, **hyper) for i, (p, g) in pairs]


RULES: dict[str, Update] = {
    "sgd": Update(sgd),
    "adagrad": Update(adagrad),
    "rmsprop": Update(rmsprop),
    "adam": Update(adam),
    "adamw": Update(adamw),
    "nadam": Update(nadam),
    "rprop": Update(rprop),
}


def clip_by_global_norm(grad: Row, max_norm: float) -> Row:
    """The whole gradient, cut to length max_norm if longer (`torch.nn.utils.clip_grad_norm_` and its 1e-6).

    >>> [round(g, 6) for g in clip_by_global_norm([3.0, 4.0], 1.0)]
    [0.6, 0.8]
    """
    norm = math.sqrt(sum(g * g for g in grad))
    return [g * min(1.0, max_norm / (norm + 1e-6)) for g in grad]


def flatten(pairs: Sequence[tuple[Any, ...]]) -> Row:
    """Weights (row by row) then biases of layer 0, of layer 1, ...: takes layers or their gradients.

    >>> flatten([Layer([[1.0], [2.0]], [0.5])])
    [1.0, 2.0, 0.5]
    """
    return [v for W, b, *_ in pairs for row in [*W, b or []] for v in row]


def unflatten(theta: Row, layers: Sequence[Layer]) -> list[Layer]:
    """Layers like the given ones, with the parameters of theta.

    >>> unflatten([1.0, 2.0, 0.5], [Layer([[0.0], [0.0]], [0.0])])[0].W
    [[1.0], [2.0]]
    """
    values = iter(theta)
    result = []
    for layer in layers:
        W = [[next(values) for _ in row] for row in layer.W]
        result.append(layer._replace(W=W, b=layer.b and [next(values) for _ in layer.b]))
    return result


def updated(layer: Layer, dW: Matrix, db: Row | None, lr: float) -> Layer:
    """The layer one step of gradient descent further: W - lr dW, b - lr db (seeds: w_ij + eta delta_j x_i).

    >>> updated(Layer([[1.0]], [0.0]), [[2.0]], [1.0], lr=0.5)
    Layer(W=[[0.0]], b=[-0.5], activation='identity', l1=0.0, l2=0.0)
    """
    W = [[w - lr * d for w, d in zip(row, drow, strict=True)] for row, drow in zip(layer.W, dW, strict=True)]
    return layer._replace(
        W=W, b=None if layer.b is None else [p - lr * d for p, d in zip(layer.b, db or [], strict=True)]
    )


def train_step(
    layers: Sequence[Layer],
    X: Sequence[Row],
    Y: Sequence[Any],
    state: dict[int, State],
    t: int,
    lr: float,
    loss: str = "half_squared_error",
    rule: str = "sgd",
    max_grad_norm: float | None = None,
    **hyper: Any,
) -> tuple[list[Layer], float]:
    """One step of training on one batch: forward, backward, clip, update. Returns layers and loss before.

    >>> layers, x, y = example()
    >>> losses = []
    >>> for t in range(1, 4):
    ...     layers, value = train_step(layers, [x], [y], {}, t, lr=0.5)
    ...     losses.append(round(value, 4))
    >>> losses
    [0.1081, 0.1043, 0.1007]
    """
    value, gradients, _ = value_and_grad(layers, X, Y, loss)
    grad = flatten(gradients)
    if max_grad_norm is not None:
        grad = clip_by_global_norm(grad, max_grad_norm)
    return unflatten(RULES[rule](flatten(layers), grad, state, t, lr, **hyper), layers), value


def fit(
    layers: Sequence[Layer],
    X: Sequence[Row],
    Y: Sequence[Any],
    orders: Sequence[Sequence[int]],
    batch_size: int,
    lr: float,
    loss: str = "half_squared_error",
    rule: str = "sgd",
    **hyper: Any,
) -> tuple[list[Layer], Row]:
    """A pass over the rows of each order, in batches. Returns layers, and the mean loss of the rows of each pass.

    >>> layers, losses = fit([Layer([[0.0]], [0.0])], [[1.0], [1.0]], [[2.0], [2.0]], [[0, 1], [1, 0]], 1, 0.5)
    >>> losses
    [1.0, 0.0]
    """
    state: dict[int, State] = {}
    trained, losses, t = list(layers), [], 0
    for order in orders:
        total = 0.0
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            t += 1
            trained, value = train_step(
                trained, [X[r] for r in batch], [Y[r] for r in batch], state, t, lr, loss, rule, **hyper
            )
            total += value * len(batch)
        losses.append(total / len(order))
    return trained, losses


def fit_many(
    models: Sequence[Sequence[Layer]],
    X: Sequence[Row],
    Y: Sequence[Any],
    orders: Sequence[Sequence[Sequence[int]]],
    batch_size: int,
    lrs: Row,
    loss: str = "half_squared_error",
    rule: str = "sgd",
    **hyper: Any,
) -> list[tuple[list[Layer], Row]]:
    """`fit` for each model, with its own orders and learning rate: to train many models is to train each.

    >>> models = [[Layer([[0.0]], [0.0])], [Layer([[1.0]], [0.0])]]
    >>> fitted = fit_many(models, [[1.0]], [[2.0]], [[[0], [0]]] * 2, 1, [0.5, 0.1])
    >>> [[round(loss, 4) for loss in losses] for _, losses in fitted]
    [[2.0, 0.0], [0.5, 0.32]]
    """
    pairs = zip(models, orders, lrs, strict=True)
    return [fit(layers, X, Y, own, batch_size, lr, loss, rule, **hyper) for layers, own, lr in pairs]


def example() -> tuple[list[Layer], Row, Row]:
    """The worked example: 3 inputs, 2 hidden units, 1 output, all sigmoid, no biases; with its x and y."""
    hidden = Layer([[0.4, -0.4], [0.1, 0.4], [-0.2, 0.6]], None, "sigmoid")
    output = Layer([[0.4], [-0.3]], None, "sigmoid")
    return [hidden, output], [1.0, 0.5, -0.5], [1.0]
