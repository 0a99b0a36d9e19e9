"""Many runs at once: each is what its own `fit` would be, and the landscape is the loss."""

import numpy as np
import pytest

import fastbp as fb
from fastbp.playground import starts
from fastbp.playground.starts import GRID, REACH, landscape, run, two_weight_rows


def test_the_landscape_is_the_loss():
    values = landscape("tanh")
    ticks = np.linspace(-REACH, REACH, GRID)
    x, y = two_weight_rows()
    for i, j in ((0, 0), (45, 45), (7, 82)):
        error = ticks[i] * np.tanh(ticks[j] * x) - y
        assert np.isclose(values[i, j], np.mean(error**2), rtol=1e-12)


def test_a_run_is_its_own_fit():
    outcome = run({"runs": "10", "compare": "all, 10 and 1", "epochs": "5", "seed": "3"})
    x, y = two_weight_rows()
    assert [group.batch for group in outcome.groups] == [
        "all rows (batch)",
        "10 (mini-batch)",
        "1 (stochastic)",
    ]
    for group, batch_size in zip(outcome.groups, (None, 10, 1), strict=True):
        layers = [fb.Dense(1, "tanh", use_bias=False), fb.Dense(1, use_bias=False)]
        net = fb.Sequential(layers, n_inputs=1, dtype="float64")
        net.weights[0][...], net.weights[1][...] = group.start[4]
        history = net.fit(x, y, optimizer=fb.SGD(0.1), epochs=5, batch_size=batch_size, seed=3004, verbose=0)
        assert [W.item() for W in net.weights] == group.end[4].tolist()
        assert history.loss == group.losses[4].tolist()
        assert np.isclose(group.final[4], net.evaluate(x, y), rtol=1e-12)


def test_both_minima_are_found_and_no_other_place():
    group = run({"compare": "10", "epochs": "100"}).groups[0]
    w1, w2 = group.end.T
    assert 10 < (w1 < 0).sum() < 40
    assert (w1 * w2 > 0).all() and group.final.max() < 0.02
    assert np.ptp(np.abs(w1)) < 0.5 and np.ptp(np.abs(w2)) < 0.5


def test_all_batch_sizes_start_from_the_same_weights():
    outcome = run({"problem": "moons", "runs": "10", "epochs": "1"})
    first = outcome.groups[0].start
    assert all((group.start == first).all() for group in outcome.groups) and first.shape == (10, 13)


def test_votes_are_shares_of_the_runs():
    outcome = run({"problem": "circles", "runs": "10", "compare": "10", "epochs": "50", "optimizer": "Adam"})
    votes = outcome.votes
    assert votes.shape == (starts.VOTES, starts.VOTES)
    assert np.allclose(10 * votes, np.round(10 * votes)) and 0 <= votes.min() and votes.max() <= 1
    middle = starts.VOTES // 2
    assert votes[middle, middle] > 0.7 and votes[0, 0] < 0.3  # the inner circle is class 1


@pytest.mark.filterwarnings("ignore:.* nets diverged")
def test_divergence_is_counted_and_drawn_nowhere():
    outcome = run({"runs": "10", "compare": "all", "rate": "10", "activation": "relu", "epochs": "100"})
    group = outcome.groups[0]
    assert 0 < group.diverged <= 10
    wrong = np.isnan(group.final)
    assert np.isnan(group.end[wrong]).all() and np.isfinite(group.end[~wrong]).all()


def test_a_run_that_ends_far_above_its_beginning_has_diverged():
    """Its loss is still a number: 1e+127 in one of them."""
    group = run({"runs": "20", "compare": "1", "rate": "1.1"}).groups[0]
    far = group.final > 10 * group.losses[:, 0]
    assert 5 < far.sum() == group.diverged < 20 and np.isfinite(group.final).all()


def test_nothing_is_computed_for_a_page_that_is_closed(monkeypatch):
    monkeypatch.setattr(starts, "fit_many", None)
    assert run({}, lambda: True) is None


def test_values_are_bounded():
    with pytest.raises(ValueError, match="Runs cannot be '100000'"):
        run({"runs": "100000"})
