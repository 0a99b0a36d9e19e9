"""fb.explain: the numbers of a user's own network are those of the kernels, of the reference, and of fastbp explain."""

import sys

import numpy as np
import pytest

import fastbp as fb
from fastbp import reference as ref
from fastbp.cli import main
from fastbp.explaining import NetworkExplanation
from fastbp.objectives import Objective
from tests.entries import targets, with_parameters


def layers_like(net):
    """The network as the reference has it."""
    rows = zip(
        net.weights, net.biases, [layer for layer in net.layers if hasattr(layer, "units")], strict=True
    )
    return [
        ref.Layer(W.tolist(), None if b is None else b.tolist(), layer.activation, layer.l1, layer.l2)
        for W, b, layer in rows
    ]


def example(dtype="float64"):
    layers, x, y = ref.example()
    net = fb.Sequential(
        [fb.Dense(len(layer.W[0]), layer.activation, use_bias=False) for layer in layers],
        n_inputs=len(x),
        dtype=dtype,
    )
    net.set_weights([layer.W for layer in layers])
    return net, x, y


def assert_numbers_of(explanation, net, x, y, loss, rtol=1e-10):
    """The explanation has the numbers of `value_and_grad` and of the reference, and its update is a step of SGD."""
    batch, target = np.atleast_2d(x), np.asarray(y)
    if np.ndim(x) == 1:
        target = np.reshape(target, (1, -1))
    value, grads = net.value_and_grad(batch, target, loss, inputs=True)
    assert explanation.loss == pytest.approx(value, rel=rtol)
    sized = dict(rel=1e3 * rtol, abs=10 * rtol)
    assert explanation.y_hat == pytest.approx(net.predict(batch).reshape(explanation.y_hat.shape), **sized)
    assert np.atleast_2d(explanation.gradients.inputs) == pytest.approx(grads.inputs, **sized)
    for found, expected in zip(explanation.gradients.weights, grads.weights, strict=True):
        assert found == pytest.approx(expected, **sized)
    for found, expected in zip(explanation.gradients.biases, grads.biases, strict=True):
        assert (found is None) == (expected is None)
        if found is not None:
            assert found == pytest.approx(expected, **sized)
    twin = fb.Sequential(net.layers, net.n_inputs, dtype=net.dtype)
    twin.set_weights(net.weights, net.biases)
    fb.Trainer(twin, loss=loss, optimizer=fb.SGD(explanation.learning_rate)).step(batch, target)
    for found, expected in zip(explanation.weights, twin.weights, strict=True):
        assert found == pytest.approx(expected, **sized)
    assert explanation.loss_after == pytest.approx(twin.evaluate(batch, target, loss), **sized)
    # Forward, and the deltas of every row, as the specification has them.
    name, _, number = loss.rstrip(")").partition("(")
    layers, parameter = layers_like(net), float(number) if number else None
    rows = target.tolist() if target.ndim == 2 else [int(v) for v in target]
    for r, row in enumerate(batch.tolist()):
        passes = ref.forward(layers, row)
        error = [e / len(batch) for e in ref.LOSSES[name].delta(passes[-1][1], rows[r], parameter)]
        deltas, _, felt = ref.backward(layers, row, passes, error)
        for depth, (v_in, v_out) in enumerate(passes):
            assert np.atleast_2d(explanation.v_in[depth])[r] == pytest.approx(v_in)
            assert np.atleast_2d(explanation.v_out[depth])[r] == pytest.approx(v_out)
            assert np.atleast_2d(explanation.delta[depth])[r] == pytest.approx(deltas[depth])
        assert np.atleast_2d(explanation.delta_inputs)[r] == pytest.approx(felt)


