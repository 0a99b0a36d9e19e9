"""
A search that spends its time on the best
=========================================

Thirty-six networks for the handwritten digits: widths, depths, penalties and learning rates, five folds each.
`SearchCV` trains all of them a little, the best third three times as long, and the best of those to the end. A network
that goes on keeps its weights and its optimizer, so nothing is trained twice.
"""

import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import fastbp as fb

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split((X / 16).astype("float32"), y, random_state=0)

# %%
# The search
# ----------
# It has the attributes of scikit-learn's searches. `max_iter` is what a network gets that is never dropped; that it was
# reached is no news here.

warnings.simplefilter("ignore", ConvergenceWarning)
model = fb.MLPClassifier(max_iter=54, tol=0, n_iter_no_change=54, random_state=0)
parameters = {
    "hidden_layer_sizes": [(16,), (64,), (64, 32), (128,)],
    "alpha": [1e-4, 1e-2, 1.0],
    "learning_rate_init": [3e-4, 1e-3, 1e-2],
}
search = fb.SearchCV(model, parameters, cv=5, eta=3).fit(X_train, y_train)
print("best:", search.best_params_)
print(f"its score, mean of five folds: {search.best_score_:.4f}")
print(f"accuracy on {len(y_test)} new rows: {search.score(X_test, y_test):.4f}")

# %%
# What it cost
# ------------
# Trained to the end, all candidates would have taken 54 epochs each.

epochs = search.cv_results_["epochs"]
share = epochs.sum() / (54 * len(epochs))
print(
    f"epochs per fold: {epochs.sum():.0f} for {len(epochs)} candidates, {100 * share:.0f} % of the full grid"
)

# %%
# Scores over parameters
# ----------------------
# A filled point went all the way; a hollow one was stopped early, and its score is that of a network half trained.

figure, axes = plt.subplots(1, 2, figsize=(14, 7), layout="constrained")
fb.plot.search(search, x="alpha", by="learning_rate_init", ax=axes[0])
fb.plot.search(search, show="epochs", ax=axes[1])

# %%
# Without halving
# ---------------
# `eta=None` trains every candidate to its end, and the scores are those of scikit-learn's `GridSearchCV`. It says
# whether the halving dropped a better one.

full = fb.SearchCV(model, parameters, cv=5, eta=None, refit=False).fit(X_train, y_train)
scores = full.cv_results_["mean_test_score"]
given_up = scores.max() - scores[search.best_index_]
print(f"the best of the full grid: {full.best_params_}, {full.best_score_:.4f}")
print(
    f"halving gave up {given_up:.4f}; it picked number {1 + np.sum(scores > scores[search.best_index_])} of the grid"
)

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
