"""
Learning strategies of stochastic gradient descent
==================================================

Constant and falling learning rates, with and without momentum, and Adam, on four small problems. The program uses
nothing that scikit-learn's `MLPClassifier` does not have: with the import of the next block changed back, it prints the
same scores and losses, only later.
"""

import sys
import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits, load_iris, make_circles, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import MinMaxScaler

from fastbp import MLPClassifier

# %%
# The strategies, by the parameters that make them. Each network starts from the same weights and sees the rows in the
# same order, for `random_state` says so.

strategies = {
    "constant rate": {"solver": "sgd", "learning_rate": "constant", "momentum": 0},
    "constant, momentum": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False},
    "constant, Nesterov": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": True},
    "inverse scaling": {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0},
    "inverse, Nesterov": {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.9},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "momentum": 0.9},
    "Adam": {"solver": "adam", "learning_rate_init": 0.01},
}

problems = {
    "iris": load_iris(return_X_y=True),
    "digits": load_digits(return_X_y=True),
    "circles": make_circles(noise=0.2, factor=0.5, random_state=1),
    "moons": make_moons(noise=0.3, random_state=0),
}

# %%
# Some of them are far from their end when the epochs are over, which is what we want to see, so the warnings about it
# are left out.

figure, axes = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
for ax, (problem, (X, y)) in zip(axes.flat, problems.items(), strict=True):
    X = MinMaxScaler().fit_transform(X)
    epochs = 15 if problem == "digits" else 400
    print(f"{problem}: {len(X)} rows, {epochs} epochs at most")
    for name, parameters in strategies.items():
        net = MLPClassifier(**{"learning_rate_init": 0.2, **parameters}, max_iter=epochs, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit(X, y)
        print(f"  {name:20} accuracy {net.score(X, y):.4f}, loss {net.loss_:.5f}, {net.n_iter_} epochs")
        ax.semilogy(range(1, net.n_iter_ + 1), net.loss_curve_, label=name)
    ax.set(title=problem, xlabel="epoch", ylabel="training loss")
axes[0, 0].legend()

# %%
# Momentum is worth more than any schedule here, and inverse scaling slows down long before the end: its rate falls with
# every row, not with every epoch.

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