def test_the_worked_example():
    net, x, y = example()
    explanation = fb.explain(net, x, y)
    assert explanation.v_in[0] == pytest.approx([0.55, -0.5])
    assert explanation.delta[0].round(6).tolist() == [-0.010734, 0.008155]
    assert explanation.delta_inputs.round(6).tolist() == [-0.007556, 0.002188, 0.00704]
    assert explanation.weights[0].round(4).tolist() == [[0.4054, -0.4041], [0.1027, 0.398], [-0.2027, 0.602]]
    assert (round(explanation.loss, 6), round(explanation.loss_after, 6)) == (0.108094, 0.104347)
    assert explanation.biases == [None, None]
    assert_numbers_of(explanation, net, x, y, "half_squared_error")


@pytest.mark.parametrize("sign", ["uphill", "downhill"])
def test_its_text_is_that_of_the_command(capsys, monkeypatch, sign):
    """Up to the line that says where the weights come from, and the kernels' verdict at the end."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["explain", "--sign", sign]) == 0
    command = capsys.readouterr().out.replace(
        "The tutorial's sizes, with round numbers", "Weights of your network"
    )
    net, x, y = example()
    text = str(fb.explain(net, x, y, sign=sign))
    assert command.startswith(text)
    assert command[len(text) :].strip().startswith("The same from the compiled kernels")


@pytest.mark.parametrize("loss", with_parameters())
@pytest.mark.parametrize("n", [1, 3])
def test_every_loss(loss, n, rng):
    outputs = 1 if loss == "binary_cross_entropy" else 3
    net = fb.Sequential([fb.Dense(4, "tanh"), fb.Dense(outputs)], n_inputs=2, dtype="float64", seed=1)
    x, y = rng.normal(size=(n, 2)), targets(loss, rng, n, outputs)
    explanation = fb.explain(net, x, y, loss, learning_rate=0.1)
    assert_numbers_of(explanation, net, x, y, loss)
    assert max(explanation.agreement().values()) < 1e-9
    assert explanation.delta[0].shape == (n, 4)
    text = str(explanation)
    assert f"{explanation.loss:.5g}" in text
    assert "nan" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("activation", ref.ACTIVATIONS)
def test_every_activation(activation, rng):
    net = fb.Sequential(
        [fb.Dense(3, activation), fb.Dense(2, activation)], n_inputs=2, dtype="float64", seed=1
    )
    x, y = rng.normal(size=(2, 2)), rng.uniform(size=(2, 2))
    assert_numbers_of(fb.explain(net, x, y), net, x, y, "half_squared_error")


@pytest.mark.parametrize("sizes", [[1], [2], [1, 1], [3, 2, 4], [7, 1, 5]])
@pytest.mark.parametrize("bias", [True, False])
def test_any_sizes(sizes, bias, rng, dtype):
    layers = [fb.Dense(units, "sigmoid", use_bias=bias) for units in sizes]
    net = fb.Sequential(layers, n_inputs=3, dtype=dtype, seed=2)
    for b in net.biases:
        if b is not None:
            b[...] = rng.normal(size=b.shape)
    x, y = rng.normal(size=3).astype(dtype), rng.uniform(size=sizes[-1]).astype(dtype)
    rtol = 1e-10 if dtype == np.float64 else 1e-6
    assert_numbers_of(fb.explain(net, x, y), net, x, y, "half_squared_error", rtol)


def test_penalties_count(rng):
    net = fb.Sequential(
        [fb.Dense(3, "tanh", l1=0.1), fb.Dropout(0.5), fb.Dense(1, l2=0.2)],
        n_inputs=2,
        dtype="float64",
        seed=1,
    )
    x, y = rng.normal(size=(2, 2)), rng.normal(size=(2, 1))
    explanation = fb.explain(net, x, y)
    value, grads = net.value_and_grad(x, y, "half_squared_error")
    assert explanation.loss == pytest.approx(value)
    for found, expected in zip(explanation.gradients.weights, grads.weights, strict=True):
        assert found == pytest.approx(expected)
    assert max(explanation.agreement().values()) < 1e-9
    text = " ".join(str(explanation).split())
    assert "penalty" in text and "slope of the penalty" in text
    assert "Dropout of the model is left out" in text


def test_class_codes_are_targets(rng):
    net = fb.Sequential([fb.Dense(4, "relu"), fb.Dense(3)], n_inputs=2, dtype="float64", seed=1)
    x = rng.normal(size=(4, 2))
    batch = fb.explain(net, x, [0, 2, 1, 1], "cross_entropy")
    assert batch.loss == pytest.approx(net.evaluate(x, [0, 2, 1, 1], "cross_entropy"))
    one = fb.explain(net, x[1], 2, "cross_entropy")
    assert one.delta[-1] == pytest.approx(4 * batch.delta[-1][1])
    assert "softmax(y_hat)" in str(one)


def test_a_loss_of_the_users_own(rng):
    loss = fb.Loss(
        lambda y, out: (np.where(out < y, 2.0, 1.0) * (out - y) ** 2).sum(axis=1),
        lambda y, out: np.where(out < y, 2.0, 1.0) * 2.0 * (out - y),
        name="asymmetric",
    )
    net = fb.Sequential([fb.Dense(3, "tanh"), fb.Dense(2)], n_inputs=2, dtype="float64", seed=1)
    x, y = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    explanation = fb.explain(net, x, y, loss)
    value, grads = net.value_and_grad(x, y, loss, inputs=True)
    assert explanation.loss == pytest.approx(value)
    assert explanation.gradients.weights[0] == pytest.approx(grads.weights[0])
    assert explanation.gradients.inputs == pytest.approx(grads.inputs)
    assert max(explanation.agreement().values()) < 1e-9
    assert "asymmetric(y, y_hat)" in str(explanation)


def test_signs_differ_in_delta_only(rng):
    net = fb.Sequential([fb.Dense(3, "tanh"), fb.Dense(2)], n_inputs=2, dtype="float64", seed=1)
    x, y = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    for loss in ("half_squared_error", "mse"):
        up, down = (fb.explain(net, x, y, loss, sign=sign) for sign in ("uphill", "downhill"))
        for one, other in zip(up.delta, down.delta, strict=True):
            assert (one == -other).all()
        assert (up.delta_inputs == -down.delta_inputs).all()
        assert (up.gradients.inputs == down.gradients.inputs).all()
        assert all(map(np.array_equal, up.weights, down.weights))
        assert max(down.agreement().values()) < 1e-9


def test_an_estimator(rng):
    X = rng.normal(size=(20, 3))
    model = fb.MLPRegressor(
        hidden_layer_sizes=(4,), activation="tanh", dtype="float64", random_state=0
    ).partial_fit(X, X[:, 0])
    explanation = fb.explain(model, X[0], X[0, 0])
    assert explanation.y_hat == pytest.approx(model.predict(X[:1]))


def test_sparse_rows_and_frames(rng):
    from scipy import sparse

    pandas = pytest.importorskip("pandas")
    net = fb.Sequential([fb.Dense(2)], n_inputs=3, dtype="float64", seed=1)
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(2, 2))
    for rows in (sparse.csr_array(x), pandas.DataFrame(x), x.tolist()):
        assert fb.explain(net, rows, y).loss == fb.explain(net, x, y).loss
    assert fb.explain(net, pandas.Series(x[0]), y[0]).delta_inputs.shape == (3,)


def test_the_network_stays_as_it_is_and_can_be_updated():
    net, x, y = example()
    before = [W.copy() for W in net.weights]
    explanation = fb.explain(net, x, y, learning_rate=0.25)
    assert all(map(np.array_equal, net.weights, before))
    net.set_weights(explanation.weights, explanation.biases)
    assert fb.explain(net, x, y).loss == pytest.approx(explanation.loss_after)


def test_a_notebook_shows_picture_and_text():
    pytest.importorskip("matplotlib")
    net, x, y = example()
    html = fb.explain(net, x, y)._repr_html_()
    assert html.count("<img") == 1 and "data:image/png;base64," in html
    assert "W(0-&gt;1)" in html
    figure = fb.explain(net, x, y, sign="downhill").figure()
    assert [ax.get_title().partition(":")[0] for ax in figure.axes[:2]] == ["forward", "backward"]
    assert "0.63" in {text.get_text() for text in figure.axes[0].texts}
    assert "−0.0082" in {text.get_text() for text in figure.axes[1].texts}


def test_a_notebook_without_matplotlib_shows_the_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    net, x, y = example()
    explanation = fb.explain(net, x, y)
    assert "<img" not in explanation._repr_html_()
    assert "delta(1)" in explanation._repr_html_()
    with pytest.raises(ImportError, match=r"fastbp\[plot\]"):
        explanation.figure()


def test_what_it_says_of_itself():
    net, x, y = example()
    explanation = fb.explain(net, x, y)
    assert isinstance(explanation, NetworkExplanation)
    assert repr(explanation) == "<explanation of a 3-2-1 network: loss 0.10809 -> 0.10435>"


def test_text_of_a_batch_has_its_rows(rng):
    net = fb.Sequential([fb.Dense(2, "tanh"), fb.Dense(1)], n_inputs=2, dtype="float64", seed=1)
    text = str(fb.explain(net, rng.normal(size=(3, 2)), rng.normal(size=3)))
    assert "a batch of 3 rows" in text
    assert "v_in(1) = x W(0->1) + b(1)" in text
    assert "v_in(1)[3,2]" in text
    assert "delta(2) = (-E / 3) f'(v_in(2))" in text
    assert "W(0->1) <- W(0->1) - lr x' delta(1)" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": [1.0, 2.0]}, ValueError, "x has 2 columns, but the network takes 3"),
        ({"x": [[[1.0] * 3]]}, ValueError, r"x must have shape \(n, 3\)"),
        ({"x": [1.0, 2.0, np.nan]}, ValueError, "x holds nan in row 0, column 2"),
        ({"x": ["a", "b", "c"]}, TypeError, "x must hold real numbers"),
        ({"x": np.empty((0, 3)), "y": np.empty((0, 1))}, ValueError, "x has 0 rows"),
        ({"y": [1.0, 2.0]}, ValueError, r"y must have shape \(1, 1\)"),
        ({"y": np.inf}, ValueError, "y holds inf"),
        ({"y": None}, (TypeError, ValueError), "y"),
        ({"loss": "msee"}, ValueError, "loss must be one of.*'msee'"),
        ({"loss": "binary_cross_entropy"}, ValueError, "contains the sigmoid"),
        ({"loss": Objective("mse", summed=True)}, ValueError, "loss must be a name"),
        ({"learning_rate": 0.0}, ValueError, r"learning_rate must be a finite number in \(0"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must be"),
        ({"sign": "up"}, ValueError, "sign must be one of uphill, downhill"),
        ({"net": [[1.0]]}, TypeError, "must be a fastbp Sequential"),
        ({"x": np.zeros((200_000, 3)), "y": np.zeros(200_000)}, ValueError, "take fewer rows"),
    ],
)
def test_bad_input(arguments, error, message):
    net, x, y = example()
    with pytest.raises(error, match=message):
        fb.explain(**{"net": net, "x": x, "y": y, **arguments})


def test_numbers_beyond_a_float():
    net = fb.Sequential([fb.Dense(1, "exp")], n_inputs=1, dtype="float64", seed=0)
    net.set_weights([[[1000.0]]])
    with pytest.raises(OverflowError, match="beyond what a float can hold"):
        fb.explain(net, [1.0], 0.0)


def test_figures_have_a_limit_of_units():
    pytest.importorskip("matplotlib")
    net = fb.Sequential([fb.Dense(30), fb.Dense(1)], n_inputs=3, seed=0)
    assert fb.explain(net, [1.0, 2.0, 3.0], 1.0).figure(max_units=4).axes
    with pytest.raises(ValueError, match="max_units"):
        fb.explain(net, [1.0, 2.0, 3.0], 1.0).figure(max_units=1)
