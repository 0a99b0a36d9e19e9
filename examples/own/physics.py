r"""
A law instead of data: gradients with respect to inputs
=======================================================

No row of data is given here, only a law: :math:`u' = u (1 - u)`, which says how fast a population grows, and where it
begins, u(0) = 0.2. The loss is how badly a network breaks the law. It has the derivative of the network by its
input in it, and its gradient comes from the program, not from the library.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import fastbp as fb

# %%
# The network and its derivative
# ------------------------------
# :math:`u(t) = 0.2 + t N(t)` begins where it must, whatever the network N says, and :math:`u' = N + t N'`. For
# dE/d out = 1, ``pullback`` gives the error felt by each input: that is N', to the last digits.

net = fb.Sequential(
    [fb.Dense(32, "tanh"), fb.Dense(32, "tanh"), fb.Dense(1)], n_inputs=1, dtype="float64", seed=0
)
trainer = fb.Trainer(net, optimizer=fb.Adam(fb.CosineDecay(3e-3, total=3000)))


def state(t):
    """Return u, and by how much u' breaks the law."""
    N, slope = net.predict(t), net.pullback(t, np.ones_like(t)).inputs
    u = 0.2 + t * N
    return u, N + t * slope - u * (1 - u)


# %%
# The gradient of the loss
# ------------------------
# The loss is the mean of the squares of the residual r. By N(t) it changes by :math:`2 r (1 - t (1 - 2 u)) / n`, by
# N'(t) by :math:`2 r t / n`. What a change of N' means for the parameters is a second derivative. The difference of
# two outputs has the same one, but for rounding: :math:`N'(t) \approx (N(t + h) - N(t - h)) / 2 h` (Chiu et al., 2022).
# So the rows of a step are t, t + h and t - h, each with its part of dE/d out.

h = 1e-4
rng = np.random.default_rng(0)
losses = []
for _ in range(3000):
    t = 5 * (np.arange(64) + rng.random(64))[:, None] / 64
    u, residual = state(t)
    by_N = 2 * residual * (1 - t * (1 - 2 * u)) / len(t)
    by_slope = 2 * residual * t / len(t)
    trainer.step_from(
        np.concatenate([t, t + h, t - h]),
        np.concatenate([by_N, by_slope / (2 * h), -by_slope / (2 * h)]),
    )
    losses.append(np.mean(residual**2))

# %%
# The solution is known: :math:`u = 1 / (1 + 4 e^{-t})`.

t = np.linspace(0, 5, 401).reshape(-1, 1)
exact = 1 / (1 + 4 * np.exp(-t))
u, residual = state(t)
print(f"loss {losses[0]:.3f} at first, {np.mean(losses[-100:]):.1e} at last")
print(f"largest distance from the solution: {np.abs(u - exact).max():.1e}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained")
axes[0].plot(t, exact, color="gray", linewidth=4, label="solution")
axes[0].plot(t, u, label="network")
axes[0].set(xlabel="t", ylabel="u")
axes[0].legend()
axes[1].semilogy(losses, linewidth=0.5)
axes[1].set(xlabel="step", ylabel="mean square of u' - u (1 - u)")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
