r"""
Balancing a pole: policy gradients in compiled code
===================================================

A cart may be pushed left or right; the pole on it must not fall. A network of 4 inputs and 2 outputs decides, and
learns from nothing but how long the pole stood. A thousand tries are simulated for it, each some hundreds of steps
of physics and network by turns. All of that is one compiled loop: environment, decisions, gradients, update.
"""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np
from numba import njit

import fastbp as fb

# %%
# The environment
# ---------------
# Barto, Sutton and Anderson's (1983) in the constants of OpenAI Gym's CartPole: state and action in, next state
# out. The pole has fallen beyond 12 degrees, or when the cart has left the track.


@njit
def push(s, action):
    """Move the state s = (position, speed, angle, angular speed) by 0.02 s; return whether the pole still stands."""
    force = 10.0 if action == 1 else -10.0
    sine, cosine = np.sin(s[2]), np.cos(s[2])
    pull = (force + 0.05 * s[3] ** 2 * sine) / 1.1
    turn = (9.8 * sine - cosine * pull) / (0.5 * (4.0 / 3.0 - 0.1 * cosine**2 / 1.1))
    drive = pull - 0.05 * turn * cosine / 1.1
    s += 0.02 * np.array([s[1], drive, s[3], turn])
    return abs(s[0]) < 2.4 and abs(s[2]) < 12 * np.pi / 180


# %%
# Actor and critic
# ----------------
# The actor's two outputs are logits: it pushes right with the probability that softmax gives. The critic learns
# how much longer the pole will stand from here. Both are ordinary models; ``compiled`` makes them arguments of
# compiled code.

actor = fb.Sequential([fb.Dense(32, "tanh"), fb.Dense(2)], n_inputs=4, dtype="float64", seed=0)
critic = fb.Sequential([fb.Dense(32, "tanh"), fb.Dense(1)], n_inputs=4, dtype="float64", seed=1)

# %%
# Learning
# --------
# REINFORCE (Williams, 1992): actions after which the pole stood longer than expected become more likely,
# :math:`\theta \leftarrow \theta + \eta \sum_t (G_t - V(s_t)) \nabla \log \pi(a_t | s_t)`, where G is the
# discounted time that was left and V what the critic expected. With the action as its target, the gradient of
# ``cross_entropy`` is just :math:`-\nabla \log \pi`: ``value_and_grad_one`` gives it for one state. The critic
# learns with ``train_one``, a step of stochastic gradient descent per state.


@njit
def learn(actor, critic, theta, n_episodes, lr, seed):
    """Train for so many tries of at most 500 steps; return how long the pole stood in each."""
    np.random.seed(seed)
    states, actions = np.empty((500, 4)), np.empty(500, np.int64)
    logits, expected, target, chosen = np.empty(2), np.empty(1), np.empty(1), np.empty(2)
    grad, total, square = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    lengths = np.empty(n_episodes)
    for episode in range(n_episodes):
        s = np.random.uniform(-0.05, 0.05, 4)
        steps, stands = 0, True
        while stands and steps < 500:
            states[steps] = s
            fb.kernels.predict_one(actor, s, logits)
            actions[steps] = np.random.random() < 1 / (1 + np.exp(logits[0] - logits[1]))
            stands = push(s, actions[steps])
            steps += 1
        lengths[episode] = steps
        # In units of 100 steps, discounted by 0.99; a pole that stands at the end would have gone on.
        left = 1.0 if stands else 0.0
        total[:] = 0.0
        for t in range(steps - 1, -1, -1):
            left = 0.01 + 0.99 * left
            fb.kernels.predict_one(critic, states[t], expected)
            chosen[:] = 0.0
            chosen[actions[t]] = 1.0
            fb.kernels.value_and_grad_one(actor, states[t], chosen, grad)
            total += (left - expected[0]) * grad
            target[0] = left
            fb.kernels.train_one(critic, states[t], target, 0.03)
        # RMSProp: a try of 500 steps must not move the actor 50 times as far as one of 10.
        square *= 0.95
        square += 0.05 * total * total
        theta -= lr * total / (np.sqrt(square) + 1e-8)
    return lengths


start = time.perf_counter()
arguments = actor.compiled(loss="cross_entropy"), critic.compiled(loss="mse"), actor.engine.theta
learn(*arguments, 0, 0.0, 0)
print(f"compiled in {time.perf_counter() - start:.1f} s")

start = time.perf_counter()
lengths = learn(*arguments, 1000, 2e-3, 0)
seconds = time.perf_counter() - start
rate = lengths.sum() / seconds
print(f"{len(lengths)} tries, {lengths.sum():.0f} steps in {seconds:.1f} s: {rate:,.0f} steps per second")
for first in range(0, len(lengths), 200):
    print(
        f"tries {first:3} to {first + 199:3}: the pole stood for {lengths[first : first + 200].mean():5.1f} steps"
    )

# %%
# Without dice
# ------------
# The trained actor is an ordinary model again. Now it always takes its more likely push, for 2000 steps.


@njit
def balance(actor, s, steps):
    """Push the cart by the actor; return the angles of the pole until it falls."""
    logits, angles = np.empty(2), np.empty(steps)
    for t in range(steps):
        fb.kernels.predict_one(actor, s, logits)
        angles[t] = s[2]
        if not push(s, int(logits[1] > logits[0])):
            return angles[: t + 1]
    return angles


angles = balance(arguments[0], np.array([0.0, 0.0, 0.05, 0.0]), 2000)
print(f"by its more likely push it stands for {len(angles)} of 2000 steps")

# %%
figure, axes = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained")
axes[0].plot(lengths, ".", markersize=2, color="gray")
axes[0].plot(np.convolve(lengths, np.ones(50) / 50, mode="valid"), label="mean of 50")
axes[0].set(xlabel="try", ylabel="steps until the pole fell")
axes[0].legend()
axes[1].plot(0.02 * np.arange(len(angles)), np.degrees(angles))
axes[1].set(xlabel="seconds", ylabel="angle of the pole in degrees")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
