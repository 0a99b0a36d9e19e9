"""
Classification: a line, and what a hidden layer adds
====================================================

One unit divides the plane by a straight line. Classes that no line separates need a hidden layer: each
hidden unit draws a line of its own, and the output bends them together.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris, make_moons

import fastbp as fb

# %%
# A line is enough
# ----------------
# Two kinds of iris by the size of their petals. The network has one unit, whose output is the logit: a
# number above 0 says versicolor. Its loss is ``binary_cross_entropy``, which takes logits.

iris = load_iris()
kinds = iris.target < 2
X_iris, y_iris = iris.data[kinds, 2:], iris.target[kinds]
line = fb.Sequential([fb.Dense(1)], n_inputs=2, seed=0)
line.fit(
    X_iris, y_iris, loss="binary_cross_entropy", optimizer=fb.SGD(0.1), epochs=200, batch_size=10, verbose=0
)

# %%
# A line is not enough
# --------------------
# Two half moons, first with the same network, then with a hidden layer of 8 ReLU units.

X, y = make_moons(300, noise=0.15, random_state=0)
linear = fb.Sequential([fb.Dense(1)], n_inputs=2, seed=0)
hidden = fb.Sequential([fb.Dense(8, "relu"), fb.Dense(1)], n_inputs=2, seed=1)
for name, net in (("without hidden layer", linear), ("with 8 hidden units", hidden)):
    net.fit(X, y, loss="binary_cross_entropy", optimizer=fb.Adam(0.02), epochs=200, batch_size=20, verbose=0)
    accuracy = np.mean((net.predict(X)[:, 0] > 0) == y)
    print(f"half moons {name}: {accuracy:.1%} right")

# %%
# The shade is the probability of the second class, the black line where it is one half; ringed points are
# on the wrong side.

figure, axes = plt.subplots(1, 3, figsize=(16, 4.4), layout="constrained")
fb.plot.decision_boundary(line, X_iris, y_iris, ax=axes[0], labels=["setosa", "versicolor"])
fb.plot.decision_boundary(linear, X, y, ax=axes[1], labels=["upper", "lower"])
fb.plot.decision_boundary(hidden, X, y, ax=axes[2], labels=["upper", "lower"])
for ax, title in zip(axes, ("one unit", "one unit, not enough", "8 hidden ReLU units"), strict=True):
    ax.set_title(title)
axes[0].set(xlabel="petal length (cm)", ylabel="petal width (cm)")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
