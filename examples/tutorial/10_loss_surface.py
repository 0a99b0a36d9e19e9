"""
The landscape of a network
==========================

With two weights the loss is a surface, and descent a path on it. With a hundred it still is, in a space
that nobody sees; a plane through it shows a part: here the plane in which training moved most.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import fastbp as fb

# %%
# A network learns a sine. A callback keeps the weights after each epoch.

x = np.linspace(-1, 1, 100, dtype="float32")[:, None]
y = np.sin(4 * x)
net = fb.Sequential([fb.Dense(16, "tanh"), fb.Dense(1)], n_inputs=1, seed=0)


class Footprints:
    """Copies of all weights and biases, one per epoch."""

    def __init__(self):
        self.path = [self.now()]

    def now(self):
        return [W.copy() for W in net.weights], [b.copy() for b in net.biases]

    def on_epoch_end(self, epoch, logs):
        self.path.append(self.now())


footprints = Footprints()
history = net.fit(
    x, y, loss="mse", optimizer=fb.Adam(0.02), epochs=60, batch_size=20, callbacks=[footprints], verbose=0
)
print(f"loss {history.loss[0]:.4f} -> {history.loss[-1]:.5f}, {net.n_parameters} parameters")

# %%
# Left, the plane of the two directions in which the weights moved most, with the way they took. Right, two
# random directions around the end of it, scaled unit by unit as in Li et al. (2018), so that networks can
# be compared.

figure, axes = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
fb.plot.loss_surface(net, x, y, path=footprints.path, ax=axes[0])
axes[0].set_title("the way of training")
fb.plot.loss_surface(net, x, y, ax=axes[1])
axes[1].set_title("around the minimum")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
