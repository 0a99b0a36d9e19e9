"""The estimators in scikit-learn's world: errors, state, pipelines, searches, routing, frames, files, memory."""

import copy
import pickle
import re
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from fastbp import MLPClassifier, MLPRegressor
from fastbp.estimators.regressor import r2

THEIRS = {
    MLPClassifier: sklearn.neural_network.MLPClassifier,
    MLPRegressor: sklearn.neural_network.MLPRegressor,
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_iris, y_iris = load_iris(return_X_y=True)
X_diabetes, y_diabetes = load_diabetes(return_X_y=True)
QUICK = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0}
BOTH = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])


def outcome(action):
    """Return what an action raised or warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            action()
        except Exception as error:
            return type(error), str(error), str(error.__cause__)
    return [(warning.category, str(warning.message)) for warning in caught]


# Errors and warnings ---------------------------------------------------------------------------------------

BAD_PARAMETERS = [
    {"hidden_layer_sizes": 0},
    {"hidden_layer_sizes": (5, -1)},
    {"hidden_layer_sizes": [5, 0]},
    {"hidden_layer_sizes": None},
    {"alpha": -1},
    {"alpha": "small"},
    {"batch_size": 0},
    {"batch_size": 1.5},
    {"batch_size": "all"},
    {"learning_rate": "fast"},
    {"learning_rate_init": 0},
    {"power_t": -1.0},
    {"max_iter": 0},
    {"max_iter": 2.5},
    {"shuffle": 1},
    {"random_state": "seed"},
    {"random_state": -1},
    {"tol": -1e-3},
    {"verbose": -1},
    {"warm_start": 0},
    {"momentum": 1.5},
    {"nesterovs_momentum": None},
    {"early_stopping": "yes"},
    {"validation_fraction": 1.0},
    {"beta_1": 1.0},
    {"beta_2": -0.1},
    {"epsilon": 0.0},
    {"n_iter_no_change": 0},
    {"n_iter_no_change": -np.inf},
    {"max_fun": 0},
    {"early_stopping": True, "validation_fraction": 0.0},
    {"early_stopping": True, "validation_fraction": 0.005},
    {"early_stopping": True, "validation_fraction": 0.999},
]


def sets_sorted(value):
    """Sort what stands in braces: scikit-learn lists the choices in a set's order, which differs between runs."""
    if not isinstance(value, str):
        return value
    return re.sub(r"\{([^}]*)\}", lambda found: str(sorted(found[1].split(", "))), value)


@BOTH
@pytest.mark.parametrize("params", BAD_PARAMETERS, ids=str)
def test_bad_parameters_are_refused_in_the_same_words(Estimator, params):
    def attempt(kind):
        return outcome(lambda: kind(**{**QUICK, **params}).fit(X_iris, y_iris))

    ours, theirs = attempt(Estimator), attempt(THEIRS[Estimator])
    assert isinstance(ours, tuple) and isinstance(theirs, tuple)
    assert [sets_sorted(part) for part in ours] == [sets_sorted(part) for part in theirs]


@BOTH
@pytest.mark.parametrize("params", [{"activation": "sine"}, {"activation": 3}, {"solver": "ftrl"}], ids=str)
def test_unknown_names_are_refused_with_what_there_is(Estimator, params):
    (name,) = params
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {Estimator.__name__} must be") as caught:
        Estimator(**params).fit(X_iris, y_iris)
    assert "tanh" in str(caught.value) or "adam" in str(caught.value)
    with pytest.raises(TypeError):  # InvalidParameterError is both
        Estimator(**params).fit(X_iris, y_iris)


