"""ONNX: checked by onnx, run by onnxruntime, compared with our own predictions; skl2onnx through register()."""

import numpy as np
import pytest

import fastbp as fb
from fastbp.layers import ACTIVATION_NAMES
from tests.formats.models import SMALL, data, network

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def run(proto, x):
    """Outputs by name, from onnxruntime, after onnx's own checks."""
    onnx.checker.check_model(proto, full_check=True)
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x}), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_sequential(rng, activation, dtype):
    net = network(activation, dtype)
    proto = fb.formats.to_onnx(net)
    # gelu of float64 goes through the runtime's float32 Erf.
    tolerance = 1e-12 if dtype == "float64" and activation != "gelu" else 1e-5
    for rows in (1, 33):
        x = (0.2 if activation == "exp" else 2.0) * rng.normal(size=(rows, 4)).astype(dtype)
        y = run(proto, x)["output"]
        assert y.dtype == np.dtype(dtype)
        np.testing.assert_allclose(y, net.predict(x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", sorted({*ACTIVATION_NAMES} - {"exp"}))
def test_activations_far_out(activation, dtype):
    """No overflow or cancellation where the activation itself has none."""
    net = fb.Sequential([fb.Dense(1, activation)], n_inputs=1, dtype=dtype)
    net.set_weights([[[1.0]]], [[0.0]])
    x = np.array([-1e4, -100.0, -20.0, -1e-3, 0.0, 1e-3, 20.0, 100.0, 1e4], dtype=dtype).reshape(-1, 1)
    np.testing.assert_allclose(
        run(fb.formats.to_onnx(net), x)["output"], net.predict(x), rtol=1e-5, atol=1e-6
    )


def test_file_is_the_model(tmp_path, rng):
    net = network("relu", "float32")
    net.metadata["unit"] = "mm"
    proto = fb.formats.to_onnx(net, tmp_path / "m.onnx")
    loaded = onnx.load(tmp_path / "m.onnx")
    assert loaded == proto
    assert (loaded.ir_version, loaded.opset_import[0].version) == (8, 17)
    assert (loaded.producer_name, loaded.producer_version) == ("fastbp", fb.__version__)
    assert {entry.key: entry.value for entry in loaded.metadata_props} == {"unit": "mm"}
    first = (tmp_path / "m.onnx").read_bytes()
    fb.formats.to_onnx(net, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == first


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_probabilities_of_a_sequential(rng):
    x = rng.normal(size=(9, 4))
    wide, narrow = network("tanh", "float64"), fb.Sequential([fb.Dense(1)], n_inputs=4, dtype="float64")
    for net, choice, head in (
        (wide, True, softmax),
        (wide, "softmax", softmax),
        (wide, "sigmoid", sigmoid),
        (narrow, True, sigmoid),
        (narrow, "sigmoid", sigmoid),
    ):
        y = run(fb.formats.to_onnx(net, probabilities=choice), x)["output"]
        np.testing.assert_allclose(y, head(net.predict(x)), atol=1e-12)


def test_arguments_are_checked():
    net = fb.Sequential([fb.Dense(2, "relu")], n_inputs=4)
    with pytest.raises(ValueError, match="last layer gives logits .* got 'relu'"):
        fb.formats.to_onnx(net, probabilities=True)
    with pytest.raises(ValueError, match="probabilities must be True, False"):
        fb.formats.to_onnx(net, probabilities="maybe")
    with pytest.raises(
        TypeError, match="model must be a fastbp Sequential, MLPClassifier or MLPRegressor, got builtins.int"
    ):
        fb.formats.to_onnx(3)
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        fb.formats.to_onnx(fb.MLPRegressor())


# Estimators


CLASSES = [
    [0, 1],
    [3, -1, 10],
    ["no", "yes"],
    ["a", "bé", "cc"],
    [False, True],
    [0.0, 1.0, 2.0],
    np.array(["x", "y", "z"], dtype=object),
    [7],
    ["one"],
    [2**40, 2**41],
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", CLASSES, ids=range(len(CLASSES)))
def test_classifier(classes, dtype):
    x, y = data(classes, dtype)
    model = fb.MLPClassifier(**SMALL | {"max_iter": 30}).fit(x, y)
    out = run(fb.formats.to_onnx(model), x)
    assert list(out) == ["label", "probabilities"]
    assert out["label"].dtype == (object if isinstance(y[0], str) else np.int64)
    assert out["label"].tolist() == model.predict(x).tolist()
    assert out["probabilities"].dtype == np.dtype(dtype)
    expected = model.predict_proba(x)
    np.testing.assert_allclose(out["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_multilabel_classifier(dtype):
    x, _ = data(dtype=dtype)
    model = fb.MLPClassifier(**SMALL | {"max_iter": 30}).fit(x, (x > 0).astype(int))
    out = run(fb.formats.to_onnx(model), x)
    assert out["label"].dtype == np.int64
    np.testing.assert_array_equal(out["label"], model.predict(x))
    np.testing.assert_allclose(out["probabilities"], model.predict_proba(x), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_regressor(dtype, loss, outputs):
    x, y = data(dtype=dtype)
    y = np.abs(y) if outputs == 1 else np.abs(np.stack([y, -2 * y], axis=1))
    model = fb.MLPRegressor(**SMALL | {"loss": loss}).fit(x, y)
    out = run(fb.formats.to_onnx(model), x)
    assert list(out) == ["variable"]
    assert out["variable"].shape == (60, outputs)
    np.testing.assert_allclose(out["variable"], model.predict(x).reshape(60, -1), rtol=1e-5, atol=1e-5)


def test_layers_of_an_estimator():
    """Activations per layer, logistic by its name there, another output activation, dropout left out."""
    x, y = data()
    model = fb.MLPRegressor(
        hidden_layer_sizes=(4, 3),
        activation=["logistic", "mish"],
        out_activation="softplus",
        dropout=[0.2, 0.1],
        max_iter=2,
        random_state=0,
    ).fit(x, np.abs(y))
    proto = fb.formats.to_onnx(model)
    np.testing.assert_allclose(run(proto, x)["variable"][:, 0], model.predict(x), atol=1e-12)
    assert "Dropout" not in {node.op_type for node in proto.graph.node}
    with pytest.raises(ValueError, match="probabilities are for classifiers"):
        fb.formats.to_onnx(model, probabilities=True)


def test_classes_without_an_onnx_type():
    x, y = data([0, 1])
    model = fb.MLPClassifier(**SMALL).fit(x, y)
    model.classes_ = np.array([0.5, 1.5])
    with pytest.raises(ValueError, match="strings or whole numbers"):
        fb.formats.to_onnx(model)


# skl2onnx


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [None, *CLASSES], ids=range(-1, len(CLASSES)))
def test_pipeline(classes, dtype):
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fb.formats.register()
    x, y = data(classes, dtype)
    kind = fb.MLPRegressor if classes is None else fb.MLPClassifier
    model = make_pipeline(StandardScaler(), kind(**SMALL | {"max_iter": 30})).fit(x, y)
    options = None if classes is None else {kind: {"zipmap": False}}
    proto = skl2onnx.to_onnx(model, x[:1], target_opset=17, options=options)
    out = run(proto, x)
    if classes is None:
        np.testing.assert_allclose(out["variable"][:, 0], model.predict(x), atol=1e-5)
    else:
        assert out["label"].tolist() == model.predict(x).tolist()
        np.testing.assert_allclose(out["probabilities"], model.predict_proba(x), atol=1e-5)


def test_pipeline_multilabel_multioutput_and_zipmap():
    skl2onnx = pytest.importorskip("skl2onnx")

    fb.formats.register()
    x, y = data(dtype="float32")
    model = fb.MLPClassifier(**SMALL).fit(x, (x > 0).astype(int))
    out = run(skl2onnx.to_onnx(model, x[:1], target_opset=17, options={"zipmap": False}), x)
    np.testing.assert_array_equal(out["label"], model.predict(x))
    np.testing.assert_allclose(out["probabilities"], model.predict_proba(x), atol=1e-5)
    model = fb.MLPRegressor(**SMALL).fit(x, np.stack([y, -y], axis=1))
    out = run(skl2onnx.to_onnx(model, x[:1], target_opset=17), x)
    np.testing.assert_allclose(out["variable"], model.predict(x), atol=1e-5)
    model = fb.MLPClassifier(**SMALL).fit(x, np.where(x[:, 0] > 0, "yes", "no"))
    out = run(skl2onnx.to_onnx(model, x[:1], target_opset=17), x)
    probabilities = [[row["no"], row["yes"]] for row in out["output_probability"]]
    np.testing.assert_allclose(probabilities, model.predict_proba(x), atol=1e-5)
