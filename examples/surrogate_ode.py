"""
A network in place of a slow simulation
=======================================

A star moves in the gravity of a galaxy of 4000 others. Each step of the integrator asks for the acceleration four
times, and each answer is a sum over all of them. A network that has learned the field answers the same question in a
microsecond, from *inside* the compiled integrator: ``net.compiled()`` is a tuple of arrays that any ``@njit`` function
takes.
"""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np
from numba import njit

import fastbp as fb

# %%
# The simulation
# --------------
# The stars of the galaxy stand still: a disk with a bar, seen from above, in units where all of them weigh 1 together.

rng = np.random.default_rng(0)
radius = rng.gamma(2.0, 0.45, 4000)
angle = rng.uniform(0, 2 * np.pi, 4000)
stars = np.column_stack([1.5 * radius * np.cos(angle), 0.8 * radius * np.sin(angle)])


@njit
def gravity(stars, x, out):
    """Write the acceleration at x: the sum of (s - x) / |s - x|^3 over the stars, softened as is the custom."""
    out[:] = 0.0
    for s in stars:
        dx, dy = s[0] - x[0], s[1] - x[1]
        square = dx * dx + dy * dy + 0.3**2
        weight = 1.0 / (len(stars) * square * np.sqrt(square))
        out[0] += weight * dx
        out[1] += weight * dy


@njit
def table(stars, points):
    """The accelerations at many points."""
    out = np.empty_like(points)
    for i in range(len(points)):
        gravity(stars, points[i], out[i])
    return out


# %%
# The surrogate
# -------------
# Twenty thousand points of the region are a fraction of what one orbit asks for.

points = rng.uniform(-3.0, 3.0, (20_000, 2))
field = table(stars, points)
scale = field.std()

net = fb.Sequential(
    [fb.Dense(48, "tanh"), fb.Dense(48, "tanh"), fb.Dense(2)], n_inputs=2, dtype="float64", seed=0
)
start = time.perf_counter()
net.fit(
    points[2000:],
    field[2000:] / scale,
    optimizer=fb.Adam(fb.OneCycle(1e-2)),
    epochs=60,
    batch_size=64,
    verbose=0,
)
seconds = time.perf_counter() - start
error = np.sqrt(np.mean((net.predict(points[:2000]) * scale - field[:2000]) ** 2)) / scale
print(f"trained in {seconds:.1f} s; error at 2000 other points: {100 * error:.2f} % of the field")

# %%
# The integrator
# --------------
# Runge and Kutta's, of fourth order, with one difference between its two versions: whom it asks for the acceleration.


@njit
def by_stars(stars, scale, x, out):
    gravity(stars, x, out)


@njit
def by_network(state, scale, x, out):
    fb.kernels.predict_one(state, x, out)
    out *= scale


def make_orbit(acceleration):
    @njit
    def orbit(source, scale, x, v, dt, steps):
        """Integrate from position x and velocity v; return the positions, shape (steps, 2)."""
        path = np.empty((steps, 2))
        k = np.empty((4, 2, 2))  # stage, position or velocity, coordinate
        for step in range(steps):
            path[step] = x
            for stage in range(4):
                h = 0.0 if stage == 0 else dt if stage == 3 else dt / 2
                previous = k[stage - 1]
                k[stage, 0] = v + h * previous[1]
                acceleration(source, scale, x + h * previous[0], k[stage, 1])
            x = x + dt / 6 * (k[0, 0] + 2 * k[1, 0] + 2 * k[2, 0] + k[3, 0])
            v = v + dt / 6 * (k[0, 1] + 2 * k[1, 1] + 2 * k[2, 1] + k[3, 1])
        return path

    return orbit


# %%
# The first call of each compiles it; the second is timed.

x, v, dt, steps = np.array([1.6, 0.0]), np.array([0.0, 0.55]), 0.01, 4000
paths, times = {}, {}
for name, acceleration, source in (("stars", by_stars, stars), ("network", by_network, net.compiled())):
    orbit = make_orbit(acceleration)
    orbit(source, scale, x, v, dt, 2)
    start = time.perf_counter()
    paths[name] = orbit(source, scale, x, v, dt, steps)
    times[name] = time.perf_counter() - start
    print(f"{4 * steps} accelerations by the {name:8} {1000 * times[name]:7.1f} ms")

apart = np.linalg.norm(paths["stars"] - paths["network"], axis=1)
size = np.linalg.norm(paths["stars"], axis=1).max()
print(
    f"{times['stars'] / times['network']:.0f} times faster; after {steps * dt:.0f} units of time the paths are"
)
print(f"{apart[-1]:.3f} apart, on an orbit of radius {size:.2f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
axes[0].scatter(*stars.T, s=0.5, color="gray", alpha=0.5)
axes[0].plot(*paths["stars"].T, label="sum over the stars")
axes[0].plot(*paths["network"].T, "--", label="network")
axes[0].set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", title="the orbit")
axes[0].legend()
axes[1].semilogy(dt * np.arange(steps), apart + 1e-9)
axes[1].set(xlabel="time", ylabel="distance of the two paths")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
