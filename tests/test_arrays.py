"""What may go into a model and what is refused, with which words."""

import numpy as np
import pytest
from scipy import sparse

from fastbp import arrays
from fastbp.layers import Dense
from fastbp.sequential import Sequential

F32 = np.dtype("float32")


@pytest.fixture
def net():
    return Sequential([Dense(2, "tanh"), Dense(1)], n_inputs=3, dtype="float32")


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(7, 3)).astype("float32")


def test_arrays_that_fit_are_not_copied(x):
    assert arrays.to_inputs(x, 3, F32) is x
    assert arrays.to_matrix(x, F32, "X") is x


def test_every_container_gives_the_same(net, x, tmp_path):
    expected = net.predict(x)
    mapped = np.memmap(tmp_path / "x.dat", "float32", "w+", shape=x.shape)
    mapped[:] = x
    mapped.flush()
    others = [
        x.tolist(),
        x.astype("float64"),
        np.asfortranarray(x),
        np.repeat(x, 2, axis=0)[::2],
        mapped,
        np.memmap(tmp_path / "x.dat", "float32", "r", shape=x.shape),
        sparse.csr_matrix(x),
        sparse.csr_array(x),
        sparse.csc_array(x),
        sparse.coo_matrix(x.astype("float64")),
        np.ma.masked_array(x),
    ]
    for other in others:
        np.testing.assert_allclose(net.predict(other), expected, rtol=2e-6)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(net, x, library):
    frames = pytest.importorskip(library)
    names = ["a", "b", "c"]
    frame = frames.DataFrame({name: x[:, i] for i, name in enumerate(names)})
    np.testing.assert_array_equal(net.predict(frame), net.predict(x))
    mixed = frames.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]})
    np.testing.assert_array_equal(net.predict(mixed), net.predict([[1, 0.5, 1], [2, 1.5, 0]]))
    with pytest.raises(TypeError, match=r"X must hold numbers, but row 0, column 'b' holds 'x' \(str\)"):
        net.predict(frames.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [3, 4]}))
    with pytest.raises(ValueError, match="X holds nan in row 1, column 'b'"):
        net.evaluate(frames.DataFrame({"a": [1.0, 2], "b": [1.0, float("nan")], "c": [3.0, 4]}), [0, 0])
    with pytest.raises((ValueError, TypeError), match="row 1, column 'b'"):
        net.evaluate(frames.DataFrame({"a": [1, 2], "b": [1, None], "c": [3, 4]}), [0, 0])
    net.evaluate(frame, frames.Series("y", x[:, 0]) if library == "polars" else frames.Series(x[:, 0]))


def test_nullable_pandas_columns(net):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 6]}, dtype="Int64")
    np.testing.assert_array_equal(net.predict(frame), net.predict([[1, 3, 5], [2, 4, 6]]))
    frame.loc[1, "c"] = pandas.NA
    with pytest.raises((TypeError, ValueError), match="row 1, column 'c'"):
        net.evaluate(frame, [0, 0])


def test_torch_tensors(net, x):
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(net.predict(torch.tensor(x)), net.predict(x))


@pytest.mark.parametrize("dtype", ["uint8", "float64", "float32"])
def test_memmaps_of_any_dtype_block_by_block(dtype, tmp_path, monkeypatch):
    from fastbp.engine import sources

    monkeypatch.setattr(sources, "CONVERTED_BYTES", 3 * 10 * 4 * 10)  # blocks of 100 rows
    rng = np.random.default_rng(0)
    mapped = np.memmap(tmp_path / "x.dat", dtype, "w+", shape=(537, 3))
    mapped[:] = rng.integers(0, 200, mapped.shape) / (1 if dtype == "uint8" else 7.0)
    plain = np.array(mapped).astype("float32") if dtype == "float32" else np.array(mapped)
    y = rng.normal(size=537).astype("float32")
    weight = rng.integers(0, 3, 537)
    nets = [Sequential([Dense(8, "tanh"), Dense(1)], 3, seed=1) for _ in range(2)]
    histories = [
        net.fit(
            data,
            y,
            sample_weight=weight,
            epochs=2,
            batch_size=50,
            metrics="r2",
            validation_split=0.1,
            verbose=0,
        )
        for net, data in zip(nets, (mapped, plain), strict=True)
    ]
    np.testing.assert_array_equal(nets[0].weights[0], nets[1].weights[0])
    np.testing.assert_allclose(histories[0].val_loss, histories[1].val_loss, rtol=1e-6)
    np.testing.assert_allclose(histories[0].r2, histories[1].r2, rtol=1e-6)
    np.testing.assert_array_equal(nets[0].predict(mapped), nets[1].predict(plain))
    loss, grads = nets[0].value_and_grad(mapped, y)
    assert loss == pytest.approx(nets[0].evaluate(mapped, y), rel=1e-6)
    assert grads.inputs is None