BAD_DATA = {
    "nan in X": lambda: (np.where(X_iris > 7, np.nan, X_iris), y_iris),
    "inf in X": lambda: (np.where(X_iris > 7, np.inf, X_iris), y_iris),
    "nan in y": lambda: (X_iris, np.where(y_iris > 1, np.nan, y_iris)),
    "no rows": lambda: (X_iris[:0], y_iris[:0]),
    "one dimension": lambda: (X_iris[:, 0], y_iris),
    "three dimensions": lambda: (X_iris[None], y_iris),
    "lengths": lambda: (X_iris, y_iris[:-1]),
    "no columns": lambda: (X_iris[:, :0], y_iris),
    "text": lambda: (X_iris.astype(str).astype(object) + "x", y_iris),
    "complex": lambda: (X_iris * 1j, y_iris),
    "no y": lambda: (X_iris, None),
    "column y": lambda: (X_iris, y_iris[:, None]),
    "continuous y": lambda: (X_iris, y_iris + 0.5),
    "multiclass, several outputs": lambda: (X_iris, np.c_[y_iris, y_iris]),
    "batch": lambda: (X_iris[:3], y_iris[[0, 50, 100]]),
}


@BOTH
@pytest.mark.parametrize("what", BAD_DATA)
def test_bad_data_meets_the_same_answer(Estimator, what):
    X, y = BAD_DATA[what]()

    def attempt(kind):
        return outcome(lambda: kind(**QUICK, batch_size=5).fit(X, y))

    assert attempt(Estimator) == attempt(THEIRS[Estimator])


BAD_WEIGHTS = {
    "length": np.ones(149),
    "zeros": np.zeros(150),
    "nan": np.where(y_iris == 0, np.nan, 1.0),
    "matrix": np.ones((150, 2)),
    "zero batches": np.where(np.arange(150) < 100, 0.0, 1.0),
    "cancelling": np.where(np.arange(150) % 2, 1.0, -1.0),
    "scalar": 2.0,
}


@BOTH
@pytest.mark.parametrize("what", BAD_WEIGHTS)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_bad_weights_meet_the_same_answer(Estimator, what, solver):
    def attempt(kind):
        estimator = kind(**QUICK, batch_size=50, shuffle=False, solver=solver)
        return outcome(lambda: estimator.fit(X_iris, y_iris, sample_weight=BAD_WEIGHTS[what]))

    assert attempt(Estimator) == attempt(THEIRS[Estimator])


def sequences():
    """Yield (name, what to do with the class) for calls in an order that is refused."""
    halves = y_iris[:100]
    yield "partial_fit without classes", lambda k: k(**QUICK).partial_fit(X_iris, y_iris)
    yield "other classes", lambda k: k(**QUICK).partial_fit(X_iris, y_iris, classes=[0, 1])
    yield (
        "classes changed",
        lambda k: (
            k(**QUICK)
            .partial_fit(X_iris, y_iris, classes=[0, 1, 2])
            .partial_fit(X_iris, y_iris, classes=[1, 2])
        ),
    )
    yield (
        "a class never announced",
        lambda k: k(**QUICK).partial_fit(X_iris[:100], halves, classes=[0, 1]).partial_fit(X_iris, y_iris),
    )
    yield (
        "warm start, fewer classes",
        lambda k: k(**QUICK, warm_start=True).fit(X_iris, y_iris).fit(X_iris[:100], halves),
    )
    yield "partial_fit of lbfgs", lambda k: k(**QUICK, solver="lbfgs").partial_fit(X_iris, y_iris)
    yield (
        "partial_fit with early stopping",
        lambda k: k(**QUICK, early_stopping=True).partial_fit(X_iris, y_iris, classes=[0, 1, 2]),
    )
    yield "predict before fit", lambda k: k().predict(X_iris)
    yield "predict_proba before fit", lambda k: k().predict_proba(X_iris)
    yield "other columns", lambda k: k(**QUICK).fit(X_iris, y_iris).predict(X_iris[:, :3])
    yield "nan in predict", lambda k: k(**QUICK).fit(X_iris, y_iris).predict(np.full((1, 4), np.nan))
    yield "one row, one dimension", lambda k: k(**QUICK).fit(X_iris, y_iris).predict(X_iris[0])


