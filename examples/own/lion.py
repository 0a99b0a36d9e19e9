r"""
Lion: an update rule of your own
================================

Lion (Chen et al., 2023) moves each parameter by the sign of a running mean of its gradients. A program found it among
many formulas. The library does not have it; a function of a few lines is enough.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastbp as fb

# %%
# The rule
# --------
# All parameters come as one array, and so does their gradient. ``state`` holds the arrays that ``Rule`` was asked to
# keep; a ``Checkpoint`` stores them. Schedules and clipping are the library's.
#
# .. math::
#    \theta \leftarrow \theta - \eta \, (\mathrm{sign}(0.9 \, m + 0.1 \, g) + \lambda \theta), \qquad
#    m \leftarrow 0.99 \, m + 0.01 \, g


def lion(theta, grad, state, step, rate, decay=0.1):
    way = np.sign(0.9 * state["m"] + 0.1 * grad)
    state["m"] = 0.99 * state["m"] + 0.01 * grad
    return theta - rate * (way + decay * theta)


# %%
# On digits
# ---------
# Each step has the size of the learning rate, whatever the gradient: Lion wants a third to a tenth of Adam's.

x, y = load_digits(return_X_y=True)
x, xv, y, yv = train_test_split((x / 16).astype("float32"), y, random_state=0)
histories = {}
for name, optimizer in {
    "AdamW": fb.AdamW(fb.CosineDecay(3e-3), weight_decay=0.1),
    "Lion": fb.Rule(lion, slots=["m"], learning_rate=fb.CosineDecay(1e-3)),
}.items():
    net = fb.Sequential([fb.Dense(64, "relu"), fb.Dense(10)], n_inputs=64, seed=0)
    histories[name] = net.fit(
        x,
        y,
        loss="cross_entropy",
        optimizer=optimizer,
        epochs=40,
        validation_data=(xv, yv),
        metrics="accuracy",
        verbose=0,
    )
    print(
        f"{name:6} accuracy {histories[name].val_accuracy[-1]:.3f}, loss {histories[name].val_loss[-1]:.3f}"
    )

# %%
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
for name, history in histories.items():
    ax.semilogy(history.val_loss, label=name)
ax.set(xlabel="epoch", ylabel="loss on held-out rows")
ax.legend()

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
