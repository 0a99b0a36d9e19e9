"""The numbers of the tab Learning are those of `Sequential` and `Trainer`."""

import numpy as np
import pytest

import fastbp as fb
from fastbp.playground import learner
from fastbp.playground.learner import FIELDS, GRID, THUMB, Learner, mixed
from fastbp.playground.points import make, read


def trained_by_hand(values, points, steps):
    """What a user would write for the same steps."""
    net = fb.Sequential(
        [layer for _ in range(2) for layer in (fb.Dense(5, "relu", l1=0.001, l2=0.003), fb.Dropout(0.1))]
        + [fb.Dense(1, "identity", l1=0.001, l2=0.003)],
        n_inputs=2,
        dtype="float64",
        seed=7,
    )
    trainer = fb.Trainer(net, "binary_cross_entropy", fb.SGD(0.1, momentum=0.9), seed=7)
    rng, rows = np.random.default_rng(7), np.flatnonzero(~points.held_out)
    done = 0
    while True:
        order = rng.permutation(rows)
        for begin in range(0, len(order), 32):
            if done == steps:
                return net
            batch = order[begin : begin + 32]
            trainer.step(points.x[batch], points.y[batch, None].astype(float))
            done += 1


def test_steps_are_those_of_a_trainer():
    values = {
        "units": "5", "activation": "relu", "l1": "0.001", "l2": "0.003", "dropout": "0.1", "seed": "7",
        "optimizer": "momentum", "rate": "0.1", "batch": "32", "data": "circles",
    }  # fmt: skip
    played = Learner(values)
    for _ in range(12):
        played.step()
    net = trained_by_hand(values, make("circles", 200, 0.15, 7), 12)
    for ours, theirs in zip(played.net.weights, net.weights, strict=True):
        assert (ours == theirs).all()
    x, y = played.points.x[played.held_out], played.points.y[played.held_out]
    assert played.losses()[1] == net.evaluate(x, y[:, None].astype(float), "binary_cross_entropy")
    chance = 1 / (1 + np.exp(-net.predict(played.plane(GRID))[:, 0]))
    assert np.allclose(played.boundary()[..., 1].ravel(), chance, rtol=0, atol=1e-12)


def test_a_run_counts_epochs_and_notes_the_losses():
    played = Learner({"batch": "32"})  # 140 rows: 5 batches
    played.run(2, 60.0)
    assert (played.steps, played.epoch) == (10, 2.0)
    played.step()
    played.run(1, 60.0)
    assert (played.steps, played.epoch) == (15, 3.0)
    assert played.curves["epoch"] == [0.0, 2.0, 3.0]
    assert (played.curves["training"][-1], played.curves["held_out"][-1]) == played.losses()


def test_a_run_ends_when_its_time_is_over():
    played = Learner()
    played.run(1000, 0.0)
    assert played.steps == 0


def test_curves_stay_short_and_keep_both_ends():
    played = Learner({"points": "50", "batch": "all rows (batch)"})
    for _ in range(learner.MOST_SHOWN + 50):
        played.run(1, 60.0)
    epochs = played.curves["epoch"]
    assert len(epochs) <= learner.MOST_SHOWN and epochs[0] == 0 and epochs[-1] == played.epoch
    assert epochs == sorted(epochs)


@pytest.mark.parametrize("loss", learner.LOSSES)
@pytest.mark.parametrize("optimizer", FIELDS["optimizer"].options)
def test_every_loss_and_optimizer_learns(loss, optimizer):
    played = Learner({"loss": loss, "optimizer": optimizer, "rate": "0.033", "data": "circles"})
    before = played.losses()[0]
    played.run(30, 60.0)
    assert played.losses()[0] < before and not played.trouble


@pytest.mark.parametrize("activation", FIELDS["activation"].options)
def test_every_activation_is_drawn(activation):
    played = Learner({"activation": activation, "layers": "3", "units": "4"})
    played.run(1, 60.0)
    pictures = played.hidden()
    assert [part.shape for part in pictures] == [(4, THUMB, THUMB)] * 3
    assert all(np.abs(part).max() <= 1 for part in pictures)


def test_a_unit_sees_what_its_layer_computes():
    played = Learner({"activation": "relu", "layers": "1", "units": "3"})
    plane = played.plane(THUMB)
    assert plane[0].tolist() == plane.min(axis=0).tolist()  # the lower left
    a = np.maximum(plane @ played.net.weights[0] + played.net.biases[0], 0)
    assert np.allclose(played.hidden()[0][1].ravel(), a[:, 1] / a[:, 1].max(), rtol=0, atol=1e-12)


def test_a_dead_unit_is_white():
    played = Learner({"activation": "relu", "layers": "1", "units": "2"})
    played.net.weights[0][:, 0], played.net.biases[0][0] = 0.0, -1.0
    dead, alive = played.hidden()[0]
    assert not dead.any() and alive.any()


def test_divergence_is_said_and_ends_the_training():
    played = Learner({"loss": "squared error", "activation": "exp", "optimizer": "SGD", "rate": "10"})
    played.run(200, 60.0)
    assert "diverged: the loss is no longer a finite number at step" in played.trouble
    steps = played.steps
    played.step()
    played.run(10, 60.0)
    assert played.steps == steps
    assert np.isfinite(played.boundary()).all() and all(np.isfinite(part).all() for part in played.hidden())


def test_a_network_without_hidden_layers():
    played = Learner({"layers": "0"})
    played.run(1, 60.0)
    assert played.hidden() == [] and played.boundary().shape == (GRID, GRID, 2)


@pytest.mark.parametrize("loss", learner.LOSSES)
def test_more_classes_have_an_output_each(loss):
    rng = np.random.default_rng(0)
    middles = {"fig": (0, 0), "kiwi": (4, 0), "pear": (0, 4)}
    rows = [
        f"{a},{b},{name}" for name, middle in middles.items() for a, b in rng.normal(middle, 0.5, (30, 2))
    ]
    points = read("fruit.csv", "\n".join(["a,b,kind", *rows]).encode())
    played = Learner({"loss": loss, "rate": "0.033"}, points)
    played.run(60, 60.0)
    assert played.net.n_outputs == 3 and played.boundary().shape == (GRID, GRID, 3)
    assert np.allclose(played.boundary().sum(axis=2), 1)
    assert played.accuracy()[1] > 0.9


def test_values_are_bounded():
    for values in ({"units": "1000"}, {"rate": 0.1}, {"points": "1000000"}, {"colour": "red"}):
        with pytest.raises(ValueError):
            Learner(values)


def test_pixels_are_mixed_by_shares():
    colors = np.array([[200.0, 0.0, 100.0], [0.0, 100.0, 200.0]])
    pixels = mixed(np.array([[[1.0, 0.0], [0.5, 0.5]]]), colors)
    assert pixels.view(np.uint8).reshape(1, 2, 4).tolist() == [[[200, 0, 100, 255], [100, 50, 150, 255]]]
