"""save and load: every number, parameter and class comes back; damaged and hostile files are refused."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save as to_bytes

import fastbp as fb
from fastbp.formats import FormatError, _container


def network(dtype="float32", seed=0):
    layers = [
        fb.Dropout(0.1),
        fb.Dense(5, "relu", l2=0.1),
        fb.Dropout(0.2),
        fb.Dense(3, "mish", use_bias=False),
        fb.Dense(2),
    ]
    net = fb.Sequential(layers, n_inputs=4, dtype=dtype, seed=seed)
    net.metadata["unit"] = "mm ü"
    return net


# What stands in a file, for forging others.


def opened(path):
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["fastbp"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def forge(path, document, arrays):
    """Write a file whose checksum is right, whatever it says."""
    document = {**document, "checksum": _container._checksum(document, arrays)}
    path.write_bytes(to_bytes(arrays, {"fastbp": json.dumps(document)}))


def altered(tree, path, value):
    """Copy of a JSON tree with one place changed; the value `...` deletes it."""
    if not path:
        return value
    twin = list(tree) if isinstance(tree, list) else dict(tree)
    if len(path) == 1 and value is ...:
        del twin[path[0]]
    else:
        twin[path[0]] = altered(twin[path[0]] if path[1:] else None, path[1:], value)
    return twin


def places(tree, path=()):
    """Every place of a JSON tree."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


# Sequential


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sequential_comes_back(tmp_path, rng, dtype):
    net = network(dtype)
    for b in net.biases:
        if b is not None:
            b[...] = rng.normal(size=b.shape)
    path = tmp_path / "m.safetensors"
    net.save(path)
    twin = fb.load(path)
    assert type(twin) is fb.Sequential
    assert twin.to_config() == net.to_config()
    assert twin.metadata == {"unit": "mm ü"}
    assert twin.dtype == np.dtype(dtype)
    for a, b in zip([*net.weights, *net.biases], [*twin.weights, *twin.biases], strict=True):
        assert (a is None and b is None) or (np.array_equal(a, b) and a.dtype == b.dtype)
    x = rng.normal(size=(9, 4)).astype(dtype)
    assert np.array_equal(net.predict(x), twin.predict(x))
    assert repr(twin.layers) == repr(net.layers)  # initializers too
    twin.weights[0][...] = 0.0  # the arrays are the model's own


def test_same_model_same_bytes(tmp_path):
    for name in ("a", "b"):
        network().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    network(seed=1).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_a_diverged_model_comes_back(tmp_path):
    net = network()
    net.weights[0][0, 0] = np.nan
    net.weights[0][0, 1] = np.inf
    net.save(tmp_path / "m")
    assert np.array_equal(fb.load(tmp_path / "m").weights[0], net.weights[0], equal_nan=True)


def test_failed_save_keeps_the_old_file(tmp_path):
    net = network()
    net.save(tmp_path / "m")
    old = (tmp_path / "m").read_bytes()
    net.metadata["bad"] = 3
    with pytest.raises(TypeError, match="metadata must map strings to strings, got 'bad': 3"):
        net.save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == old


def test_only_own_classes_are_saved(tmp_path):
    class Mine(fb.Sequential):
        """A subclass, which load could not make again."""

    for model in (Mine([fb.Dense(1)], n_inputs=1), object(), None):
        with pytest.raises(
            TypeError, match="model must be a fastbp Sequential, MLPClassifier or MLPRegressor"
        ):
            fb.formats.save(model, tmp_path / "m")


def test_loading_needs_no_pickle(tmp_path, monkeypatch):
    network().save(tmp_path / "m")
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    assert fb.load(tmp_path / "m").n_outputs == 2


# Estimators


def data(classes=None, dtype="float64"):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(dtype)
    if classes is None:
        return x, x[:, 0] - x[:, 1] ** 2
    return x, np.asarray(classes)[np.digitize(x[:, 0], np.linspace(-1, 1, len(classes) + 1)[1:-1])]


SMALL = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}


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
    with pytest.raises(TypeError, match="cannot save params.alpha of type builtins.object"):
        fb.formats.save(fb.MLPRegressor(alpha=object()), tmp_path / "m")


