"""
Optimizers compared
===================

Plain descent takes the same multiple of the gradient everywhere. Momentum remembers where it was going;
Adagrad, RMSProp and Adam give every parameter a step size of its own, from the gradients it has had.
"""

import sys

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fastbp as fb

# %%
# In a ravine
# -----------
# Twenty times steeper across than along: the rate that does not run away across is too small along. The
# optimizers that train networks take any function here.


def ravine(x):
    return 0.5 * (x[0] ** 2 + 20 * x[1] ** 2)


def gradient(x):
    return [x[0], 20 * x[1]]


optimizers = {
    "SGD": fb.SGD(0.09),
    "momentum": fb.SGD(0.04, momentum=0.7),
    "Adagrad": fb.Adagrad(1.0),
    "RMSProp": fb.RMSProp(0.1, alpha=0.9),
    "Adam": fb.Adam(0.3),
}
paths = {}
for name, optimizer in optimizers.items():
    paths[name] = fb.gradient_descent(ravine, gradient, [-4.0, 1.0], max_iter=40, optimizer=optimizer)
    print(f"{name:9} after 40 steps: f = {paths[name].values[-1]:.1e}")

# %%
# On handwritten digits
# ---------------------
# 1797 pictures of 8 by 8, ten classes. The same network, the same order of the data.

X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
runs = {}
for name, optimizer in {
    "SGD": fb.SGD(0.1),
    "momentum": fb.SGD(0.1, momentum=0.9),
    "Adagrad": fb.Adagrad(0.03),
    "RMSProp": fb.RMSProp(0.003),
    "Adam": fb.Adam(0.003),
}.items():
    net = fb.Sequential([fb.Dense(32, "relu"), fb.Dense(10)], n_inputs=64, seed=0)
    runs[name] = net.fit(X, y, loss="cross_entropy", optimizer=optimizer, epochs=15, batch_size=32, verbose=0)
    print(f"{name:9} loss after 15 epochs: {runs[name].loss[-1]:.4f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(14, 4.8), layout="constrained")
fb.plot.descent_path(ravine, *paths.values(), labels=list(paths), ax=axes[0])
axes[0].set_title("40 steps in a ravine")
fb.plot.loss_curve(*runs.values(), labels=list(runs), ax=axes[1])
axes[1].set_title("digits")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
