"""
Where the weights start
=======================

Weights start at random, and where they start decides which minimum is found. ``seed`` chooses the start,
``initializer`` the distribution it is drawn from.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import fastbp as fb

# %%
# Exclusive or: the class is 1 where the two inputs differ in sign. Three hidden units can do it, if they
# start well.

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (200, 2)).astype("float32")
y = (X[:, 0] * X[:, 1] < 0).astype("float32")


def trained(seed, initializer="glorot_uniform"):
    hidden = fb.Dense(3, "tanh", initializer=initializer)
    net = fb.Sequential([hidden, fb.Dense(1, initializer=initializer)], n_inputs=2, seed=seed)
    history = net.fit(
        X, y, loss="binary_cross_entropy", optimizer=fb.Adam(0.03), epochs=300, batch_size=None, verbose=0
    )
    return net, history


# %%
# Twenty seeds. Some runs end in a minimum where two hidden units do the same work.

finals = [trained(seed)[1].loss[-1] for seed in range(20)]
for seed, loss in enumerate(finals):
    print(f"seed {seed:2}: loss {loss:.3f}")
best, worst = int(np.argmin(finals)), int(np.argmax(finals))

# %%
# All weights zero is the worst start of all: the hidden units are alike, each gets the same gradient, and
# they stay alike for ever; here they get none at all. Random numbers break the symmetry.

zeros, zeros_history = trained(0, "zeros")
print("after training from zeros:", [np.abs(W).max().item() for W in zeros.weights])

# %%
good, good_history = trained(best)
bad, bad_history = trained(worst)
figure, axes = plt.subplots(1, 3, figsize=(16, 4.4), layout="constrained")
fb.plot.loss_curve(
    good_history,
    bad_history,
    zeros_history,
    labels=[f"seed {best}", f"seed {worst}", "all zeros"],
    ax=axes[0],
    yscale="linear",
)
axes[0].set_title("three starts")
fb.plot.decision_boundary(good, X, y, ax=axes[1], labels=["same sign", "different"], output="logits")
axes[1].set_title(f"seed {best}")
fb.plot.decision_boundary(bad, X, y, ax=axes[2], labels=["same sign", "different"], output="logits")
axes[2].set_title(f"seed {worst}: another minimum")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