# Damaged files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network and a classifier, as files."""
    folder = tmp_path_factory.mktemp("files")
    network().save(folder / "net")
    x, y = data(["no", "yes"])
    model = fb.MLPClassifier(**SMALL | {"solver": "lbfgs", "max_iter": 200, "tol": 10.0}).fit(x, y)
    fb.formats.save(model, folder / "clf")
    model = fb.MLPClassifier(**SMALL | {"max_iter": 1}).partial_fit(x, y, classes=["no", "yes"])
    fb.formats.save(model, folder / "sgd")
    return folder


@pytest.mark.parametrize("name", ["net", "clf", "sgd"])
def test_truncated_files_are_refused(files, tmp_path, name):
    whole = (files / name).read_bytes()
    path = tmp_path / "cut"
    for tenth in range(10):
        path.write_bytes(whole[: len(whole) * tenth // 10])
        with pytest.raises(FormatError) as caught:
            fb.load(path)
        assert str(path) in str(caught.value)
    for extra in (whole[:-1], whole + b"\0", whole + whole):
        path.write_bytes(extra)
        with pytest.raises(FormatError):
            fb.load(path)


@pytest.mark.parametrize("name", ["net", "clf", "sgd"])
@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_a_flipped_byte_is_found(files, name, place, mask):
    whole = bytearray((files / name).read_bytes())
    index = int(place * len(whole))
    whole[index] ^= mask
    path = files / "flipped"
    path.write_bytes(whole)
    start, end = 8, 8 + int.from_bytes(whole[:8], "little")
    padding = start <= index < end and not (files / name).read_bytes()[index:end].strip()
    try:
        fb.load(path)
        # Blanks at the end of the header say nothing, in whatever kind of blank.
        assert padding
    except FormatError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("name", ["net", "sgd"])
def test_altered_header_is_found(files, tmp_path, name):
    """Words changed for others of the same length, so that the file stays well-formed."""
    whole = (files / name).read_bytes()
    path = tmp_path / "altered"
    changes = [
        (b"relu", b"selu"),
        (b'\\"mish\\"', b'\\"elu\\" '),
        (b"mm", b"cm"),
        (b'"shape":[4,5]', b'"shape":[5,4]'),
    ]
    changes += [(b'\\"no\\"', b'\\"mo\\"'), (b"random_state", b"random_stats"), (b"adam", b"adan")]
    changed = 0
    for old, new in changes:
        if old in whole:
            changed += 1
            path.write_bytes(whole.replace(old, new, 1))
            with pytest.raises(FormatError):
                fb.load(path)
    assert changed >= 3


# Hostile files: everything fits together but for one lie


def lie(files, tmp_path, name, place, value):
    document, arrays = opened(files / name)
    forge(tmp_path / "lie", altered(document, place, value), arrays)
    return tmp_path / "lie"


NET_LIES = [
    (("state", "config", "n_inputs"), 10**15),
    (("state", "config", "n_inputs"), 5),
    (("state", "config", "n_inputs"), -4),
    (("state", "config", "n_inputs"), {"$float": "nan"}),
    (("state", "config", "n_inputs"), 4.0),
    (("state", "config", "layers", 1, "units"), 10**15),
    (("state", "config", "layers", 1, "units"), {"$float": "nan"}),
    (("state", "config", "layers", 1, "units"), "5"),
    (("state", "config", "layers", 1, "activation"), "eval"),
    (("state", "config", "layers", 1, "class"), "Dropout"),
    (("state", "config", "layers", 1, "class"), "os.system"),
    (("state", "config", "layers", 1, "extra"), 1),
    (("state", "config", "layers", 0, "rate"), 2.0),
    (("state", "config", "layers", 3, "use_bias"), True),
    (("state", "config", "layers"), []),
    (("state", "config", "layers"), ...),
    (("state", "config", "dtype"), "float64"),
    (("state", "config", "dtype"), "object"),
    (("state", "config", "metadata"), {"a": 1}),
    (("state", "config", "metadata"), None),
    (("state", "config"), ...),
    (("state", "weights"), []),
    (("state", "weights", 0), {"$array": "weights.1"}),
    (("state", "weights", 0), None),
    (("state", "weights", 0), 1.0),
    (("state", "biases", 0), None),
    (("state", "biases", 1), {"$array": "biases.2"}),
    (("state",), {}),
    (("kind",), "MLPRegressor"),
    (("kind",), "object"),
]


@pytest.mark.parametrize(
    ("place", "value"), NET_LIES, ids=[f"{'.'.join(map(str, p))}={v}" for p, v in NET_LIES]
)
def test_lies_about_a_network(files, tmp_path, place, value):
    path = lie(files, tmp_path, "net", place, value)
    with pytest.raises(FormatError, match="its contents|it holds|description") as caught:
        fb.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_nothing_is_built_from_absurd_sizes(files, tmp_path, monkeypatch):
    path = lie(files, tmp_path, "net", ("state", "config", "layers", 1, "units"), 10**12)
    monkeypatch.setattr(fb.Sequential, "from_config", None)  # would be a TypeError of another text
    with pytest.raises(FormatError, match="the weights of layer 0 must be float32"):
        fb.load(path)


CLF_LIES = [
    (("state", "params", "evil"), 1),
    (("state", "params"), []),
    (("state", "params", "activation"), "eval"),
    (("state", "params", "activation"), ["relu", "tanh"]),
    (("state", "fitted", "fit"), 1),
    (("state", "fitted", "_engine"), 1),
    (("state", "fitted", "__class__"), 1),
    (("state", "fitted", "_validate_input"), 1),
    (("state", "fitted", "coefs_"), []),
    (("state", "fitted", "coefs_", 0), None),
    (("state", "fitted", "coefs_", 0), {"$array": "fitted.coefs_.1"}),
    (("state", "fitted", "intercepts_"), ...),
    (("state", "fitted", "intercepts_", 0), None),
    (("state", "fitted", "n_features_in_"), 10**15),
    (("state", "fitted", "n_features_in_"), {"$float": "nan"}),
    (("state", "fitted", "n_outputs_"), 2),
    (("state", "fitted", "n_layers_"), 2),
    (("state", "fitted", "out_activation_"), "eval"),
    (("state", "fitted", "classes_"), ["no", "yes"]),
    (("state", "fitted", "classes_"), {"$strings": ["a", "b", "c"], "width": 1, "shape": [3]}),
    (("state", "fitted", "classes_"), ...),
    (("state", "label_binarizer"), None),
    (("state", "label_binarizer", "y_type_"), "eval"),
    (("state", "label_binarizer", "extra"), 1),
    (("state", "optimizer"), {}),
    (("state", "optimizer"), 3),
    (("kind",), "Sequential"),
]


@pytest.mark.parametrize(
    ("place", "value"), CLF_LIES, ids=[f"{'.'.join(map(str, p))}={v}" for p, v in CLF_LIES]
)
def test_lies_about_a_classifier(files, tmp_path, place, value):
    with pytest.raises(FormatError, match="its contents|it holds|description"):
        fb.load(lie(files, tmp_path, "clf", place, value))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("state", "optimizer", "step"), 1.5),
        (("state", "optimizer", "kind"), None),
        (("state", "optimizer", "slots", ...), []),
        (("state", "optimizer", "slots", ..., 0), {"$array": "fitted.coefs_.1"}),
        (("state", "optimizer", "seed"), ...),
    ],
    ids=str,
)
def test_lies_about_an_optimizer(files, tmp_path, place, value):
    first = next(iter(opened(files / "sgd")[0]["state"]["optimizer"]["slots"]))
    place = tuple(first if key is ... else key for key in place)
    with pytest.raises(FormatError):
        fb.load(lie(files, tmp_path, "sgd", place, value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.sampled_from(["$float", "$tuple", "$scalar"]).flatmap(
            lambda key: st.fixed_dictionaries({key: inner})
        )
    ),
    max_leaves=6,
).map(lambda tree: json.loads(json.dumps(tree).replace("NaN", "null").replace("Infinity", "1e400")))


@pytest.mark.parametrize("name", ["net", "clf", "sgd"])
@given(choice=st.floats(0, 1, exclude_max=True), value=JSON | st.just(...))
def test_random_lies_are_refused_or_harmless(files, name, choice, value):
    """Any part of the description replaced by anything: a FormatError, or a model whose numbers fit together."""
    document, arrays = opened(files / name)
    every = [place for place in places(document) if place and place[0] != "checksum"]
    try:
        forge(files / "lie", altered(document, every[int(choice * len(every))], value), arrays)
    except ValueError:  # 1e400 is no JSON
        return
    try:
        model = fb.load(files / "lie")
    except FormatError:
        return
    weights = model.weights if name == "net" else getattr(model, "coefs_", [])
    for W, following in zip(weights, weights[1:], strict=False):
        assert W.shape[1] == following.shape[0]
