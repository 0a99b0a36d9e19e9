r"""
Backpropagation, step by step
=============================

Three inputs, two hidden units, one output, all sigmoid: the network of the tutorial, with numbers. `fastbp
explain` prints the same on the command line, for any network.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import fastbp as fb

# %%
# :math:`W` has a row per unit of the layer before and a column per unit of the layer after, so that
# :math:`w_{ij}` leads from i to j.

W01 = np.array([[0.4, -0.4], [0.1, 0.4], [-0.2, 0.6]])
W12 = np.array([[0.4], [-0.3]])
x, y, rate = np.array([1.0, 0.5, -0.5]), np.array([1.0]), 0.5


def f(v):
    return 1 / (1 + np.exp(-v))


# %%
# Forward
# -------

v_in_1 = W01.T @ x
v_out_1 = f(v_in_1)
v_in_2 = W12.T @ v_out_1
y_hat = f(v_in_2)
E = y - y_hat
print("v_in(1) ", v_in_1.round(5))
print("v_out(1)", v_out_1.round(5))
print("v_in(2) ", v_in_2.round(5))
print("y_hat   ", y_hat.round(5))
print("E       ", E.round(5))

# %%
# Backward
# --------
# The tutorials' delta points downhill, :math:`E f'`, and is added to the weights. fastbp's points uphill,
# as usual in the field, and is subtracted. A hidden unit's error sums over every edge that leaves it: that
# is the product with W.

delta_2 = -E * y_hat * (1 - y_hat)
delta_1 = (W12 @ delta_2) * v_out_1 * (1 - v_out_1)
delta_0 = W01 @ delta_1
print("delta(2)", delta_2.round(5))
print("delta(1)", delta_1.round(5))
print("delta(0)", delta_0.round(5), "felt by the inputs")

# %%
# Update
# ------

new_W01 = W01 - rate * np.outer(x, delta_1)
new_W12 = W12 - rate * np.outer(v_out_1, delta_2)

# %%
# The same from the library
# -------------------------
# The loss of the tutorial, :math:`E = \frac{1}{2} (y - \hat y)^2`, is ``half_squared_error``; ``inputs=True``
# asks for the error felt by the inputs, and one step of a `Trainer` is the update.

net = fb.Sequential(
    [fb.Dense(2, "sigmoid", use_bias=False), fb.Dense(1, "sigmoid", use_bias=False)],
    n_inputs=3,
    dtype="float64",
)
net.set_weights([W01, W12])
loss, grads = net.value_and_grad(x[None], y[None], loss="half_squared_error", inputs=True)
print("the same y_hat:  ", np.allclose(net.predict(x[None]), y_hat))
print("the same delta(0):", np.allclose(grads.inputs, delta_0))

# %%
# Forward, and backward: orange units should be larger to make the loss smaller.

figure, axes = plt.subplots(1, 2, figsize=(14, 5), layout="constrained")
fb.plot.network(net, x, ax=axes[0])
axes[0].set_title("forward: activations")
fb.plot.network(net, x, y, ax=axes[1])
axes[1].set_title("backward: deltas")

# %%
# One step:

trainer = fb.Trainer(net, loss="half_squared_error", optimizer=fb.SGD(rate))
losses = [trainer.step(x[None], y[None])]
print("the same weights:", np.allclose(net.weights[0], new_W01), np.allclose(net.weights[1], new_W12))

# %%
# And a hundred steps more.

losses += [trainer.step(x[None], y[None]) for _ in range(100)]
print(
    f"loss {losses[0]:.4f} -> {losses[1]:.4f} -> ... -> {losses[-1]:.4f}, y_hat = {net.predict(x[None])[0, 0]:.3f}"
)

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
