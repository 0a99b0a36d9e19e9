"""save and load of estimators: every parameter, class and state of training comes back."""

import numpy as np
import pytest

import fastbp as fb
from tests.formats.models import SMALL, data


def equal_state(a, b):
    """Parameters and public fitted attributes equal, types included."""
    assert repr(a.get_params()) == repr(b.get_params())
    assert {name for name in vars(a) if name.endswith("_")} == {
        name for name in vars(b) if name.endswith("_")
    }
    for name, value in vars(a).items():
        if not name.endswith("_"):
            continue
        twin = getattr(b, name)
        assert type(value) is type(twin), name
        for old, new in zip(value, twin, strict=True) if isinstance(value, list) else [(value, twin)]:
            assert type(old) is type(new), name
            if isinstance(old, np.ndarray):
                assert old.dtype == new.dtype
                assert np.array_equal(old, new)
            else:
                assert old == new or old != old, name


CLASSES = [
    [0, 1],
    [3, -1, 10],
    ["no", "yes"],
    ["a", "bé", "cc"],
    [False, True],
    [0.0, 1.0, 2.0],
    np.array([1, 2, 3], dtype=np.uint8),
    np.array(["x", "y"], dtype=object),
    np.array(["x", "y"], dtype="<U20"),
    [7],
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("classes", CLASSES, ids=range(len(CLASSES)))
def test_classifier_comes_back(tmp_path, classes):
    x, y = data(classes)
    model = fb.MLPClassifier(**SMALL).fit(x, y)
    fb.formats.save(model, tmp_path / "m")
    twin = fb.load(tmp_path / "m")
    equal_state(model, twin)
    assert np.array_equal(model.predict(x), twin.predict(x))
    assert np.array_equal(model.predict_proba(x), twin.predict_proba(x))
    assert model.score(x, y) == twin.score(x, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("sparse", [False, True])
def test_multilabel_classifier_comes_back(tmp_path, sparse):
    from scipy.sparse import csr_matrix, issparse

    x, _ = data()
    y = (x > 0).astype(int)
    model = fb.MLPClassifier(**SMALL).fit(x, csr_matrix(y) if sparse else y)
    fb.formats.save(model, tmp_path / "m")
    twin = fb.load(tmp_path / "m")
    old, new = model.predict(x), twin.predict(x)
    assert issparse(new) == issparse(old)
    assert np.array_equal(old.toarray() if issparse(old) else old, new.toarray() if issparse(new) else new)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"solver": "lbfgs"},
        {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": np.inf},
        {"early_stopping": True},
        {"activation": ["tanh", "mish"], "hidden_layer_sizes": [4, 3], "dropout": [0.1, 0.0]},
        {"loss": "poisson", "hidden_layer_sizes": np.array([4])},
        {"out_activation": "softplus", "loss": "huber", "max_grad_norm": np.float32(1.0)},
        {"hidden_layer_sizes": (), "random_state": np.random.RandomState(3)},
    ],
    ids=lambda params: "-".join(params),
)
def test_regressor_comes_back(tmp_path, dtype, params):
    x, y = data(dtype=dtype)
    y = np.abs(y) if params.get("loss") == "poisson" else y
    model = fb.MLPRegressor(**{**SMALL, **params}).fit(x, y)
    fb.formats.save(model, tmp_path / "m")
    twin = fb.load(tmp_path / "m")
    if not isinstance(model.random_state, np.random.RandomState):
        equal_state(model, twin)
    assert np.array_equal(model.predict(x), twin.predict(x))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["sgd", "adam", "nadam"])
def test_partial_fit_goes_on_as_if_never_saved(tmp_path, solver):
    x, y = data([0, 1, 2])
    model = fb.MLPClassifier(**SMALL | {"solver": solver})
    for _ in range(2):
        model.partial_fit(x, y, classes=[0, 1, 2])
    fb.formats.save(model, tmp_path / "m")
    twin = fb.load(tmp_path / "m")
    for _ in range(2):
        model.partial_fit(x, y)
        twin.partial_fit(x, y)
    equal_state(model, twin)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_warm_start_goes_on_as_if_never_saved(tmp_path):
    x, y = data([0, 1])
    model = fb.MLPClassifier(**SMALL | {"warm_start": True, "early_stopping": True}).fit(x, y)
    fb.formats.save(model, tmp_path / "m")
    twin = fb.load(tmp_path / "m")
    assert (twin._best_coefs is twin.coefs_) == (model._best_coefs is model.coefs_)
    equal_state(model.fit(x, y), twin.fit(x, y))


