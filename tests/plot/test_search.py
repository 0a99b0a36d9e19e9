"""`plot.search` by structure: points, bars, scales, labels; and as the picture that a reader opens."""

import itertools
import types

import numpy as np
import pytest

from fastbp import plot
from tests.plot.doubles import assert_nothing_clipped, legend

plt = pytest.importorskip("matplotlib.pyplot")

ALPHAS, SIZES = (1e-4, 1e-2, 1.0), ((16,), (32, 16))


def found(grid=None, scores=None, *, epochs=None, **attributes):
    """A search of a grid as SearchCV leaves it; alphas and sizes, all trained equally, if nothing else is said."""
    grid = {"alpha": ALPHAS, "hidden_layer_sizes": SIZES} if grid is None else grid
    params = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    scores = np.linspace(0.8, 0.9, len(params)) if scores is None else np.array(scores, dtype=float)
    results = {"params": params, "mean_test_score": scores, "std_test_score": np.full(len(params), 0.02)}
    if epochs is not None:
        results["epochs"] = np.array(epochs)
    attributes.setdefault("best_index_", int(np.nan_to_num(scores, nan=-1).argmax()))
    return types.SimpleNamespace(cv_results_=results, n_splits_=5, **attributes)


def points(ax, marker):
    """Where the points of a marker are, (n, 2)."""
    lines = [line for line in ax.lines if line.get_marker() == marker]
    return np.concatenate([line.get_xydata() for line in lines])


