r"""
Gradient descent in one and two dimensions
==========================================

Near x a function is almost a line: :math:`f(x + \epsilon) \approx f(x) + \epsilon f'(x)`. A small step
*against* the derivative makes f smaller; many such steps lead to a minimum. In many variables the gradient
takes the place of the derivative: :math:`x' = x - \eta \nabla f(x)`, where :math:`\eta` is the learning
rate.
"""

import sys

import matplotlib.pyplot as plt

import fastbp as fb

# %%
# One variable
# ------------
# A curve with two valleys. Where descent starts decides in which one it ends; it cannot know that the other
# one is deeper.


def f(x):
    return x**4 - 2 * x**2 + 0.5 * x


def f_prime(x):
    return 4 * x**3 - 4 * x + 0.5


left = fb.gradient_descent(f, f_prime, x0=-1.7, learning_rate=0.04)
right = fb.gradient_descent(f, f_prime, x0=1.6, learning_rate=0.04)
for result in (left, right):
    print(f"from {result.path[0]:5.2f} to {result.x:8.5f}, f = {f(result.x):8.5f}: {result.message}")

# %%
# Two variables
# -------------
# The same call with a vector. This gradient is numerical (``grad=None``): the function is evaluated a
# little to either side, in each direction.


def valleys(x):
    return x[0] ** 4 - 2 * x[0] ** 2 + 0.5 * x[0] + (x[1] - 0.3 * x[0]) ** 2


starts = ([-0.3, 1.8], [0.6, 1.8])
paths = [fb.gradient_descent(valleys, None, start, learning_rate=0.08) for start in starts]
for start, result in zip(starts, paths, strict=True):
    print(f"from {start} to {result.x.round(5)}, f = {valleys(result.x):8.5f}: {result.message}")

# %%
# The steps stand square on the contours, and shrink where the ground levels off.

figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
fb.plot.descent_path(f, left, right, ax=axes[0], xlim=(-2, 2), ylim=(-2, 3.5), tangents=2)
fb.plot.descent_path(valleys, *paths, ax=axes[1])
axes[0].set_title("two starts, two minima")
axes[1].set_title("the same in two variables")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