def test_unfitted_estimator_comes_back(tmp_path):
    model = fb.MLPClassifier((5, 4), class_weight={"a": 1.0, "b": 2.0}, random_state=3)
    fb.formats.save(model, tmp_path / "m")
    assert fb.load(tmp_path / "m").get_params() == model.get_params()


def test_column_names_come_back(tmp_path):
    pandas = pytest.importorskip("pandas")
    x, y = data()
    frame = pandas.DataFrame(x, columns=["a", "b", "ü"])
    model = fb.MLPRegressor(**SMALL | {"solver": "lbfgs", "max_iter": 200, "tol": 1.0}).fit(frame, y)
    fb.formats.save(model, tmp_path / "m")
    twin = fb.load(tmp_path / "m")
    assert list(twin.feature_names_in_) == ["a", "b", "ü"]
    assert np.array_equal(twin.predict(frame), model.predict(frame))


def test_callbacks_are_not_saved(tmp_path):
    model = fb.MLPRegressor(callbacks=[object()])
    with pytest.warns(UserWarning, match="callbacks are live objects and are not saved"):
        fb.formats.save(model, tmp_path / "m")
    assert fb.load(tmp_path / "m").callbacks is None
    assert len(model.callbacks) == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_attributes_that_do_not_fit_are_not_saved(tmp_path):
    x, y = data()
    model = fb.MLPRegressor(**SMALL).fit(x, y)
    model.coefs_[0] = np.zeros((7, 4))
    with pytest.raises(
        ValueError, match=r"weights of layer 0 must be float64 \(3, 4\), got float64 \(7, 4\)"
    ):
        fb.formats.save(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_parameter_that_cannot_be_saved_is_named(tmp_path):
    generator = np.random.RandomState(np.random.PCG64(0))
    with pytest.raises(TypeError, match=r"cannot save params.random_state of type numpy\.random"):
        fb.formats.save(fb.MLPRegressor(random_state=generator), tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", -1.0),
        ("alpha", object()),
        ("solver", "newton"),
        ("hidden_layer_sizes", (4, 0)),
        ("activation", ["relu", "tanh"]),
        ("activation", ["eval"]),
        ("dropout", [0.1, 0.2]),
        ("dropout", [1.5]),
        ("dtype", "float16"),
        ("class_weight", {"no": -1.0}),
    ],
)
def test_impossible_parameters_are_not_saved(tmp_path, name, value):
    model = fb.MLPClassifier(**{**SMALL, name: value})
    with pytest.raises((TypeError, ValueError), match=name):
        fb.formats.save(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: vars(model).pop("n_iter_"), "a fitted MLPClassifier has n_iter_ too"),
        (lambda model: model.coefs_.append(model.coefs_[0]), "3 coefs_, but 2 intercepts_"),
        (
            lambda model: model.coefs_.__setitem__(0, None),
            r"coefs_\[0\] must be an array of kind f with 2 axes",
        ),
        (lambda model: setattr(model, "classes_", model.classes_[::-1]), "other classes than classes_"),
        (lambda model: setattr(model, "n_features_in_", 0), "n_features_in_ must be an integer >= 1, got 0"),
        (lambda model: setattr(model, "out_activation_", "eval"), "out_activation_ must be"),
        (lambda model: setattr(model, "t_", -1), "t_ must be an integer >= 0"),
        (lambda model: setattr(model, "loss_curve_", ["low"]), r"loss_curve_\[0\] must be a number"),
        (lambda model: setattr(model._optimizer, "step", -1), "step must be an integer >= 0, got -1"),
        (lambda model: setattr(model._optimizer, "beta_1", 2.0), "beta_1 must be a finite number in"),
        (
            lambda model: model._optimizer.detach() or model._optimizer.slots.pop("exp_avg"),
            "the optimizer keeps exp_avg, exp_avg_sq",
        ),
    ],
)
def test_what_load_would_refuse_is_not_saved(tmp_path, change, message):
    x, y = data(["no", "yes"])
    model = fb.MLPClassifier(**SMALL).partial_fit(x, y, classes=["no", "yes"])
    fb.formats.save(model, tmp_path / "m")
    old = (tmp_path / "m").read_bytes()
    change(model)
    with pytest.raises(ValueError, match=message):
        fb.formats.save(model, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == old


def test_attributes_of_the_user_are_kept(tmp_path):
    model = fb.MLPRegressor()
    model.note_ = "from Monday"
    fb.formats.save(model, tmp_path / "m")
    assert fb.load(tmp_path / "m").note_ == "from Monday"
