"""Helpers of the kernel tests: compiled loops around kernels, guard bands, errors in ulp, networks of both kinds."""

import dataclasses
import inspect

import numba
import numpy as np
from hypothesis import strategies as st
from numba.core import config

from fastbp import reference
from fastbp.engine import Engine
from fastbp.kernels.machine.simd import lanes, load, store, traced
from fastbp.layers import Layer

INTERPRETED = bool(config.DISABLE_JIT)
BOUNDSCHECK = bool(config.BOUNDSCHECK)
# Enough elements around a buffer that a kernel which misses its end by a whole tile of vectors is seen.
BAND = 64


def compiled(function):
    """Compile a test's own loop with the options of the kernels; the plain function in the interpreter mode."""
    return numba.njit(error_model="numpy")(function)


def vectorwise(function, count=1):
    """Compile out = function(x) (or of two or three arrays) over arrays whose size is a multiple of the vector's."""
    if not function.__name__.isidentifier():
        function.__name__ = "of_a_test"  # lambdas: Numba sees a function of that name
    operation = traced(function)

    def one(x, out):
        for j in range(0, x.size, lanes(x)):
            store(out, j, operation(load(x, j)))

    def two(x, y, out):
        for j in range(0, x.size, lanes(x)):
            store(out, j, operation(load(x, j), load(y, j)))

    def three(x, y, z, out):
        for j in range(0, x.size, lanes(x)):
            store(out, j, operation(load(x, j), load(y, j), load(z, j)))

    return compiled((one, two, three)[count - 1])


def whole_vectors(x):
    """Return x lengthened to a multiple of the widest vector by repeating its last element."""
    missing = -len(x) % 16
    return np.concatenate([x, np.repeat(x[-1:], missing)])


def apply(loop, *arrays):
    """Return what a loop of `vectorwise` makes of arrays of any length."""
    padded = [whole_vectors(x) for x in arrays]
    out = np.empty_like(padded[0])
    with np.errstate(all="ignore"):
        loop(*padded, out)
    return out[: len(arrays[0])]


def ulp(values, dtype):
    """Return the distance between neighboring numbers of `dtype` at |values|, subnormals included."""
    info = np.finfo(dtype)
    _, exponent = np.frexp(np.abs(np.asarray(values, np.float64)))
    return np.ldexp(1.0, np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant))


class Guarded:
    """Parts of a flat buffer between bands of a value that no kernel writes; `intact` says whether they still hold it.

    `start` and `content` are the first part's, `starts` and `parts` all parts'.

    >>> g = Guarded(np.zeros(3), np.ones(2))
    >>> g.whole[g.starts[1] : g.starts[1] + 2], g.intact()
    (array([1., 1.]), True)
    """

    MARK = -123456.75

    def __init__(self, *contents):
        contents = [np.asarray(content) for content in contents]
        ends = np.cumsum([content.size + BAND for content in contents])
        self.starts = [int(end) - content.size for end, content in zip(ends, contents, strict=True)]
        self.start, self.size = self.starts[0], contents[0].size
        self.whole = np.full(int(ends[-1]) + BAND, self.MARK, contents[0].dtype)
        self.parts = [
            self.whole[start : start + content.size]
            for start, content in zip(self.starts, contents, strict=True)
        ]
        for part, content in zip(self.parts, contents, strict=True):
            part[...] = content.reshape(-1)

    @property
    def content(self):
        """The first part, a live view."""
        return self.parts[0]

    def intact(self):
        """Whether all bands are as they were."""
        ends = [0, *(start + part.size for start, part in zip(self.starts, self.parts, strict=True))]
        return all(np.all(self.whole[end : end + BAND] == self.MARK) for end in ends)


@dataclasses.dataclass
class Net:
    """The same random network for the engine and for the specification, which has the engine's numbers as floats."""

    engine: Engine
    layers: list[reference.Layer]

    def refresh(self):
        """Read the specification's parameters from the engine again, after training or an assignment."""
        for k, (w, b) in enumerate(zip(self.engine.weights, self.engine.biases, strict=True)):
            bias = None if b is None else b.astype(float).tolist()
            self.layers[k] = self.layers[k]._replace(W=w.astype(float).tolist(), b=bias)


def random_net(rng, n_inputs, layers, dtype, **extra):
    """Return a Net with random parameters, about as large as keeps activations near 1."""
    engine = Engine(n_inputs, layers, dtype, **extra)
    weights = [rng.normal(size=w.shape) / np.sqrt(w.shape[0]) for w in engine.weights]
    biases = [None if b is None else rng.normal(size=b.shape) / 2 for b in engine.biases]
    engine.set_parameters(weights, biases)
    net = Net(engine, [reference.Layer([], None, layer.activation, layer.l1, layer.l2) for layer in layers])
    net.refresh()
    return net


def targets(name, rng, n, k, dtype):
    """Return targets that suit a loss: classes as one-hot rows, labels, counts or numbers."""
    if name == "cross_entropy":
        return np.eye(k, dtype=dtype)[rng.integers(k, size=n)]
    if name == "binary_cross_entropy":
        return rng.integers(2, size=(n, k)).astype(dtype)
    if name == "poisson":
        return rng.integers(0, 4, size=(n, k)).astype(dtype)
    return rng.normal(size=(n, k)).astype(dtype)


