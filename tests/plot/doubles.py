"""Stand-ins for models and results, and what a picture is asked."""

import types

import numpy as np


class Net:
    """A small network with what the pictures need of a Sequential."""

    def __init__(self, sizes, activations, *, bias=True, seed=0):
        rng = np.random.default_rng(seed)
        self.weights = [
            rng.standard_normal((i, o)) / np.sqrt(i) for i, o in zip(sizes[:-1], sizes[1:], strict=True)
        ]
        self.biases = [rng.standard_normal(o) * 0.1 if bias else None for o in sizes[1:]]
        self.layers = [
            types.SimpleNamespace(units=o, activation=a) for o, a in zip(sizes[1:], activations, strict=True)
        ]
        self.n_inputs, self.dtype = sizes[0], np.dtype("float64")
        self.engine = types.SimpleNamespace(hidden=self.hidden)
        self.evaluations = 0

    def hidden(self, x):
        functions = {"identity": lambda z: z, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh}
        layers = []
        for W, b, layer in zip(self.weights, self.biases, self.layers, strict=True):
            x = functions[layer.activation](x @ W + (0 if b is None else b))
            layers.append(x)
        return layers

    def predict(self, x):
        assert x.flags.c_contiguous and x.dtype == self.dtype
        return self.hidden(x)[-1]

    def copy(self):
        twin = object.__new__(Net)
        twin.__dict__.update(self.__dict__)
        twin.set_weights(self.weights, self.biases)
        twin.engine = types.SimpleNamespace(hidden=twin.hidden)
        return twin

    def set_weights(self, weights, biases):
        for old, new in zip(self.weights, weights, strict=True):
            assert old.shape == new.shape and old.dtype == new.dtype
        self.weights = [W.copy() for W in weights]
        self.biases = [None if b is None else b.copy() for b in biases]

    def evaluate(self, x, y, loss="mse"):
        assert loss == "mse"
        return float(np.mean((self.hidden(x)[-1] - y) ** 2))

    def value_and_grad(self, x, y, loss, inputs=False):
        """half_squared_error, or cross_entropy with class codes."""
        slopes = {"identity": np.ones_like, "sigmoid": lambda a: a * (1 - a), "tanh": lambda a: 1 - a * a}
        layers = self.hidden(x)
        if loss == "half_squared_error":
            delta = (layers[-1] - y) * slopes[self.layers[-1].activation](layers[-1])
            value = 0.5 * np.sum((layers[-1] - y) ** 2)
        else:
            p = np.exp(layers[-1])
            p /= p.sum()
            value, delta = -np.log(p[0, y[0]]), p - np.eye(p.shape[1])[y]
        before = [x, *layers]
        deltas, weights = [delta], []
        for level in range(len(self.weights) - 1, -1, -1):
            weights.insert(0, before[level].T @ delta)
            delta = delta @ self.weights[level].T
            if level:
                delta = delta * slopes[self.layers[level - 1].activation](before[level])
                deltas.insert(0, delta)
        biases = [None if b is None else d[0] for b, d in zip(self.biases, deltas, strict=True)]
        return value, types.SimpleNamespace(weights=weights, biases=biases, inputs=delta)


class Classifier:
    """Probability of each class falls with the distance from its center."""

    def __init__(self, centers, classes):
        self.centers, self.classes_ = np.array(centers, dtype=float), np.array(classes)

    def predict_proba(self, X):
        distance = ((np.asarray(X)[:, None, :] - self.centers) ** 2).sum(axis=2)
        p = np.exp(-distance)
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def assert_nothing_clipped(ax):
    """All that is drawn lies inside of the figure, to a pixel."""
    figure = ax.figure
    figure.canvas.draw()
    drawn = figure.get_tightbbox()  # inches
    slack = 1 / figure.dpi
    assert drawn.x0 > -slack and drawn.y0 > -slack, drawn
    width, height = figure.get_size_inches()
    assert drawn.x1 < width + slack and drawn.y1 < height + slack, drawn


def descend(gradient, start, rate, steps):
    x = np.asarray(start, dtype=float)
    path = [x]
    for _ in range(steps):
        x = x - rate * gradient(x)
        path.append(x)
    path = np.array(path)
    return types.SimpleNamespace(
        path=path, values=(path**2).reshape(len(path), -1).sum(1), learning_rate=rate
    )


def surface_values(ax):
    """Least and greatest contour level."""
    return ax.collections[0].levels[[0, -1]]
