"""The tab Backpropagation without a browser: what a click or a choice does to what is drawn."""

import pytest

pytest.importorskip("bokeh")

from bokeh.document import Document

from fastbp.explaining.entries import short
from fastbp.playground import backpropagation
from fastbp.playground.lesson import FIELDS, Lesson


@pytest.fixture
def tab():
    return backpropagation._Backpropagation(Document())


@pytest.fixture
def twin():
    return Lesson({name: field.default for name, field in FIELDS.items()})


def test_the_tab_can_be_sent():
    document = Document()
    document.add_root(backpropagation.tab(document).child)
    document.validate()
    assert document.to_json(deferred=False)["roots"]


def test_a_step_writes_into_the_units_and_lights_them(tab):
    assert tab.circles.data["text"] == ["x = 1", "x = 0.5", "x = −0.5", "", "", ""]
    tab._step()
    assert tab.circles.data["text"][3:] == ["in 0.55", "in −0.5", ""]
    assert (
        len({*tab.circles.data["rim"][3:5]}) == 1 and tab.circles.data["rim"][3] != tab.circles.data["rim"][0]
    )
    assert "v_in(1)" in tab.formula.text and "0.4*1 + 0.1*0.5 + (-0.2)*(-0.5) = 0.55" in tab.formula.text
    tab._back()
    assert tab.circles.data["text"][3] == ""


def test_the_whole_pass(tab, twin):
    tab._finish()
    twin.finish()
    assert all(len(text.split("\n")) == 3 for text in tab.circles.data["text"][3:])
    assert tab.captions.data["text"] == ["inputs", "layer 1", "layer 2, output\ntarget 1"]
    for unit in twin.units():
        assert f"{short(unit.delta)}</td>" in tab.units.text
    for edge, label in zip(twin.edges(), tab.lines.data["label"], strict=True):
        assert f"{short(edge.gradient)}</td>" in tab.edges.text
        assert "∂" in label and "→" in label
    assert "the same numbers" in tab.status.text


def test_an_update_moves_the_weights(tab, twin):
    before = tab.lines.data["label"]
    tab._update()
    twin.update()
    assert twin.story() in tab.status.text.replace("&gt;", ">")
    assert tab.lines.data["label"] != before
    assert "in a terminal, before the first update:" in tab.command.text
    tab._reset()
    assert tab.lines.data["label"] == before
    assert "in a terminal:" in tab.command.text


def test_only_the_inputs_of_the_network_are_offered(tab):
    assert [tab.form.widgets[f"x{i}"].visible for i in range(1, 5)] == [True, True, True, False]
    tab.form.widgets["inputs"].value = "1"
    assert [tab.form.widgets[f"x{i}"].visible for i in range(1, 5)] == [True, False, False, False]
    tab.form.widgets["outputs"].value = "3"
    assert all(tab.form.widgets[f"y{k}"].visible for k in range(1, 4))
    assert len(tab.circles.data["x"]) == 1 + 2 + 3


def test_edges_of_wide_layers_have_their_numbers_in_the_table_and_where_one_points(tab):
    for name in ("inputs", "hidden"):
        tab.form.widgets[name].value = "4"
    tab._finish()
    assert tab.lines.data["label"][:16] == [""] * 16 and all(tab.lines.data["label"][16:])
    assert all("gradient" in text for text in tab.lines.data["hover"])
    assert "W(0-&gt;1)[4,4]" in tab.edges.text


def test_a_choice_that_no_widget_offers_is_undone(tab):
    tab.form.widgets["hidden"].value = "3"
    tab.form.widgets["hidden"].value = "1000000"
    assert tab.form.widgets["hidden"].value == tab.lesson.values["hidden"] == "3"


def test_numbers_beyond_a_float_are_said(tab):
    for name in ("activation", "output"):
        tab.form.widgets[name].value = "exp"
    for name, value in (("hidden", "4"), ("second", "4"), ("rate", "50"), ("x1", "3"), ("y1", "3")):
        tab.form.widgets[name].value = value
    for _ in range(2):
        tab._update()
    assert "#a02020" in tab.status.text and "beyond what a float can hold" in tab.status.text
    tab._step()
    tab._reset()
    assert "beyond" not in tab.status.text


def test_kernels_that_differ_are_reported(tab, monkeypatch):
    monkeypatch.setattr(tab.lesson, "difference", lambda: 0.5)
    tab._finish()
    assert "NOT the same numbers" in tab.status.text and "#a02020" in tab.status.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (-0.5, "−0.5"),
        (0.63413, "0.634"),
        (-0.0107345, "−0.0107"),
        (3.2e-7, "3.2e−7"),
        (1234.5, "1.23e3"),
        (1e9, "1e9"),
    ],
)
def test_numbers_fit_into_a_unit(value, text):
    assert backpropagation._brief(value) == text
