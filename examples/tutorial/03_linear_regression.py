r"""
Linear regression by gradient descent
=====================================

:math:`\hat y = \sum_i w_i x_i + b` is a network without hidden layers: one unit, no activation. Its mean
squared error has the gradient :math:`\partial E / \partial w = \frac{2}{n} X^T (\hat y - y)`, and descent
must end where the textbook formula for least squares says.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

import fastbp as fb

# %%
# Real data: ten measurements of 442 diabetes patients, and how far the disease went in a year. Columns are
# scaled to mean 0 and deviation 1, so that one learning rate suits all weights.

data = load_diabetes(scaled=False)
X = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
y = (data.target - data.target.mean()) / data.target.std()

net = fb.Sequential([fb.Dense(1, initializer="zeros")], n_inputs=10, dtype="float64")

# %%
# The first gradient, beside the formula:

loss, grads = net.value_and_grad(X, y, loss="mse")
error = net.predict(X)[:, 0] - y
print("largest difference from the formula:", np.abs(grads.weights[0][:, 0] - 2 * X.T @ error / len(y)).max())

# %%
# Batch gradient descent: ``batch_size=None`` takes all rows for each step.

history = net.fit(X, y, loss="mse", optimizer=fb.SGD(0.2), epochs=3000, batch_size=None, verbose=0)

exact, *_ = np.linalg.lstsq(np.c_[X, np.ones(len(X))], y, rcond=None)
descended = net.weights[0][:, 0]
print(f"mean squared error {history.loss[0]:.4f} -> {history.loss[-1]:.4f}")
print("largest difference from least squares:", np.abs(descended - exact[:-1]).max())

# %%
# The loss falls fast at first. What takes long are two columns that say nearly the same (the blood serum
# measurements s1 and s2): along their difference the bowl is almost flat.

figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
fb.plot.loss_curve(history, ax=axes[0])
axes[0].set(title="batch gradient descent", xscale="log")
positions = np.arange(10)
axes[1].bar(positions - 0.2, exact[:-1], 0.4, label="least squares", color="0.75", edgecolor="0.3")
axes[1].bar(positions + 0.2, descended, 0.4, label="gradient descent", color="#0072b2")
axes[1].axhline(0, color="0.3", linewidth=0.8)
axes[1].set_xticks(positions, data.feature_names)
axes[1].set(title="the weights", ylabel="weight")
axes[1].legend()

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