def test_a_line_for_each_value_of_the_second_parameter():
    ax = plot.search(found(scoring="accuracy"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("alpha", "accuracy, mean of 5 folds")
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1e\N{MINUS SIGN}4", "0.01", "1"]
    assert ax.get_legend().get_title().get_text() == "hidden_layer_sizes"
    assert legend(ax) == ["(16,)", "(32, 16)", "best, 0.9"]
    lines = [line for line in ax.lines if line.get_linestyle() == "-"]
    assert [line.get_xdata().tolist() for line in lines] == [list(ALPHAS)] * 2
    assert np.allclose(lines[0].get_ydata(), [0.8, 0.84, 0.88])
    assert points(ax, "o").shape == points(ax, "s").shape == (3, 2)
    assert np.allclose(points(ax, "*"), [[1.0, 0.9]])
    deviations = [path.vertices[:, 1] for path in ax.collections[0].get_paths()]
    assert np.allclose(deviations[0], [0.78, 0.82])


def test_all_points_are_in_the_picture():
    search = found(epochs=[4, 12, 4, 4, 12, 4])
    for ax in (plot.search(search), plot.search(search, x="hidden_layer_sizes", by=None)):
        low, high = ax.get_ylim()
        assert 0.6 < low < 0.78 and 0.92 < high < 1.1
        left, right = ax.get_xlim()
        assert left < 1e-4 and right > 1


def test_the_reader_chooses_the_parameters():
    ax = plot.search(found(), x="hidden_layer_sizes", by="alpha")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["(16,)", "(32, 16)"]
    assert legend(ax)[:3] == ["1e\N{MINUS SIGN}4", "0.01", "1"]
    ax = plot.search(found(), by="alpha")
    assert ax.get_xlabel() == "hidden_layer_sizes"


def test_candidates_that_differ_in_further_parameters_are_small_points():
    ax = plot.search(found(), by=None)
    assert legend(ax) == ["best, 0.9"]
    (line,) = (line for line in ax.lines if line.get_linestyle() == "-")
    assert np.allclose(line.get_ydata(), [0.82, 0.86, 0.9])  # the better of two sizes
    small = [line for line in ax.lines if line.get_markersize() == 3]
    assert np.allclose(small[0].get_ydata(), [0.8, 0.84, 0.88])


def test_points_that_were_drawn_at_random_have_no_line(rng):
    search = found({"alpha": (0.0,)})
    draws = [{"alpha": float(alpha), "activation": name} for alpha in rng.random(10) for name in ("relu",)]
    draws[3]["activation"] = "tanh"
    search.cv_results_ |= {
        "params": draws,
        "mean_test_score": rng.random(10),
        "std_test_score": np.zeros(10),
    }
    ax = plot.search(search)
    assert not [line for line in ax.lines if line.get_linestyle() == "-"]
    assert len(points(ax, "o")) + len(points(ax, "s")) == 10


def test_stopped_candidates_are_hollow():
    ax = plot.search(found(epochs=[4, 12, 4, 4, 12, 4], best_index_=4))
    assert legend(ax) == ["(16,)", "(32, 16)", "best, 0.88", "stopped early"]
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == ax.get_facecolor()]
    assert sum(len(line.get_xdata()) for line in hollow) == 4


def test_failed_candidates_are_counted():
    ax = plot.search(found(scores=[0.8, np.nan, 0.9, 0.7, np.nan, 0.6]))
    assert legend(ax)[-1] == "no score (2)"
    assert points(ax, "x")[:, 0].tolist() == [1e-4, 1.0]


def test_bars_of_epochs():
    ax = plot.search(found(epochs=[4, 12, 4, 36, 12, 4], best_index_=3), show="epochs")
    assert [bar.get_width() for bar in ax.patches] == [36, 12, 12, 4, 4, 4]
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[:2] == ["alpha 0.01, hidden_layer_sizes (32, 16)", "alpha 1, hidden_layer_sizes (16,)"]
    assert [text.get_text() for text in ax.texts][:3] == ["0.86", "0.88", "0.82"]
    assert ax.get_xlabel() == "epochs"
    colors = [bar.get_facecolor() for bar in ax.patches]
    assert colors.count(colors[0]) == 1
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the best on top


def test_a_failed_candidate_has_a_bar_of_its_epochs():
    ax = plot.search(found({"mlp__alpha": ALPHAS}, [0.8, np.nan, 0.9], epochs=[4, 4, 12]), show="epochs")
    assert [tick.get_text() for tick in ax.get_yticklabels()][-1] == "alpha 0.01"
    assert ax.texts[-1].get_text() == "no score"


@pytest.mark.parametrize(("count", "height"), [(100, None), (36, 2.0)])
def test_names_that_nobody_could_read_are_left_out(count, height):
    own = None if height is None else plt.figure(figsize=(6, height)).add_subplot()
    search = found({"alpha": tuple(range(1, count + 1))}, epochs=[1] * (count - 1) + [3])
    ax = plot.search(search, show="epochs", ax=own)
    assert len(ax.patches) == count
    assert ax.get_ylabel() == f"{count} candidates, the best first"
    assert not ax.texts


def test_rounds_of_scikit_learns_halving_are_one_candidate():
    """Its results have a row for each round that a candidate took part in."""
    halving = found({"alpha": ALPHAS}, resource="n_samples", best_index_=4)
    halving.cv_results_ = {
        "params": [{"alpha": alpha} for alpha in (*ALPHAS, 1e-2, 1.0)],
        "iter": np.array([0, 0, 0, 1, 1]),
        "n_resources": np.array([20, 20, 20, 60, 60]),
        "mean_test_score": np.array([0.9, 0.8, 0.7, 0.85, 0.95]),
        "std_test_score": np.zeros(5),
    }
    ax = plot.search(halving, show="epochs")
    assert [bar.get_width() for bar in ax.patches] == [60, 60, 20]
    assert ax.get_xlabel() == "n_samples"
    assert [text.get_text() for text in ax.texts] == ["0.95", "0.85", "0.9"]
    assert np.allclose(points(plot.search(halving), "o"), [[1e-2, 0.85], [1.0, 0.95], [1e-4, 0.9]])


def test_one_of_several_scorers():
    search = found(refit="f1")
    results = search.cv_results_
    for name in ("f1", "precision"):
        results |= {f"mean_test_{name}": results["mean_test_score"], f"std_test_{name}": np.zeros(6)}
    del results["mean_test_score"]
    assert plot.search(search).get_ylabel() == "f1, mean of 5 folds"
    results["mean_test_precision"] = np.array([0.9, 0.1, 0.1, 0.1, 0.1, 0.1])
    ax = plot.search(search, metric="precision")
    assert ax.get_ylabel() == "precision, mean of 5 folds"
    assert np.allclose(points(ax, "*"), [[1e-4, 0.9]])


def test_the_best_without_an_index_is_among_those_trained_longest():
    """`best_index_` is missing if nothing was refitted by a rule of the user's."""
    search = found(epochs=[4, 12, 4, 4, 12, 4], scores=[0.9, 0.5, 0.4, 0.3, 0.6, 0.2])
    del search.best_index_
    assert np.allclose(points(plot.search(search), "*"), [[1.0, 0.6]])


def test_a_grid_of_lists_has_parameters_that_are_not_set():
    search = found({"alpha": ALPHAS})
    search.cv_results_["params"] = [{"alpha": 1.0}, {"alpha": 2.0}, {"activation": "tanh"}]
    ax = plot.search(search, x="alpha")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1.0", "2.0", "not set"]


def test_one_candidate_is_a_point():
    ax = plot.search(found({"alpha": (0.1,)}, [0.5]))
    assert np.allclose(points(ax, "o"), [[0.1, 0.5]])


@pytest.mark.parametrize(
    "search, options, error, message",
    [
        (object(), {}, TypeError, "fitted must be a fitted search.*object has no cv_results_"),
        (found(), {"show": "time"}, ValueError, 'show must be "scores" or "epochs"'),
        (found(), {"x": "beta"}, ValueError, r"x must be one of .*\(alpha, hidden_layer_sizes\), got 'beta'"),
        (found(), {"by": "beta"}, ValueError, "by must be one of"),
        (found(), {"metric": "f1"}, ValueError, r"one of the search's scorers \(score\), got 'f1'"),
        (found(), {"show": "epochs"}, ValueError, "needs a search that counts them"),
        (found(scores=[np.nan] * 6, best_index_=0), {}, ValueError, "no candidate of the search has a score"),
        (found({}, [1.0]), {}, ValueError, "no parameters to draw"),
    ],
)
def test_search_errors(search, options, error, message):
    with pytest.raises(error, match=message):
        plot.search(search, **options)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("show", ["scores", "epochs"])
def test_png_of_a_real_search(show, tmp_path):
    """Of our search with halving: the picture holds all that is drawn."""
    from sklearn.datasets import load_iris

    import fastbp as fb

    X, y = load_iris(return_X_y=True)
    grid = {"alpha": [1e-4, 1e-2, 1.0, 100.0], "hidden_layer_sizes": [(4,), (8,), (8, 4)]}
    model = fb.MLPClassifier(max_iter=18, learning_rate_init=0.02, random_state=0)
    search = fb.SearchCV(model, grid, cv=3, eta=3, n_threads=1).fit(X, y)
    ax = plot.search(search, show=show)
    assert_nothing_clipped(ax)
    ax.figure.savefig(tmp_path / "search.png")
    height, width, _ = plt.imread(tmp_path / "search.png").shape
    assert height > 300 and width > 600
    if show == "epochs":
        assert len({bar.get_width() for bar in ax.patches}) == 3


def test_png_of_scikit_learns_searches(tmp_path):
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV

    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 3))
    y = X[:, 0] + rng.standard_normal(90) > 0
    grid = {"C": [0.01, 0.1, 1.0, 10.0], "fit_intercept": [True, False]}
    model = LogisticRegression()
    ax = plot.search(GridSearchCV(model, grid, cv=3).fit(X, y))
    assert legend(ax)[:2] == ["True", "False"]
    assert_nothing_clipped(ax)
    halving = HalvingGridSearchCV(model, grid, cv=3, min_resources=20, random_state=0).fit(X, y)
    ax = plot.search(halving, show="epochs")
    assert len(ax.patches) == 8 and ax.get_xlabel() == "n_samples"
    ax.figure.savefig(tmp_path / "halving.png")
    assert_nothing_clipped(ax)
