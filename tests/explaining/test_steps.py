"""The numbers of an explanation, without the command line: a user's own network, its formulas, its JSON."""

import json

import numpy as np
import pytest

import fastbp as fb
from fastbp import reference as ref
from fastbp.explaining import document
from fastbp.explaining.agreement import SAME, agreement
from fastbp.explaining.entries import DOWNHILL, SIGNS, formulas
from fastbp.explaining.problem import Problem, layers_of
from fastbp.explaining.steps import explain
from fastbp.explaining.text import Page, layout, verdict
from tests.entries import WORDS, read


def problem_of(model, x, y):
    layers, notes = layers_of(model)
    return Problem(layers, [x], [y], "A test", notes)


@pytest.mark.parametrize("activation", ref.ACTIVATIONS)
@pytest.mark.parametrize("v", [-4.0, -0.3, 1.7])
def test_formulas_are_true(activation, v):
    """The specification's formulas, in the tutorial's letters."""
    entry = ref.ACTIVATIONS[activation]
    known = {**WORDS, "v": v, "f": entry.f(v)}
    f, f_prime = (read(formula, known) for formula in formulas(activation))
    assert (f, f_prime) == pytest.approx((entry.f(v), entry.f_prime(v)), rel=1e-4, abs=1e-6)


@pytest.fixture
def net():
    return fb.Sequential([fb.Dense(4, "tanh"), fb.Dense(2)], n_inputs=3, dtype="float64", seed=2)


def test_a_network_of_the_users_own(net):
    """Its explanation has the numbers that it computes itself."""
    x, y, lr = [0.5, -1.0, 2.0], [1.0, 0.0], 0.25
    explanation = explain(problem_of(net, x, y), lr)
    found = {entry.name: entry.value for entry in explanation.steps[0]}
    loss, grads = net.value_and_grad([x], [y], "half_squared_error", inputs=True)
    assert found["y_hat"] == pytest.approx(net.predict([x])[0].tolist())
    assert found["loss"] == pytest.approx([loss])
    assert found["delta(0)"] == pytest.approx(grads.inputs[0].tolist())
    for depth, (W, dW) in enumerate(zip(net.weights, grads.weights, strict=True)):
        assert np.array(found[f"W({depth}->{depth + 1})"]) == pytest.approx(W - lr * dW)
    assert max(agreement(explanation).values()) < SAME


@pytest.mark.parametrize(
    ("layers", "notes"),
    [
        ([fb.Dense(1)], 0),
        ([fb.Dense(2), fb.Dropout(0.5), fb.Dense(1)], 1),
        ([fb.Dense(2, l1=0.1), fb.Dense(1)], 1),
        ([fb.Dense(2), fb.Dense(1, l2=0.1)], 1),
    ],
)
def test_what_is_left_out_is_noted(layers, notes):
    assert len(layers_of(fb.Sequential(layers, n_inputs=2))[1]) == notes


def test_only_models_are_explained():
    with pytest.raises(TypeError, match="Sequential, MLPClassifier or MLPRegressor"):
        layers_of([[1.0]])


def test_numbers_beyond_a_float():
    layers, x, y = ref.example()
    large = [layer._replace(activation="exp") for layer in layers]
    with pytest.raises(OverflowError, match="beyond what a float can hold"):
        explain(Problem(large, [[1e4 * v for v in x]], [y]), lr=0.5)


def test_the_document_holds_every_digit(net):
    explanation = explain(problem_of(net, [0.1, 0.2, 0.3], [0.0, 1.0]), 0.5, steps=2)
    stored = json.loads(json.dumps(document.write(explanation, {})))
    assert document.layers_in(stored) == explanation.problem.layers
    assert [len(entries) for entries in stored["steps"]] == [len(entries) for entries in explanation.steps]
    assert stored["input"] == [0.1, 0.2, 0.3] and stored["target"] == [0.0, 1.0]


@pytest.mark.parametrize("width", [60, 100])
def test_text_for_any_page(net, width):
    """No terminal is asked: a notebook or a page says how wide it is."""
    explanation = explain(problem_of(net, [0.1, 0.2, 0.3], [0.0, 1.0]), 0.5)
    plain = layout(explanation, Page(width)) + verdict(explanation.problem, {"E": 0.0}, True, Page(width))
    assert max(map(len, plain)) <= width
    styled = layout(explanation, Page(width, styled=True))
    assert "\033[1m" in "".join(styled) and "\033" not in "".join(plain)


def test_both_signs_of_delta(net):
    """The same numbers with the other sign, the other words, and the same new weights."""
    problem = problem_of(net, [0.5, -1.0, 2.0], [1.0, 0.0])
    up, down = explain(problem, 0.25), explain(problem, 0.25, sign=DOWNHILL)
    assert up.layers == down.layers
    for one, other in zip(up.steps[0], down.steps[0], strict=True):
        assert one.name == other.name
        turn = -1.0 if one.name.startswith("delta") else 1.0
        assert np.array(one.value) == pytest.approx(turn * np.array(other.value))
    text = "\n".join(layout(down, Page()))
    assert "delta(2) = E f'(v_in(2))" in text
    assert "W(0->1) <- W(0->1) + lr x delta(1)'" in text
    assert SIGNS[DOWNHILL][:40] in " ".join(text.split())
    assert max(agreement(down).values()) < SAME
