"""What many nets predict: each as it does alone, their mean, their vote."""

import numpy as np
import pytest
import scipy.sparse

import fastbp as fb
from fastbp.many import outputs


def make(n, outputs=3, dtype="float32"):
    return [
        fb.Sequential([fb.Dense(3 + i, "tanh"), fb.Dense(outputs)], n_inputs=4, dtype=dtype, seed=i)
        for i in range(n)
    ]


@pytest.fixture
def x(rng):
    return rng.normal(size=(30, 4)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 3])
def test_outputs_of_each(threads, x):
    nets = make(7)
    for given in (x, x.astype(float), x.tolist(), scipy.sparse.csr_matrix(x)):
        predicted = fb.predict_many(nets, given, n_threads=threads)
        assert predicted.dtype == np.float32
        for net, own in zip(nets, predicted, strict=True):
            assert np.array_equal(net.predict(given), own)
    several = [x * i for i in range(7)]
    for given in (several, np.stack(several)):
        for net, data, own in zip(
            nets, several, fb.predict_many(nets, given, n_threads=threads), strict=True
        ):
            assert np.array_equal(net.predict(data), own)
    assert fb.predict_many(nets, x[:1])[2].tolist() == nets[2].predict(x[:1]).tolist()


def test_nets_of_both_dtypes(x):
    nets = [*make(2), *make(2, dtype="float64")]
    predicted = fb.predict_many(nets, x)
    assert predicted.dtype == np.float64
    for net, own in zip(nets, predicted, strict=True):
        assert np.array_equal(net.predict(x), own)


@pytest.mark.parametrize("block", [1, 2**25])
@pytest.mark.parametrize("threads", [1, 2])
def test_means(block, threads, x, monkeypatch):
    monkeypatch.setattr(outputs, "BLOCK_BYTES", block)
    nets = make(9)
    mean = fb.predict_many(nets, x, combine="mean", n_threads=threads)
    assert mean.shape == (30, 3)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, np.mean([net.predict(x) for net in nets], axis=0), rtol=1e-6, atol=1e-6)
    assert np.array_equal(mean, fb.predict_many(nets, x, combine="mean", n_threads=1))


def test_votes(x):
    nets = make(9)
    chosen = np.stack([net.predict(x).argmax(axis=1) for net in nets])
    expected = [np.bincount(column, minlength=3).argmax() for column in chosen.T]
    votes = fb.predict_many(nets, x, combine="vote")
    assert votes.tolist() == expected
    assert votes.dtype == np.int64
    nets = make(5, outputs=1)
    expected = np.sum([net.predict(x)[:, 0] > 0 for net in nets], axis=0) >= 3
    assert np.array_equal(fb.predict_many(nets, x, combine="vote"), expected)


def test_wrong_arguments(x):
    nets = make(3)
    with pytest.raises(ValueError, match="combine must be one of mean, vote"):
        fb.predict_many(nets, x, combine="median")
    with pytest.raises(ValueError, match=r"nets\[1\] has 2 outputs, nets\[0\] has 3"):
        fb.predict_many([nets[0], *make(1, 2)], x)
    with pytest.raises(ValueError, match=r"nets\[2\]: x must have 30 rows"):
        fb.predict_many(nets, [x, x, x[:4]])
    with pytest.raises(ValueError, match=r"nets\[1\]: X has 4 columns, but the first layer"):
        fb.predict_many([nets[0], fb.Sequential([fb.Dense(3)], n_inputs=5)], x)
    with pytest.raises(TypeError, match="nets must be a list of Sequential"):
        fb.predict_many(nets[0], x)
