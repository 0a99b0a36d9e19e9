"""
Alpha and the boundary between classes
======================================

The penalty alpha keeps weights small, and with them the bends of the boundary. The network stands in a pipeline with
a scaler, as any estimator of scikit-learn would; a grid search then finds the best alpha.
"""

import sys

import matplotlib.pyplot as plt
from sklearn.datasets import make_circles, make_classification, make_moons
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastbp import MLPClassifier

problems = {
    "moons": make_moons(noise=0.3, random_state=0),
    "circles": make_circles(noise=0.2, factor=0.5, random_state=1),
    "two clouds": make_classification(
        n_features=2, n_redundant=0, n_informative=2, random_state=1, n_clusters_per_class=1
    ),
}
alphas = (0.01, 1.0, 10.0)

figure, axes = plt.subplots(len(problems), len(alphas), figsize=(11, 10), layout="constrained")
for row, (problem, (X, y)) in zip(axes, problems.items(), strict=True):
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=42)
    for ax, alpha in zip(row, alphas, strict=True):
        net = make_pipeline(
            StandardScaler(),
            MLPClassifier(
                alpha=alpha,
                hidden_layer_sizes=(10, 10),
                activation="tanh",
                learning_rate_init=0.02,
                max_iter=1000,
                random_state=1,
            ),
        )
        net.fit(X_train, y_train)
        score = net.score(X_test, y_test)
        print(f"{problem}, alpha {alpha:g}: {score:.3f} of the new rows right")
        DecisionBoundaryDisplay.from_estimator(
            net, X, ax=ax, cmap="RdBu", alpha=0.7, response_method="predict_proba"
        )
        ax.scatter(*X_train.T, c=y_train, cmap="RdBu", edgecolors="black", s=18)
        ax.scatter(*X_test.T, c=y_test, cmap="RdBu", edgecolors="black", s=18, alpha=0.5)
        ax.set(title=f"{problem}, alpha = {alpha:g}: {score:.2f}", xticks=(), yticks=())

# %%
# The search over alphas clones the pipeline, sets parameters by their names, and trains twelve networks.

X, y = problems["moons"]
search = GridSearchCV(net, {"mlpclassifier__alpha": [0.01, 0.1, 1.0, 10.0]}, cv=3).fit(X, y)
best = search.best_params_["mlpclassifier__alpha"]
print(f"best alpha for the moons: {best:g}, cross-validated {search.best_score_:.3f}")

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1])
else:
    plt.show()
