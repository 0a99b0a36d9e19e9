r"""
Activations and their derivatives
=================================

A unit's output is :math:`a = f(z)`, and the error that flows back through it is multiplied by
:math:`f'(z)`. For the sigmoid, :math:`f' = f (1 - f)`: the derivative from the output, with nothing to
compute again.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import fastbp as fb

# %%
# Every activation is one entry of a table in the plain-Python specification: a function and its derivative.

z = np.linspace(-4, 4, 400)  # steps over the kinks
names = list(fb.reference.ACTIVATIONS)
print(len(names), "activations:", ", ".join(names))

# %%
# The compiled kernels give the same. A network of one unit, with weight 1 and no bias, is the activation
# itself, and the error felt by its input is the derivative.

for name, entry in fb.reference.ACTIVATIONS.items():
    unit = fb.Sequential([fb.Dense(1, name, use_bias=False)], n_inputs=1, dtype="float64")
    unit.set_weights([[[1.0]]])
    a = unit.predict(z[:, None])[:, 0]
    # with E = 1/2 (y - a)^2 and y = a - 1, dE/da is 1 for each of the n rows of the mean
    _, grads = unit.value_and_grad(z[:, None], a - 1, loss="half_squared_error", inputs=True)
    slope = grads.inputs[:, 0] * len(z)
    worst = max(
        np.abs(a - [entry.f(v) for v in z]).max(),
        np.abs(slope - [entry.f_prime(v) for v in z]).max(),
    )
    print(f"{name:13} largest difference {worst:.1e}")

# %%
# Hidden layers are usually ReLU, the output of a classifier usually sigmoid; any layer takes any of them.

net = fb.Sequential([fb.Dense(4, "relu"), fb.Dense(1, "sigmoid")], n_inputs=2, seed=0)
net.summary()

# %%
# Solid: the activation. Dashed: its derivative. Where the derivative is 0, no error comes through and the
# weights below learn nothing.

figure, axes = plt.subplots(3, 5, figsize=(15, 8), sharex=True, layout="constrained")
for ax, name in zip(axes.flat, names, strict=True):
    entry = fb.reference.ACTIVATIONS[name]
    ax.plot(z, [entry.f(v) for v in z], color="#0072b2", linewidth=2, label="f(z)")
    ax.plot(z, [entry.f_prime(v) for v in z], color="#d55e00", linewidth=1.6, linestyle="--", label="f'(z)")
    ax.set(title=name, ylim=(-1.6, 3.2))
    ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    ax.axvline(0, color="0.7", linewidth=0.8, zorder=0)
axes[0, 0].legend()

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
