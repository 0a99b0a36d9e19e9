"""`plot.decision_boundary` by structure: regions, points, labels, never pixels."""

import types

import numpy as np
import pytest

from fastbp import plot
from tests.plot.doubles import Classifier, Net, legend

plt = pytest.importorskip("matplotlib.pyplot")


def test_two_classes():
    model = Classifier([[0, 0], [2, 0]], ["cat", "dog"])
    ax = plot.decision_boundary(model, [[0, 0], [0, 1], [2, 0], [0.5, 0]], ["cat", "cat", "dog", "dog"])
    assert legend(ax) == ["cat", "dog", "misclassified (1 of 4)"]
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "probability of dog"
    shading, border, cats, dogs, wrong = ax.collections
    assert shading.levels == pytest.approx(np.linspace(0, 1, 11))  # a tone for every tenth
    (path,) = border.get_paths()
    assert np.allclose(path.vertices[:, 0], 1.0, atol=0.02)  # half way between the centers
    assert [len(points.get_offsets()) for points in (cats, dogs, wrong)] == [2, 2, 1]
    assert wrong.get_offsets().tolist() == [[0.5, 0.0]]
    assert not np.array_equal(cats.get_paths()[0].vertices, dogs.get_paths()[0].vertices)  # markers
    assert ax.get_xlim()[0] < 0 and ax.get_xlim()[1] > 2
    assert ax.figure.get_size_inches().tolist() == [6.4, 4.8]


def test_three_classes():
    model = Classifier([[0, 0], [2, 0], [0, 2]], [0, 1, 2])
    ax = plot.decision_boundary(model, model.centers, [0, 1, 2], resolution=50)
    assert legend(ax) == ["class 0", "class 1", "class 2"]
    assert len(ax.images) == 1
    assert ax.child_axes[0].get_ylabel() == "probability of the predicted class"
    assert len(ax.collections) == 3 + 3  # borders and points
    image = ax.images[0].get_array()
    assert image.min() >= 0 and image.max() <= 1
    assert not np.allclose(image[0, 0], image[0, -1])


def test_data_frame_keeps_its_columns():
    pandas = pytest.importorskip("pandas")

    class Named(Classifier):
        def predict_proba(self, X):
            assert list(X.columns) == ["height", "width"]
            return super().predict_proba(X)

    frame = pandas.DataFrame({"height": [0.0, 2.0], "width": [0.0, 0.0]})
    ax = plot.decision_boundary(
        Named(frame.to_numpy(), [0, 1]), frame, pandas.Series([0, 1]), labels=["a", "b"]
    )
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("height", "width")
    assert legend(ax) == ["a", "b"]


def test_classifier_without_probabilities():
    model = Classifier([[0, 0], [2, 0]], [0, 1])
    plain = types.SimpleNamespace(classes_=model.classes_, predict=model.predict)
    ax = plot.decision_boundary(plain, model.centers, [0, 1])
    assert len(ax.collections) == 4


@pytest.mark.parametrize(
    "activation, output, outputs, expected",
    [
        ("identity", "auto", [-30.0, 0.0, 30.0], [0.0, 0.5, 1.0]),
        ("sigmoid", "auto", [0.0, 0.5, 1.0], [0.0, 0.5, 1.0]),
        ("tanh", "auto", [-1.0, 0.0, 1.0], [0.0, 0.5, 1.0]),
        ("identity", "probabilities", [-0.2, 0.5, 1.3], [0.0, 0.5, 1.0]),
        ("identity", "signs", [-1.0, 0.0, 2.0], [0.0, 0.5, 1.0]),
    ],
)
def test_what_outputs_mean(activation, output, outputs, expected):
    from fastbp.plot._boundary import _probabilities

    net = types.SimpleNamespace(
        layers=[types.SimpleNamespace(activation=activation), types.SimpleNamespace(rate=0.5)],
        weights=[],
        predict=lambda X: np.array(outputs)[:, None],
    )
    probabilities, classes = _probabilities(net, np.zeros((3, 2)), output)
    assert classes is None
    assert np.allclose(probabilities[:, 1], expected) and np.allclose(probabilities.sum(axis=1), 1)


def test_networks_and_their_targets(rng):
    X = rng.standard_normal((30, 2))
    ax = plot.decision_boundary(Net([2, 1], ["identity"]), X, np.where(X[:, :1] > 0, 5, 3), resolution=20)
    assert legend(ax)[:2] == ["class 3", "class 5"]
    codes = rng.integers(0, 3, 30)
    three = Net([2, 3], ["identity"])
    for y in (codes, codes[:, None], np.eye(3)[codes]):
        ax = plot.decision_boundary(three, X, y, resolution=20)
        assert legend(ax)[:3] == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize(
    "X, y, options, message",
    [
        (np.zeros((2, 3)), [0, 1], {}, r"X must have shape \(n, 2\).*got \(2, 3\)"),
        (np.zeros((0, 2)), [], {}, "at least one row"),
        ([[0, np.nan]], [0], {}, "finite"),
        ([[0, 0], [1, 1]], [0], {}, r"y must have shape \(2,\)"),
        ([[0, 0], [1, 1]], [0, 7], {}, "none of the model's classes.*: 7"),
        ([[0, 0], [1, 1]], [0, 1], {"labels": ["a"]}, "got 1 names for 2 classes"),
        ([[0, 0], [1, 1]], [0, 1], {"output": "odds"}, "output must be"),
    ],
)
def test_boundary_errors(X, y, options, message):
    with pytest.raises(ValueError, match=message):
        plot.decision_boundary(Classifier([[0, 0], [1, 1]], [0, 1]), X, y, **options)


def test_boundary_needs_a_classifier():
    with pytest.raises(TypeError, match="but dict has neither"):
        plot.decision_boundary({}, [[0, 0]], [0])
    with pytest.raises(ValueError, match="has no classes_"):
        plot.decision_boundary(types.SimpleNamespace(predict=lambda X: X[:, 0]), [[0, 0]], [0])
