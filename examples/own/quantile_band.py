r"""
Two quantiles that cannot cross: a loss of your own
===================================================

Three of four values shall lie below one curve and one of four below another. Two networks, one for each quantile, may
cross, since neither knows of the other. One network with two outputs can be built so that it cannot: the first
output is the lower curve, and the second, through softplus, the distance to the upper one.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import fastbp as fb

# %%
# The data
# --------
# A wave whose noise comes and goes, and vanishes in places: there the two quantiles touch.

rng = np.random.default_rng(0)
x = rng.uniform(-3, 3, (300, 1))
spread = 0.6 * np.sin(1.5 * x) ** 2
y = np.sin(2 * x) + spread * rng.normal(size=x.shape)

# %%
# The loss
# --------
# ``value`` is what each row costs, ``grad`` how that changes with each output. With the pinball loss
# :math:`\rho_q(e) = \max(q e, (q - 1) e)` of the errors e of both curves,
#
# .. math:: E = \rho_{0.25}(y - a) + \rho_{0.75}(y - a - s), \qquad s = \log(1 + e^b)
#
# where a and b are the outputs. y has one column and the network two outputs: what the columns of y mean is the
# loss's own affair.


def curves(out):
    """Return the two quantiles, the lower one first."""
    return out[:, 0], out[:, 0] + np.logaddexp(0, out[:, 1])


def pinball(e, q):
    return np.maximum(q * e, (q - 1) * e)


def value(y, out):
    low, high = curves(out)
    return pinball(y[:, 0] - low, 0.25) + pinball(y[:, 0] - high, 0.75)


def grad(y, out):
    low, high = curves(out)
    of_low = np.where(y[:, 0] < low, 0.75, -0.25)
    of_high = np.where(y[:, 0] < high, 0.25, -0.75)
    return np.column_stack([of_low + of_high, of_high / (1 + np.exp(-out[:, 1]))])


band = fb.Loss(value, grad, name="band")
largest = fb.check_grad(band, y[:100], rng.normal(size=(100, 2)))
print(f"the gradient is at most {largest:.0e} off finite differences")

# %%
# Training
# --------
# The loss goes where the name of one would. Beside it, one network for each quantile.

settings = {"optimizer": fb.Adam(fb.CosineDecay(1e-2)), "epochs": 200, "batch_size": 50, "verbose": 0}


def network(outputs):
    layers = [fb.Dense(32, "tanh"), fb.Dense(32, "tanh"), fb.Dense(outputs)]
    return fb.Sequential(layers, n_inputs=1, dtype="float64", seed=0)


net = network(2)
net.fit(x, y, loss=band, **settings)
apart = [network(1), network(1)]
for one, q in zip(apart, (0.25, 0.75), strict=True):
    one.fit(x, y, loss=f"quantile({q})", **settings)

grid = np.linspace(-3, 3, 1001).reshape(-1, 1)
low, high = curves(net.predict(grid))
below, above = (one.predict(grid)[:, 0] for one in apart)
bottom, top = curves(net.predict(x))
inside = np.mean((bottom < y[:, 0]) & (y[:, 0] < top))
print(f"one network: {100 * inside:.0f} % of the rows lie inside")
print(
    f"its curves cross at {np.sum(low > high)} of 1001 points, those of two networks at {np.sum(below > above)}"
)

# %%
figure, axes = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained", sharey=True)
for ax, pair, title in ((axes[0], (low, high), "one network"), (axes[1], (below, above), "two networks")):
    ax.plot(x, y, ".", markersize=2, color="gray")
    for curve in pair:
        ax.plot(grid, curve)
    ax.set(title=title, xlabel="x")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