@pytest.mark.parametrize(
    ("name", "action"), list(sequences()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_bad_sequences_meet_the_same_answer(name, action):
    ours = outcome(lambda: action(MLPClassifier))
    assert ours == outcome(lambda: action(sklearn.neural_network.MLPClassifier))
    assert isinstance(ours, tuple)


def test_warnings_name_the_callers_line():
    net = MLPRegressor(**QUICK, batch_size=1000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(X_diabetes, y_diabetes)
    assert {warning.category for warning in caught} == {UserWarning, ConvergenceWarning}
    assert {warning.filename for warning in caught} == {__file__}


def test_warnings_name_the_callers_line_through_scikit_learn():
    """However many of scikit-learn's own frames lie between."""
    pipe = make_pipeline(StandardScaler(), MLPRegressor(**QUICK, batch_size=1000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipe.fit(X_diabetes, y_diabetes)
    assert {warning.filename for warning in caught} == {__file__}


def test_diverging_fit_is_refused():
    net = MLPRegressor(
        **{**QUICK, "max_iter": 200}, activation="identity", solver="sgd", learning_rate_init=10.0
    )
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        net.fit(X_diabetes, y_diabetes)
    assert not hasattr(net, "coefs_")


# What a failed or interrupted fit leaves -------------------------------------------------------------------


@BOTH
def test_failed_fit_leaves_the_estimator_as_it_was(Estimator):
    net = Estimator(**QUICK, solver="sgd").fit(X_iris, y_iris)
    weights, losses = copy.deepcopy(net.coefs_), list(net.loss_curve_)
    bad = np.where(np.arange(150) < 50, 0.0, 1.0)
    net.set_params(shuffle=False, batch_size=50)
    before = dict(vars(net))
    for attempt in (
        lambda: net.fit(X_iris, y_iris, sample_weight=bad),
        lambda: net.fit(X_iris[:, :2] * np.nan, y_iris),
        lambda: net.partial_fit(X_iris[:, :2], y_iris),
        lambda: net.partial_fit(X_iris, y_iris, sample_weight=bad[::-1]),
    ):
        with pytest.raises((ValueError, ZeroDivisionError)):
            attempt()
        after = dict(vars(net))
        # Moments that have moved on cannot go back: they are dropped, and begin anew.
        after.setdefault("_optimizer", before["_optimizer"])
        assert after.keys() == before.keys()
        assert all(after[name] is before[name] for name in before)
        assert net.loss_curve_ == losses
        for old, new in zip(weights, net.coefs_, strict=True):
            assert_array_equal(old, new)
    assert not hasattr(net, "_optimizer")
    net.partial_fit(X_iris, y_iris)
    assert np.isfinite(net.coefs_[0]).all()


def state(net):
    """What the estimator holds now, but for its callbacks."""
    return {name: copy.deepcopy(value) for name, value in vars(net).items() if name != "callbacks"}


class Watch:
    """Notes what the estimator holds while it is fitted, and writes a note on it."""

    def __init__(self):
        self.seen = []

    def on_fit_begin(self, run):
        run.model.note = "mine"
        self.run = run

    def on_epoch_end(self, epoch, logs):
        self.seen.append(state(self.run.model))


@BOTH
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("again", ["fit", "warm", "partial_fit"])
def test_nothing_is_written_before_a_fit_has_succeeded(Estimator, solver, again):
    if again == "partial_fit" and solver == "lbfgs":
        pytest.skip("the classifier has no partial_fit with lbfgs")
    watch = Watch()
    net = Estimator(**QUICK, solver=solver, warm_start=again == "warm")
    net.fit(X_iris, y_iris)
    held, curve = net.coefs_, getattr(net, "loss_curve_", None)
    net.set_params(callbacks=[watch])
    before = state(net)
    (net.partial_fit if again == "partial_fit" else net.fit)(X_iris, y_iris)
    assert watch.run.model is net
    assert net.note == "mine"
    for seen in watch.seen:
        assert seen.pop("note") == "mine"
        assert repr(sorted(seen)) == repr(sorted(before))
        for name in ("coefs_", "intercepts_", "loss_", "n_iter_", "t_", "loss_curve_"):
            if name in before:
                assert repr(seen[name]) == repr(before[name])
    if solver == "adam" and again != "fit":
        # At its end it goes on with the lists and arrays that the user may hold.
        assert net.coefs_ is held and net.loss_curve_ is curve
        assert len(curve) == 5 + len(watch.seen)


class Interrupt:
    """Presses Ctrl-C after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@BOTH
def test_interrupt_keeps_what_was_trained(Estimator):
    net = Estimator(**{**QUICK, "max_iter": 50}, callbacks=[Interrupt(2)])
    with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
        net.fit(X_iris, y_iris)
    same = Estimator(**{**QUICK, "max_iter": 3}).fit(X_iris, y_iris)
    assert net.n_iter_ == 3
    assert_array_equal(net.coefs_[0], same.coefs_[0])


def test_interrupt_of_lbfgs_is_passed_on():
    net = MLPRegressor(**QUICK, solver="lbfgs", callbacks=[Interrupt(1)])
    with pytest.raises(KeyboardInterrupt):
        net.fit(X_diabetes, y_diabetes)
    assert not hasattr(net, "coefs_")


# State: the user's arrays, copies, pickles -----------------------------------------------------------------


@BOTH
def test_changed_weights_count(Estimator):
    net = Estimator(**QUICK).fit(X_iris, y_iris)
    net.predict(X_iris)
    net.coefs_[-1][...] = 0.0
    net.intercepts_[-1] = 5.0 - np.arange(len(net.intercepts_[-1]))
    assert_array_equal(net.predict(X_iris), 0 if Estimator is MLPClassifier else 5.0)
    net.partial_fit(X_iris, y_iris)
    assert_allclose(net.intercepts_[-1], 5.0 - np.arange(len(net.intercepts_[-1])), atol=0.1)


@BOTH
def test_partial_fit_trains_in_place(Estimator):
    net = Estimator(**QUICK).fit(X_iris, y_iris)
    arrays, before = net.coefs_, net.coefs_[0].copy()
    net.partial_fit(X_iris, y_iris)
    assert net.coefs_ is arrays
    assert (arrays[0] != before).any()
    assert all(array.flags.c_contiguous for array in (*net.coefs_, *net.intercepts_))


@BOTH
def test_read_only_weights_are_replaced(Estimator, tmp_path):
    path = tmp_path / "net.joblib"
    joblib.dump(Estimator(**QUICK).fit(X_iris, y_iris), path)
    net = joblib.load(path, mmap_mode="r")
    assert not net.coefs_[0].flags.writeable
    net.partial_fit(X_iris, y_iris)
    assert net.coefs_[0].flags.writeable


@BOTH
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_go_on_alike(Estimator, solver, duplicate):
    """A copy trains on exactly as the original: weights, moments, generator."""
    net = Estimator(**{**QUICK, "random_state": np.random.RandomState(3)}, solver=solver).fit(X_iris, y_iris)
    other = duplicate(net)
    assert_array_equal(net.predict(X_iris), other.predict(X_iris))
    if solver == "lbfgs":
        return
    for _ in range(2):
        net.partial_fit(X_iris, y_iris)
        other.partial_fit(X_iris, y_iris)
    assert_array_equal(net.coefs_[0], other.coefs_[0])
    again = duplicate(net)  # now in the midst of partial_fit calls
    net.partial_fit(X_iris, y_iris)
    again.partial_fit(X_iris, y_iris)
    assert_array_equal(net.coefs_[0], again.coefs_[0])
    assert_array_equal(net.coefs_[-1], again.coefs_[-1])


@BOTH
def test_state_is_plain_data(Estimator):
    """Files for other programs: nothing of the engine in the pickle."""
    net = Estimator(**QUICK).fit(X_iris, y_iris).partial_fit(X_iris, y_iris)
    net.predict(X_iris)
    assert b"engine" not in pickle.dumps(net)
    assert set(vars(net)) == set(vars(pickle.loads(pickle.dumps(net))))


@BOTH
def test_clone_takes_parameters_only(Estimator):
    net = Estimator(**QUICK, dropout=0.2, n_threads=1).fit(X_iris, y_iris)
    other = clone(net)
    assert other.get_params() == net.get_params()
    assert not hasattr(other, "coefs_")


def test_loss_is_positional_first_in_the_regressor_only():
    assert MLPRegressor("poisson", (3,)).get_params()["hidden_layer_sizes"] == (3,)
    assert MLPClassifier((3,), "tanh").activation == "tanh"
    assert MLPClassifier().loss == "log_loss" and "loss" not in MLPClassifier().get_params()
    with pytest.raises(TypeError):
        MLPClassifier((3,), "tanh", "sgd")


@BOTH
def test_parameters_are_scikit_learns_in_its_order(Estimator):
    theirs = list(THEIRS[Estimator]().get_params())
    ours = list(Estimator().get_params())
    assert set(theirs) <= set(ours)
    for name in theirs:
        assert getattr(Estimator(), name) == getattr(THEIRS[Estimator](), name)


@BOTH
def test_tags(Estimator):
    assert repr(get_tags(Estimator())) == repr(get_tags(THEIRS[Estimator]()))


def test_warm_start_needs_the_same_shape():
    net = MLPRegressor(**QUICK, warm_start=True).fit(X_diabetes, y_diabetes)
    net.set_params(hidden_layer_sizes=(7,))
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(7,\), but the network .* fitted with \(5,\)"):
        net.fit(X_diabetes, y_diabetes)
    net.set_params(hidden_layer_sizes=(5,))
    with pytest.raises(ValueError, match="y asks for 2 outputs, but the fitted network has 1"):
        net.fit(X_diabetes, np.c_[y_diabetes, y_diabetes])


@BOTH
def test_warm_start_may_change_solver_and_early_stopping(Estimator):
    """Where scikit-learn stumbles over records that are not there, they are begun."""
    net = Estimator(**QUICK, warm_start=True, solver="lbfgs").fit(X_iris, y_iris)
    weights = net.coefs_[0].copy()
    net.set_params(solver="adam", learning_rate_init=1e-9).fit(X_iris, y_iris)
    assert_allclose(net.coefs_[0], weights, atol=1e-6)
    assert len(net.loss_curve_) == 5
    net.set_params(early_stopping=True).fit(X_iris, y_iris)
    assert len(net.validation_scores_) == net.n_iter_ and net.best_loss_ is None
    net.set_params(early_stopping=False).fit(X_iris, y_iris)
    assert net.validation_scores_ is None and np.isfinite(net.best_loss_)


# scikit-learn's tools --------------------------------------------------------------------------------------


def test_pipeline_search_and_cross_validation():
    net = make_pipeline(
        StandardScaler(), MLPClassifier((8,), learning_rate_init=0.05, random_state=0, max_iter=60)
    )
    assert cross_val_score(net, X_iris, y_iris, cv=3).mean() > 0.9
    search = GridSearchCV(
        net, {"mlpclassifier__alpha": [1e-4, 100.0], "mlpclassifier__solver": ["adam", "lbfgs"]}, cv=3
    )
    search.fit(X_iris, y_iris)
    assert search.best_params_["mlpclassifier__alpha"] == 1e-4
    assert search.score(X_iris, y_iris) > 0.9
    theirs = make_pipeline(
        StandardScaler(),
        sklearn.neural_network.MLPClassifier(**search.best_estimator_[-1].to_sklearn().get_params()),
    )
    assert_array_equal(theirs.fit(X_iris, y_iris).predict(X_iris), search.best_estimator_.predict(X_iris))


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_ensemble_of_workers(backend):
    same = BaggingClassifier(MLPClassifier(**QUICK), n_estimators=4, random_state=0).fit(X_iris, y_iris)
    with joblib.parallel_config(backend, n_jobs=2):
        bag = BaggingClassifier(MLPClassifier(**QUICK), n_estimators=4, random_state=0).fit(X_iris, y_iris)
    assert_allclose(bag.predict_proba(X_iris), same.predict_proba(X_iris), rtol=1e-12)


def test_metadata_routing():
    weights = np.where(y_iris == 2, 1e-6, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        net = MLPClassifier((8,), max_iter=100, random_state=0, learning_rate_init=0.05)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, net.set_fit_request(sample_weight=True, validation_set=True))
        pipe.fit(X_iris, y_iris, sample_weight=weights, validation_set=(X_iris, y_iris))
        requests = MLPClassifier().set_partial_fit_request(classes=True).get_metadata_routing()
    assert not (pipe.predict(X_iris) == 2).any()
    assert len(net.validation_loss_curve_) == net.n_iter_
    assert requests.partial_fit.requests["classes"] is True


@pytest.mark.parametrize("weighted", [False, True])
def test_a_pipeline_transforms_the_validation_rows(weighted):
    """As of scikit-learn's HistGradientBoosting: the same numbers as with rows that were scaled before."""
    train, held = slice(0, 150, 2), slice(1, 150, 2)
    scaler = StandardScaler().fit(X_iris[train])
    weight = {"sample_weight_val": np.linspace(0.1, 2, 75)} if weighted else {}
    params = {**QUICK, "max_iter": 30, "early_stopping": True, "n_iter_no_change": 40}
    expected = MLPClassifier(**params).fit(
        scaler.transform(X_iris[train]),
        y_iris[train],
        X_val=scaler.transform(X_iris[held]),
        y_val=y_iris[held],
        **weight,
    )
    with sklearn.config_context(enable_metadata_routing=True):
        net = MLPClassifier(**params).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipe = make_pipeline(StandardScaler(), net, transform_input=["X_val"])
        pipe.fit(X_iris[train], y_iris[train], X_val=X_iris[held], y_val=y_iris[held], **weight)
    assert net.validation_scores_ == expected.validation_scores_
    assert net.validation_loss_curve_ == expected.validation_loss_curve_
    again = MLPClassifier(**params).fit(
        scaler.transform(X_iris[train]),
        y_iris[train],
        validation_set=(scaler.transform(X_iris[held]), y_iris[held], *weight.values()),
    )
    assert again.validation_loss_curve_ == expected.validation_loss_curve_


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_validation_rows_that_do_not_belong_together(Estimator):
    for given, message in (
        ({"X_val": X_iris}, "y_val was not provided"),
        ({"y_val": y_iris}, "X_val was not provided"),
        ({"sample_weight_val": y_iris}, "X_val was not provided"),
        ({"X_val": X_iris, "y_val": y_iris, "validation_set": (X_iris, y_iris)}, "not both"),
        ({"X_val": X_iris, "y_val": y_iris[:3]}, "X has 150 rows, but y has 3"),
        ({"X_val": X_iris, "y_val": y_iris, "sample_weight_val": [1.0]}, "sample_weight"),
    ):
        with pytest.raises(ValueError, match=message):
            Estimator(**QUICK).fit(X_iris, y_iris, **given)


def test_frames():
    pd = pytest.importorskip("pandas")
    frame, target = load_iris(return_X_y=True, as_frame=True)
    net = MLPClassifier(**QUICK, early_stopping=True).fit(frame, target)
    assert list(net.feature_names_in_) == list(frame.columns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_array_equal(net.predict(frame), net.predict(frame.copy()))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        net.predict(X_iris)
    with pytest.raises(ValueError, match="feature names should match"):
        net.predict(frame[frame.columns[::-1]])
    pipe = make_pipeline(StandardScaler(), net).set_output(transform="pandas").fit(frame, target)
    assert isinstance(pipe[:-1].transform(frame), pd.DataFrame)
    assert pipe[-1].n_features_in_ == 4


def test_polars():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(X_iris, schema=list("abcd"))
    net = make_pipeline(StandardScaler().set_output(transform="polars"), MLPRegressor(**QUICK))
    net.fit(frame, pl.Series(y_iris))
    assert list(net[-1].feature_names_in_) == list("abcd")
    plain = make_pipeline(StandardScaler(), MLPRegressor(**QUICK)).fit(X_iris, y_iris)
    assert_allclose(net.predict(frame), plain.predict(X_iris))


@BOTH
@pytest.mark.parametrize(
    "container",
    [
        scipy.sparse.csr_matrix,
        scipy.sparse.csc_matrix,
        scipy.sparse.coo_matrix,
        scipy.sparse.csr_array,
        scipy.sparse.lil_array,
    ],
)
def test_sparse_rows_are_rows(Estimator, container):
    X = np.where(X_iris > 2, X_iris, 0)
    dense = Estimator(**QUICK).fit(X, y_iris)
    sparse = Estimator(**QUICK).fit(container(X), y_iris)
    assert_allclose(sparse.coefs_[0], dense.coefs_[0], rtol=1e-9, atol=1e-12)
    assert_allclose(sparse.predict(container(X)), dense.predict(X), rtol=1e-9)
    assert_allclose(dense.predict(container(X)), dense.predict(X), rtol=1e-9)


def test_sparse_indicator_comes_back_sparse():
    X, Y = make_multilabel_classification(n_samples=60, random_state=0)
    net = MLPClassifier(**QUICK).fit(X, scipy.sparse.csr_matrix(Y))
    theirs = sklearn.neural_network.MLPClassifier(**QUICK).fit(X, scipy.sparse.csr_matrix(Y))
    answer = net.predict(X)
    assert answer.format == theirs.predict(X).format
    assert_array_equal(answer.toarray(), theirs.predict(X).toarray())
    assert isinstance(MLPClassifier(**QUICK).fit(X, Y).predict(X), np.ndarray)


def test_one_class_only():
    net = MLPClassifier(**QUICK).fit(X_iris, np.full(150, "only"))
    assert (net.predict(X_iris) == "only").all()
    assert net.predict_proba(X_iris).shape == (150, 2)


@pytest.mark.parametrize(
    "labels", [["a", "b", "c"], [True, False], [-1, 1], [10, 20, 30], [1.0, 2.0], [None]]
)
def test_labels_of_any_kind(labels):
    labels = np.array(labels, dtype=object if labels == ["a", "b", "c"] else None)
    if labels[0] is None:
        with pytest.raises((ValueError, TypeError)):
            MLPClassifier(**QUICK).fit(X_iris, labels[np.zeros(150, int)])
        return
    y = labels[np.arange(150) % len(labels)]
    ours = MLPClassifier(**QUICK).fit(X_iris, y).predict(X_iris)
    theirs = sklearn.neural_network.MLPClassifier(**QUICK).fit(X_iris, y).predict(X_iris)
    assert ours.dtype == theirs.dtype
    assert_array_equal(ours, theirs)


def test_column_target_is_raveled_with_a_warning():
    with pytest.warns(DataConversionWarning):
        net = MLPRegressor(**QUICK).fit(X_diabetes, y_diabetes[:, None])
    assert net.predict(X_diabetes).shape == y_diabetes.shape


def test_fortran_and_strided_rows():
    net = MLPRegressor(**QUICK).fit(np.asfortranarray(X_diabetes), y_diabetes)
    same = MLPRegressor(**QUICK).fit(X_diabetes, y_diabetes)
    assert_array_equal(net.coefs_[0], same.coefs_[0])
    wide = np.repeat(X_diabetes, 2, axis=1)
    assert_array_equal(net.predict(wide[:, ::2]), same.predict(X_diabetes))
    assert_array_equal(net.predict(X_diabetes[::-1]), same.predict(X_diabetes)[::-1])


def test_html_representation():
    html = MLPClassifier(**QUICK)._repr_html_()
    assert "MLPClassifier" in html and "hidden_layer_sizes" in html and "dropout" in html
    fitted = make_pipeline(StandardScaler(), MLPRegressor(**QUICK)).fit(X_iris, y_iris)._repr_html_()
    assert "MLPRegressor" in fitted and "fitted" in fitted


def test_not_fitted():
    for name in ("predict", "predict_proba", "predict_log_proba", "hidden_activations"):
        with pytest.raises(NotFittedError):
            getattr(MLPClassifier(), name)(X_iris)


@pytest.mark.parametrize("outputs", [1, 3])
def test_r2_is_scikit_learns(outputs):
    rng = np.random.RandomState(0)
    y = rng.normal(size=(20, outputs))
    weight = rng.uniform(size=20)
    constant = np.where(np.arange(outputs) == 0, 1.5, y)
    for target, prediction in (
        (y, y + rng.normal(size=y.shape)),
        (y, y),
        (constant, constant),
        (constant, y),
    ):
        for dtype in (np.float64, np.float32):
            pair = target.astype(dtype), prediction.astype(dtype)
            assert_allclose(r2(*pair, None), r2_score(*pair), rtol=1e-6, atol=1e-6)
            assert_allclose(r2(*pair, weight), r2_score(*pair, sample_weight=weight), rtol=1e-6, atol=1e-6)


def test_threads_may_share_an_estimator():
    net = MLPClassifier((32, 32), max_iter=5, random_state=0).fit(X_iris, y_iris)
    expected = net.predict_proba(X_iris)
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(net.predict_proba, [X_iris] * 200):
            assert_array_equal(answer, expected)


# Memory ----------------------------------------------------------------------------------------------------


def peak(action):
    """Return the most bytes allocated at one time during an action."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_predict_in_bounded_memory(method, sparse):
    """Beyond the answer, the memory does not grow with the rows, whatever has to be converted on the way."""
    net = MLPClassifier((64, 64), max_iter=1, random_state=0, dtype="float32").fit(X_iris, y_iris)

    def extra(n):
        X = np.asfortranarray(np.resize(X_iris, (n, 4)))
        X = scipy.sparse.csc_matrix(X).tocsr() if sparse else X
        answer = getattr(net, method)(X[:10])
        size = n * answer.itemsize * (answer.shape[1] if answer.ndim == 2 else 1)
        return peak(lambda: getattr(net, method)(X)) - size * (2 if method == "predict" else 1)

    few, many = extra(60_000), extra(240_000)
    assert many < few + 2_000_000


def test_blocks_answer_as_one(monkeypatch):
    X, Y = make_multilabel_classification(n_samples=70, random_state=0)
    nets = [
        (MLPClassifier(**QUICK).fit(X_iris, y_iris), X_iris),
        (MLPClassifier(**QUICK).fit(X_iris, y_iris == 1), X_iris),
        (MLPClassifier(**QUICK).fit(X, Y), X),
        (MLPRegressor(**QUICK).fit(X_iris, y_iris), X_iris),
        (MLPRegressor(**QUICK).fit(X, Y), X),
        (MLPRegressor(**QUICK, loss="poisson").fit(X, Y), X),
    ]
    whole = [(net.predict(rows), getattr(net, "predict_proba", net.predict)(rows)) for net, rows in nets]
    for room in ("predict", "regressor"):
        monkeypatch.setattr(f"fastbp.estimators.{room}.ROWS_AT_ONCE", 32)
    for (net, rows), answers in zip(nets, whole, strict=True):
        for method, answer in zip(("predict", "predict_proba"), answers, strict=True):
            again = getattr(net, method, net.predict)(rows)
            assert again.dtype == answer.dtype
            assert_allclose(again, answer, rtol=1e-12)