def test_read_only_arrays(net, x):
    x.flags.writeable = False
    y = np.zeros(7, "float32")
    y.flags.writeable = False
    net.fit(x, y, verbose=0)
    net.predict(x)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.zeros(3), ValueError, r"X must have shape \(n, 3\), got \(3,\); one row is X.reshape\(1, -1\)"),
        (
            np.zeros((2, 5)),
            ValueError,
            r"X has 5 columns, but the first layer \(Dense\(2, 'tanh'\)\) takes 3",
        ),
        (np.zeros((2, 3, 1)), ValueError, "X must have shape"),
        (
            np.zeros((2, 3), complex),
            TypeError,
            "X must hold real numbers, got dtype complex128, for example 0j",
        ),
        (np.array([["a", "b", "c"]]), TypeError, "X must hold real numbers, got dtype <U1"),
        (np.array([[1, None, 2]]), TypeError, "row 0, column 1 holds None"),
        (np.zeros((2, 3), "datetime64[s]"), TypeError, "datetime64"),
        (np.ma.masked_array(np.zeros((2, 3)), mask=True), TypeError, "masked"),
        ([[1, 2, 3], [4, 5]], ValueError, "X is not a rectangular array"),
        (sparse.csr_array(np.zeros((2, 4))), ValueError, "X has 4 columns"),
        (sparse.csr_array(np.zeros((2, 3), complex)), TypeError, "sparse dtype complex128"),
    ],
)
def test_wrong_inputs(net, bad, error, message):
    with pytest.raises(error, match=message):
        net.predict(bad)
    with pytest.raises(error, match=message):
        net.fit(bad, np.zeros(2), verbose=0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_inputs(net, x, value):
    y = np.zeros(7)
    x[4, 1] = value
    for call in (net.evaluate, net.value_and_grad, net.fit):
        with pytest.raises(ValueError, match=f"X holds {value} in row 4, column 1; expected finite numbers"):
            call(x, y)
    with pytest.raises(ValueError, match=f"X holds {value} in row 4, column 1"):
        net.evaluate(sparse.csr_array(x), y)
    if np.isnan(value):
        assert np.flatnonzero(np.isnan(net.predict(x))).tolist() == [4]


def test_overflow_is_named(net):
    with pytest.raises(ValueError, match="X holds inf in row 1, column 2"):
        net.evaluate([[0, 0, 0], [0, 0, 1e300]], [0, 0])
    huge = np.full((4, 3), 3e38, "float32")  # finite, though their sum is not
    net.evaluate(huge, np.zeros(4))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, 2], "sample_weight has 2 rows, but X has 7"),
        (np.ones((7, 1)), r"sample_weight must have shape \(7,\), got \(7, 1\)"),
        ([1, 1, 1, -1, 1, 1, 1], "sample_weight must be >= 0, got -1.0 in row 3"),
        ([1, 1, 1, np.nan, 1, 1, 1], "sample_weight holds nan in row 3"),
        (np.zeros(7), "sample_weight is zero everywhere"),
    ],
)
def test_wrong_weights(net, x, weight, message):
    with pytest.raises(ValueError, match=message):
        net.fit(x, np.zeros(7), sample_weight=weight, verbose=0)


def test_finite_numbers_are_found_in_pieces():
    for n in (arrays.BLAS_ALONE, arrays.BLAS_ALONE + 1, 3 * arrays.BLAS_ALONE + 5):
        for wrong in (np.nan, np.inf):
            row = np.ones(n)
            assert arrays.all_finite(row) and arrays.all_finite(row * 1e200)
            for place in (0, n // 2, n - 1):
                row[place] = wrong
                assert not arrays.all_finite(row)
                row[place] = 1.0
