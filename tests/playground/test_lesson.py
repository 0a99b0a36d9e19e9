"""The numbers behind the tab Backpropagation: those of fastbp explain, revealed one after the other."""

import json
import shlex

import numpy as np
import pytest

from fastbp import cli
from fastbp import reference as ref
from fastbp.explaining.agreement import SAME
from fastbp.playground.lesson import FIELDS, INPUTS, TARGETS, Lesson

DEFAULTS = {name: field.default for name, field in FIELDS.items()}


def lesson(**values):
    return Lesson({**DEFAULTS, **values})


CASES = {
    "the tutorial's": {},
    "its sign": {"sign": "downhill"},
    "two hidden layers": {
        "hidden": "4",
        "second": "3",
        "activation": "relu",
        "bias": "yes",
        "weights": "seed 7",
    },
    "no hidden layer": {"hidden": "none", "inputs": "4", "outputs": "3", "output": "identity"},
    "one unit each": {"inputs": "1", "hidden": "1", "x1": "-2.5", "y1": "0.3", "rate": "10"},
    "only the second": {"hidden": "none", "second": "2", "output": "tanh", "weights": "seed 0"},
}


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_of_the_command(case, capsys):
    """The page itself says what to type."""
    shown = lesson(**CASES[case])
    assert cli.main([*shlex.split(shown.command())[1:], "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    entries = document["steps"][0]
    assert [entry["name"] for entry in entries] == [entry.name for entry in shown.entries]
    assert [entry["value"] for entry in entries] == [entry.value for entry in shown.entries]
    assert document["sizes"] == shown.sizes
    shown.update()
    assert shown.losses == [entry["value"][0] for entry in entries if entry["name"] == "loss"] + [
        document["loss_after"]
    ]
    assert shown.difference() <= SAME


def test_the_defaults_are_the_worked_example():
    shown = lesson()
    layers, x, y = ref.example()
    assert shown.explanation.problem.layers == layers
    assert (shown.explanation.problem.x, shown.explanation.problem.y) == ([x], [y])


def test_quantities_appear_one_after_the_other():
    """Forward from the left, backward from the right; nothing is shown before its turn."""
    shown = lesson()
    names, known = [], []
    while shown.step():
        names.append(shown.entry.name)
        units, edges = shown.units(), shown.edges()
        known.append(
            (
                sum(unit.v_in is not None for unit in units),
                sum(unit.v_out is not None for unit in units),
                sum(unit.delta is not None for unit in units),
                sum(edge.gradient is not None for edge in edges),
                sum(edge.after is not None for edge in edges),
            )
        )
    forward = ["v_in(1)", "v_out(1)", "v_in(2)", "y_hat"]
    assert names == [*forward, "E", "loss", "delta(2)", "delta(1)", "delta(0)", "W(1->2)", "W(0->1)"]
    assert known == [
        (2, 3, 0, 0, 0),
        (2, 5, 0, 0, 0),
        (3, 5, 0, 0, 0),
        (3, 6, 0, 0, 0),
        (3, 6, 0, 0, 0),
        (3, 6, 0, 0, 0),
        (3, 6, 1, 2, 0),
        (3, 6, 3, 8, 0),
        (3, 6, 6, 8, 0),
        (3, 6, 6, 8, 2),
        (3, 6, 6, 8, 8),
    ]
    assert shown.is_done and not shown.step()
    for _ in range(20):
        shown.back()
    assert (shown.position, shown.entry) == (0, None)
    assert all(unit.v_in is unit.delta is None for unit in shown.units())


def test_what_is_spoken_of():
    shown = lesson(bias="yes")
    spoken = {}
    while shown.step():
        units = {unit.layer for unit in shown.units() if unit.active}
        edges = {edge.layer for edge in shown.edges() if edge.active}
        spoken[shown.entry.name] = units, edges
    assert spoken["v_in(1)"] == ({1}, {0})
    assert spoken["y_hat"] == spoken["loss"] == spoken["delta(2)"] == spoken["b(2)"] == ({2}, set())
    assert spoken["delta(1)"] == ({1}, {1})
    assert spoken["delta(0)"] == ({0}, {0})
    assert spoken["W(1->2)"] == (set(), {1})


def test_every_edge_and_unit_has_the_numbers_of_the_kernels(rng):
    """And the gradients of the page are those of value_and_grad, whatever the sign of delta."""
    import fastbp as fb

    for sign in ("uphill", "downhill"):
        shown = lesson(hidden="3", second="2", outputs="2", bias="yes", weights="seed 3", sign=sign)
        shown.finish()
        dense = [fb.Dense(3, "sigmoid"), fb.Dense(2, "sigmoid"), fb.Dense(2, "sigmoid")]
        net = fb.Sequential(dense, n_inputs=3, dtype="float64", seed=3)
        x, y = np.array(shown.explanation.problem.x), np.array(shown.explanation.problem.y)
        _, grads = net.value_and_grad(x, y, "half_squared_error", inputs=True)
        for edge in shown.edges():
            assert edge.weight == net.weights[edge.layer][edge.i, edge.j]
            assert edge.gradient == pytest.approx(grads.weights[edge.layer][edge.i, edge.j])
            assert edge.after == pytest.approx(edge.weight - 0.5 * edge.gradient)
        outputs = [x, *net.engine.hidden(x)]
        turn = 1.0 if sign == "uphill" else -1.0
        for unit in shown.units():
            assert unit.v_out == pytest.approx(outputs[unit.layer][0, unit.index])
            delta = grads.biases[unit.layer - 1][unit.index] if unit.layer else grads.inputs[0, unit.index]
            assert turn * unit.delta == pytest.approx(delta)
            if unit.layer:
                assert unit.slope == pytest.approx(unit.v_out * (1 - unit.v_out))
                assert unit.bias_gradient == pytest.approx(delta)
                assert unit.bias_after == pytest.approx(unit.bias - 0.5 * delta)
            else:
                assert unit.v_in is unit.slope is unit.bias is None


def test_updates_go_downhill_and_reset_goes_back():
    shown = lesson()
    shown.finish()
    first = shown.explanation
    for _ in range(9):
        shown.update()
        assert shown.is_done
    assert shown.losses == sorted(shown.losses, reverse=True)
    assert len(shown.losses) == 10
    assert shown.story().startswith("loss 0.10809 -> 0.10435 -> ... -> ")
    assert shown.story().endswith(", 9 updates")
    shown.reset()
    assert (shown.position, shown.explanation, shown.story()) == (0, first, "loss 0.10809")


def test_a_choice_keeps_what_it_does_not_change():
    shown = lesson()
    shown.finish()
    shown.update()
    weights = [edge.weight for edge in shown.edges()]
    for name, value in (("x1", "-3"), ("y1", "0"), ("rate", "2"), ("sign", "downhill")):
        shown.choose(name, value)
        assert shown.is_done
        assert [edge.weight for edge in shown.edges()] == weights
    # Another network has its first weights. Its quantities may be the same: so is the place.
    shown.choose("activation", "relu")
    assert shown.is_done
    assert [edge.weight for edge in shown.edges()] != weights
    shown.choose("second", "3")
    assert shown.position == 0


def test_remarks_explain_the_letters_of_a_formula():
    shown = lesson()
    assert shown.remark() == ""
    shown.step()
    assert "W(0->1)[i,j] leads from unit i to unit j" in shown.remark()
    shown.step()
    assert shown.remark() == ""
    shown.finish()
    assert "i to j is x[i] delta(1)[j];" in shown.remark()
    shown.choose("sign", "downhill")
    assert "i to j is minus x[i] delta(1)[j];" in shown.remark()
    shown.back()
    assert "i to j is minus v_out(1)[i] delta(2)[j];" in shown.remark()
    shown.back()
    assert "delta" in shown.remark()
    for edge in shown.edges():
        if edge.layer == 0:
            x, delta = shown.units()[edge.i].v_out, shown.units()[3 + edge.j].delta
            assert edge.gradient == pytest.approx(-x * delta, rel=1e-12)


def test_numbers_beyond_a_float():
    shown = lesson(hidden="4", second="4", activation="exp", output="exp", rate="50", x1="3", y1="3")
    shown.finish()
    for _ in range(3):
        shown.update()
    assert shown.explanation is None
    assert (shown.entries, shown.entry, shown.difference()) == ([], None, None)
    assert not shown.is_done and not shown.step()
    assert shown.story() == "loss 933.36 -> inf, 1 update"
    assert all(unit.delta is None for unit in shown.units()) and shown.edges()
    shown.reset()
    assert shown.explanation is not None


def test_every_choice_is_a_network():
    """Each option of each field, alone."""
    for name, field in FIELDS.items():
        for value in field.options:
            shown = lesson(**{name: value})
            shown.finish()
            assert shown.entries, (name, value)


def test_fields_of_the_sample_suffice():
    assert len(INPUTS) == max(map(int, FIELDS["inputs"].options))
    assert len(TARGETS) == max(map(int, FIELDS["outputs"].options))
