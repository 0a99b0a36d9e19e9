"""`plot.loss_curve` by structure: lines, scales, labels, never pixels."""

import types

import numpy as np
import pytest

from fastbp import plot
from tests.plot.doubles import legend

plt = pytest.importorskip("matplotlib.pyplot")


def test_one_run():
    history = types.SimpleNamespace(loss=[1.0, 0.5, 0.4], val_loss=[1.1, 0.6, 0.7])
    ax = plot.loss_curve(history)
    train, validation, ring = ax.lines
    assert train.get_xydata().tolist() == [[1, 1.0], [2, 0.5], [3, 0.4]]
    assert validation.get_ydata().tolist() == [1.1, 0.6, 0.7]
    assert train.get_linestyle() == "-" != validation.get_linestyle()
    assert ring.get_xydata().tolist() == [[2, 0.6]]
    assert legend(ax) == ["train", "validation", "lowest validation loss, epoch 2"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "loss", "linear")


def test_several_runs():
    runs = [
        {"loss": [1.0, 0.5], "val_loss": []},
        [0.9, 0.7],
        types.SimpleNamespace(loss=(1, 0.8), val_loss=None),
    ]
    ax = plot.loss_curve(*runs)
    assert legend(ax) == ["run 1", "run 2", "run 3"]
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 3
    ax = plot.loss_curve(
        runs[0], {"loss": [1.0, 2.0], "val_loss": [2.0, 1.5]}, labels=["batch", "stochastic"]
    )
    assert legend(ax) == ["batch", "stochastic", "train", "validation", "lowest validation loss"]
    assert len(ax.lines) == 4


@pytest.mark.parametrize(
    "losses, yscale, expected",
    [
        ([1.0, 0.01], "auto", "log"),
        ([1.0, 0.5], "auto", "linear"),
        ([1.0, 0.0], "auto", "linear"),
        ([1.0, -0.01], "auto", "linear"),
        ([1.0, 0.9], "log", "log"),
        ([1.0, 0.001], "linear", "linear"),
        ([1.0, np.nan, np.inf], "auto", "linear"),
    ],
)
def test_scale(losses, yscale, expected):
    ax = plot.loss_curve(losses, yscale=yscale)
    assert ax.get_yscale() == expected
    ax.figure.canvas.draw()


def test_log_axis_is_labeled_in_plain_numbers():
    ax = plot.loss_curve([1.0, 0.3, 0.04])
    ax.figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_yticklabels(which="both")]
    assert {"0.1", "0.05", "1"} <= set(labels)


@pytest.mark.parametrize(("ratio", "plain"), [(9e4, True), (1e5, False)])
def test_a_range_from_100000_on_is_labeled_by_powers(ratio, plain):
    ax = plot.loss_curve([ratio, 1.0])
    ax.figure.canvas.draw()
    assert ("100" in {text.get_text() for text in ax.get_yticklabels()}) == plain


def test_estimators():
    scikit = types.SimpleNamespace(loss="log_loss", loss_curve_=[2.0, 1.0])
    ours = types.SimpleNamespace(loss="log_loss", loss_curve_=[2.0, 1.5], validation_loss_curve_=[2.5, 1.8])
    ax = plot.loss_curve(scikit, ours)
    assert [line.get_ydata().tolist() for line in ax.lines[:3]] == [[2.0, 1.0], [2.0, 1.5], [2.5, 1.8]]


def test_seconds():
    history = {"loss": [1.0, 0.5], "epoch_seconds": [0.25, 0.5]}
    ax = plot.loss_curve(history, x="seconds")
    assert ax.lines[0].get_xdata().tolist() == [0.25, 0.75]
    assert ax.get_xlabel() == "seconds"


def test_one_epoch_is_a_point():
    ax = plot.loss_curve([0.5])
    assert ax.lines[0].get_marker() == "o"
    assert ax.get_xlim() == (0.5, 1.5)
    assert ax.get_legend() is None


@pytest.mark.parametrize(
    "histories, options, error, message",
    [
        ([], {}, ValueError, "at least one history"),
        ([{"accuracy": [1.0]}], {}, TypeError, "history 0 is a dict without losses"),
        ([[]], {}, ValueError, r"at least one, got shape \(0,\)"),
        ([[[1.0]]], {}, ValueError, r"got shape \(1, 1\)"),
        ([{"loss": [1.0], "val_loss": [1.0, 2.0]}], {}, ValueError, "1 training losses, but 2"),
        ([[1.0]], {"labels": ["a", "b"]}, ValueError, "got 2 names for 1 histories"),
        ([[1.0]], {"x": "hours"}, ValueError, "x must be"),
        ([[1.0]], {"yscale": "symlog"}, ValueError, "yscale must be"),
        ([[1.0]], {"x": "seconds"}, ValueError, "needs epoch_seconds, which history 0"),
        ([{"loss": [1.0], "epoch_seconds": [1, 2]}], {"x": "seconds"}, ValueError, "1 losses, but 2"),
    ],
)
def test_curve_errors(histories, options, error, message):
    with pytest.raises(error, match=message):
        plot.loss_curve(*histories, **options)
