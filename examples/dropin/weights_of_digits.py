"""
What the first layer looks at
=============================

Each hidden unit of a network that reads digits has one weight for every pixel. Drawn as a picture, the weights show
what the unit looks for; noise there is a unit that has not learned, or an alpha that is too small.
"""

import sys
import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastbp import MLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.3, random_state=0)

# %%
# Twelve epochs, with and without a penalty on large weights. `verbose` prints the loss of each epoch in scikit-learn's
# words.

nets = {}
for alpha in (1e-4, 3.0):
    print(f"alpha = {alpha:g}")
    net = MLPClassifier(
        hidden_layer_sizes=(40,),
        alpha=alpha,
        solver="sgd",
        learning_rate_init=0.2,
        max_iter=12,
        random_state=1,
        verbose=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        nets[alpha] = net.fit(X_train, y_train)
    print(f"Training set score: {net.score(X_train, y_train):.4f}")
    print(f"Test set score: {net.score(X_test, y_test):.4f}")

# %%
# All pictures of a network are on one scale. The corners of the digits are always empty: there a weight stays what
# chance made it, unless the penalty takes it away.

figure = plt.figure(figsize=(13, 5), layout="constrained")
for part, (alpha, net) in zip(figure.subfigures(1, 2), nets.items(), strict=True):
    part.suptitle(f"alpha = {alpha:g}")
    limit = max(abs(net.coefs_[0].min()), abs(net.coefs_[0].max()))
    for ax, weights in zip(part.subplots(4, 8).flat, net.coefs_[0].T, strict=False):
        ax.imshow(weights.reshape(8, 8), cmap="RdBu", vmin=-limit, vmax=limit)
        ax.set(xticks=(), yticks=())

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
