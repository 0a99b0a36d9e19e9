"""Models and data for the tests of the formats."""

import numpy as np

import fastbp as fb

SMALL = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}


def network(activation="tanh", dtype="float32", seed=0):
    """A network with dropout and a layer without biases; its other biases are not 0."""
    layers = [
        fb.Dropout(0.1),
        fb.Dense(7, activation),
        fb.Dropout(0.2),
        fb.Dense(5, activation, use_bias=False),
        fb.Dense(3),
    ]
    net = fb.Sequential(layers, n_inputs=4, dtype=dtype, seed=seed)
    for b in net.biases:
        if b is not None:
            b[...] = np.random.default_rng(seed).normal(size=b.shape)
    return net


def data(classes=None, dtype="float64"):
    """60 rows of 3 columns, with numbers as targets or with these classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(dtype)
    if classes is None:
        return x, x[:, 0] - x[:, 1] ** 2
    return x, np.asarray(classes)[np.digitize(x[:, 0], np.linspace(-1, 1, len(classes) + 1)[1:-1])]
