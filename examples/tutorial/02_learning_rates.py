"""
The learning rate: too small, right, too large
==============================================

The loss of a linear model against one of its weights is a parabola. On either side of it the derivative
points away from the minimum, so the step leads towards it. How far, the learning rate says.
"""

import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np

import fastbp as fb

# %%
# One weight, w, and the mean squared error of y = w x on a few points.

rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, 40)
y = 1.5 * x + rng.normal(0, 0.3, 40)


def loss(w):
    return np.mean((w * x - y) ** 2)


def slope(w):
    return np.mean(2 * (w * x - y) * x)


# %%
# The curvature of this parabola is :math:`2 \overline{x^2}`. A rate of 1 / curvature would jump to the
# minimum in one step, and from 2 / curvature on every step lands higher than it started. Descent that runs
# away is not hidden: a warning says so, and the result says ``diverged``.

curvature = 2 * np.mean(x**2)
rates = {"too small": 0.04, "right": 0.7, "oversteps": 1.8, "diverges": 2.1}
results = {}
with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # the last one: we know
    for name, share in rates.items():
        results[name] = fb.gradient_descent(loss, slope, -1.0, learning_rate=share / curvature, max_iter=200)
        print(f"{name:10} rate {share / curvature:.3f}: {results[name].message}")

# %%
# Too small crawls; the right one is there after a few steps; a large one oversteps to the other side and
# back again; beyond the limit each step lands higher.

figure, axes = plt.subplots(1, 4, figsize=(15, 4), sharey=True, layout="constrained")
for ax, (name, result) in zip(axes, results.items(), strict=True):
    shown = result.path[: 9 if result.diverged else 31]
    fb.plot.descent_path(loss, shown, ax=ax, xlim=(-2.2, 5.2), ylim=(-1, 22), tangents=0)
    ax.set_title(f"{name}: rate {result.learning_rate:.3f}")
    ax.set_xlabel("weight w")
    ax.set_ylabel("loss" if ax is axes[0] else "")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