def rows(array):
    """Return a matrix as the lists that the specification takes."""
    return np.asarray(array, np.float64).tolist()


def assert_near(got, want, dtype, digits_lost=2.0):
    """Assert that two arrays agree to the digits of `dtype`, of their largest element, but the last few."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    if want.size == 0:
        return
    room = np.finfo(dtype).eps * 10.0**digits_lost * max(1.0, float(np.max(np.abs(want))))
    worst = np.max(np.abs(got - want))
    assert worst <= room, f"off by {worst:.3g}, {worst / np.finfo(dtype).eps:.0f} eps: {got} is not {want}"


def assert_same_gradients(gradients, expected, dtype, digits_lost=2.5):
    """Compare engine.Gradients with the specification's list of (dW, db)."""
    for w, b, (dw, db) in zip(gradients.weights, gradients.biases, expected, strict=True):
        assert_near(w, dw, dtype, digits_lost)
        assert (b is None) == (db is None)
        if b is not None:
            assert_near(b, db, dtype, digits_lost)


MOST_UNITS, MOST_ROWS = (6, 4) if INTERPRETED else (40, 30)


@st.composite
def architectures(draw, most=MOST_UNITS, depth=4, **fixed):
    """Draw (n_inputs, layers): 1 to `depth` layers of 1 to `most` units, any activation, with and without bias."""
    widths = st.one_of(st.integers(1, most), st.sampled_from([1, 2, 3]))
    smooth = [name for name in reference.ACTIVATIONS if name != "exp"]
    layers = []
    for number in range(draw(st.integers(1, depth))):
        # e^z once, near the data: e^e^e^z has no digits left to compare
        names = list(reference.ACTIVATIONS) if number == 0 else smooth
        options = {
            "use_bias": draw(st.booleans()),
            "l1": draw(st.sampled_from([0.0, 0.0, 0.01])),
            "l2": draw(st.sampled_from([0.0, 0.0, 0.02])),
            **fixed,
        }
        layers.append(Layer(draw(widths), draw(st.sampled_from(names)), **options))
    return draw(widths), layers


def hyper_of(rule):
    """Return the arguments that the specification's rule takes of an engine's."""
    known = inspect.signature(reference.RULES[rule.kind].rule).parameters
    return {name: value for name, value in dataclasses.asdict(rule).items() if name in known}


class Specification:
    """A training run in plain Python, batch by batch."""

    def __init__(self, net, objective, rule, *, max_grad_norm=None, alpha=0.0):
        self.net, self.objective, self.rule = net, objective, rule
        self.max_grad_norm, self.alpha = max_grad_norm, alpha
        self.state, self.t = {}, 0

    def batch(self, x, y, lr, weights=None):
        """Take one step; return the batch's loss before it, penalties included."""
        self.t += 1
        layers = self.net.layers
        whole = len(x) if weights is None else sum(weights)
        penalized = [layer._replace(l2=layer.l2 + self.alpha / (2 * whole)) for layer in layers]
        value, gradients, _ = reference.value_and_grad(
            penalized, rows(x), rows(y), self.objective.name, self.objective.parameter, weights
        )
        grad = reference.flatten(gradients)
        if self.max_grad_norm is not None:
            grad = reference.clip_by_global_norm(grad, self.max_grad_norm)
        theta = reference.flatten(layers)
        theta = reference.RULES[self.rule.kind](theta, grad, self.state, self.t, lr, **hyper_of(self.rule))
        self.net.layers[:] = reference.unflatten(theta, layers)
        return value

    def run(self, x, y, order, batch_size, rates, weights=None):
        """Take a pass; return the sum over the batches of loss times rows."""
        total = 0.0
        for k, first in enumerate(range(0, len(order), batch_size)):
            chosen = order[first : first + batch_size]
            share = None if weights is None else weights[chosen].tolist()
            total += self.batch(x[chosen], y[chosen], float(rates[k]), share) * len(chosen)
        return total


def assert_same_parameters(engine, layers, dtype, digits_lost):
    for w, b, layer in zip(engine.weights, engine.biases, layers, strict=True):
        assert_near(w, layer.W, dtype, digits_lost)
        if b is not None:
            assert_near(b, layer.b, dtype, digits_lost)


def compare(net, session, spec, x, y, batch_size, rng, *, weights=None, passes=2, digits_lost=3.0):
    """Train both and compare losses and parameters after each pass."""
    dtype = net.engine.dtype
    n_batches = -(-len(x) // batch_size)
    for _ in range(passes):
        order = rng.permutation(len(x))
        rates = rng.uniform(0.01, 0.05, n_batches)
        got = session.run(x, y, order, rates, sample_weight=weights)
        want = spec.run(x, y, order, batch_size, rates, weights)
        assert_near(got, want, dtype, digits_lost)
        assert_same_parameters(net.engine, net.layers, dtype, digits_lost)
    assert session.step == spec.t
