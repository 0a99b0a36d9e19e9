r"""
Actor and critic in one network
===============================

One network sees where a cart and its pole are, and answers with three numbers: two logits, by which the cart is pushed
left or right, and how long it believes that the pole will stand. The gradient of these outputs is made by the
program, head by head, and goes back into the network with ``Trainer.step_from``.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import fastbp as fb

# %%
# Many carts at once
# ------------------
# Barto, Sutton and Anderson's (1983) cart and pole in the constants of OpenAI Gym's CartPole, an array of them.


def push(s, right):
    """Return the states after 0.02 s, and which poles have fallen (or carts have left the track)."""
    sine, cosine = np.sin(s[:, 2]), np.cos(s[:, 2])
    pull = (np.where(right, 10.0, -10.0) + 0.05 * s[:, 3] ** 2 * sine) / 1.1
    turn = (9.8 * sine - cosine * pull) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    drive = pull - 0.05 * turn * cosine / 1.1
    s = s + 0.02 * np.column_stack([s[:, 1], drive, s[:, 3], turn])
    return s, (np.abs(s[:, 0]) > 2.4) | (np.abs(s[:, 2]) > 12 * np.pi / 180)


# %%
# One network, two heads
# ----------------------
# A head is a slice of the outputs.

net = fb.Sequential([fb.Dense(64, "tanh"), fb.Dense(64, "tanh"), fb.Dense(3)], n_inputs=4, seed=0)
trainer = fb.Trainer(net, optimizer=fb.Adam(fb.CosineDecay(5e-3, total=150)), max_grad_norm=0.5)


def heads(out):
    """Return the probabilities of left and right, and the value."""
    chances = np.exp(out[:, :2] - out[:, :2].max(axis=1, keepdims=True))
    return chances / chances.sum(axis=1, keepdims=True), out[:, 2]


# %%
# Learning
# --------
# Advantage actor-critic (Mnih et al., 2016): 32 steps of 64 carts are a batch. R is the discounted reward that
# followed, A = R - V how much better that was than expected. With action a,
#
# .. math:: E = -A \log \pi(a) - 0.01 \, H(\pi) + \tfrac12 (R - V)^2
#
# averaged over the rows. By the logits it changes by :math:`A (\pi - 1_a) + 0.01 \, \pi (\log \pi + H)`, by the value
# by V - R.

rng = np.random.default_rng(0)
carts, steps, discount = 64, 32, 0.99
s, age, ages = rng.uniform(-0.05, 0.05, (carts, 4)), np.zeros(carts), []
for update in range(150):
    states = np.empty((steps, carts, 4))
    rights, falls = np.empty((steps, carts), int), np.empty((steps, carts), bool)
    for t in range(steps):
        states[t] = s
        rights[t] = rng.random(carts) < heads(net.predict(s))[0][:, 1]
        s, falls[t] = push(s, rights[t])
        age += 1
        over = falls[t] | (age >= 500)
        falls[t] = over
        ages.extend(age[over])
        s[over], age[over] = rng.uniform(-0.05, 0.05, (over.sum(), 4)), 0
    returns, follows = np.empty((steps, carts)), heads(net.predict(s))[1]
    for t in reversed(range(steps)):
        follows = 0.05 + discount * np.where(falls[t], 0.0, follows)
        returns[t] = follows
    x, right, returns = states.reshape(-1, 4), rights.reshape(-1), returns.reshape(-1)
    chances, value = heads(trainer.forward(x))
    better = (returns - value)[:, None]
    entropy = -(chances * np.log(chances)).sum(axis=1, keepdims=True)
    grad = np.empty((len(x), 3))
    grad[:, :2] = better * (chances - np.eye(2)[right]) + 0.01 * chances * (np.log(chances) + entropy)
    grad[:, 2] = value - returns
    trainer.step_from(x, grad / len(x))
    if update % 30 == 29:
        print(f"after {update + 1:3} updates the last 100 poles stood for {np.mean(ages[-100:]):3.0f} steps")

# %%
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
ax.plot(ages, ".", markersize=2, color="gray")
ax.plot(np.convolve(ages, np.ones(100) / 100, mode="valid"), label="mean of 100")
ax.set(xlabel="try", ylabel="steps until the pole fell (500 at most)")
ax.legend()

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
