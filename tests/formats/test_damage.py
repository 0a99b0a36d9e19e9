"""Damaged and hostile files are refused, in one line that names the file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp as fb
from fastbp.formats import FormatError
from tests.formats.forging import altered, forge, network, opened, places
from tests.formats.models import SMALL, data


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
    (("state", "config", "metadata"), {"a" * 10_000: [1] * 10_000}),
    (("state", "config", "class"), "x\ny" * 10_000),
    (("state", "config", "seed"), -1),
    (("state", "config", "extra"), 1),
    (("state", "config", "layers", 1, "l2"), {"$float": "inf"}),
    (("state", "training"), 3),
    (("state", "extra"), 3),
    (("state", "weights"), {"$tuple": []}),
    (("state", "weights", 0, "extra"), 1),
    (("state", "weights", 0), {"$array": ["weights.0"]}),
    (("state", "weights", 0), {"$array": "w" * 10_000}),
    (("fastbp_version",), 1),
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
    ("place", "value"), NET_LIES, ids=[f"{'.'.join(map(str, p))}={v!s:.80}" for p, v in NET_LIES]
)
def test_lies_about_a_network(files, tmp_path, place, value):
    path = lie(files, tmp_path, "net", place, value)
    with pytest.raises(FormatError, match="its contents|it holds|description") as caught:
        fb.load(path)
    assert_bounded(caught.value, path)


def assert_bounded(error, path):
    assert str(error).startswith(f"{path}: ")
    assert "\n" not in error.problem
    assert len(error.problem) <= 700


def test_nothing_is_built_from_absurd_sizes(files, tmp_path, monkeypatch):
    path = lie(files, tmp_path, "net", ("state", "config", "layers", 1, "units"), 10**12)
    monkeypatch.setattr(fb.Sequential, "from_config", None)  # would be a TypeError of another text
    with pytest.raises(FormatError, match="the weights of layer 0 must be float32"):
        fb.load(path)


CLF_LIES = [
    (("state", "params", "alpha"), -1.0),
    (("state", "params", "alpha"), "0.1"),
    (("state", "params", "solver"), "eval"),
    (("state", "params", "hidden_layer_sizes"), [0]),
    (("state", "params", "hidden_layer_sizes"), ["4"]),
    (("state", "params", "hidden_layer_sizes"), "44"),
    (("state", "params", "dropout"), [2.0]),
    (("state", "params", "class_weight"), {"no": {"$float": "nan"}}),
    (("state", "params", "max_iter"), ...),
    (("state", "fitted", "_private"), 1),
    (("state", "fitted", "note"), 1),
    (("state", "fitted", "_best_coefs"), []),
    (("state", "fitted", "_random_state"), 3),
    (("state", "fitted", "loss_"), "low"),
    (("state", "fitted", "n_iter_"), -1),
    (("state", "best_is_present"), 1),
    (("state", "fitted"), {}),
    (("state", "fitted", "feature_names_in_"), {"$objects": ["a"], "shape": [1]}),
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
    ("place", "value"), CLF_LIES, ids=[f"{'.'.join(map(str, p))}={v!s:.80}" for p, v in CLF_LIES]
)
def test_lies_about_a_classifier(files, tmp_path, place, value):
    path = lie(files, tmp_path, "clf", place, value)
    with pytest.raises(FormatError, match="its contents|it holds|description") as caught:
        fb.load(path)
    assert_bounded(caught.value, path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("state", "optimizer", "step"), 1.5),
        (("state", "optimizer", "kind"), None),
        (("state", "optimizer", "slots", ...), []),
        (("state", "optimizer", "slots", ..., 0), {"$array": "fitted.coefs_.1"}),
        (("state", "optimizer", "seed"), ...),
        (("state", "optimizer", "step"), -1),
        (("state", "optimizer", "step"), 10**30),
        (("state", "optimizer", "kind"), "eval"),
        (("state", "optimizer", "schedule"), "eval"),
        (("state", "optimizer", "base_rate"), {"$float": "nan"}),
        (("state", "optimizer", "_session"), 1),
        (("state", "optimizer", "slots", ...), ...),
    ],
    ids=str,
)
def test_lies_about_an_optimizer(files, tmp_path, place, value):
    first = next(iter(opened(files / "sgd")[0]["state"]["optimizer"]["slots"]))
    place = tuple(first if key is ... else key for key in place)
    path = lie(files, tmp_path, "sgd", place, value)
    with pytest.raises(FormatError) as caught:
        fb.load(path)
    assert_bounded(caught.value, path)


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
    except FormatError as error:
        assert_bounded(error, files / "lie")
        return
    weights = model.weights if name == "net" else getattr(model, "coefs_", [])
    for W, following in zip(weights, weights[1:], strict=False):
        assert W.shape[1] == following.shape[0]
