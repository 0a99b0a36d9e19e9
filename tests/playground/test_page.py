"""The page without a browser: what a click or a choice does to what is drawn."""

import base64
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("bokeh")

from bokeh.document import Document
from bokeh.events import Tap

from fastbp.playground import descent, learning, page, starting, widgets
from fastbp.playground.fields import OPTIMIZERS
from fastbp.playground.formula import LENGTH
from fastbp.playground.learner import Learner
from fastbp.playground.paths import descents, ground
from fastbp.playground.player import Player


@pytest.fixture
def document():
    return Document()


def test_the_page_can_be_sent(document):
    page.build(document)
    document.validate()
    assert document.title == "fastbp playground"
    assert len(document.roots) == 1 and document.to_json()
    assert [tab.title for tab in document.get_model_by_name("tabs").tabs][0] == "Descent"


# ------------------------------------------------------------------------------------------------ the player


class Page:
    """A page that draws when it is told to."""

    def __init__(self, last=10**9):
        self.document, self.pictures, self.last = Document(), 0, last
        self.player = Player(self.document, self.advance)

    def advance(self):
        self.pictures += 1
        return self.pictures < self.last

    def draw(self):
        """The page says that it has drawn; the server's clock runs out."""
        before = set(self.document.session_callbacks)
        self.player.frames.drawn = self.player.frames.sent
        for callback in set(self.document.session_callbacks) - before:
            self.document.remove_timeout_callback(callback)
            callback.callback()


def test_a_picture_is_computed_when_the_last_one_is_drawn():
    shown = Page()
    shown.player.start()
    assert shown.pictures == 1
    shown.draw()
    shown.draw()
    assert shown.pictures == 3 and shown.player.rate > 0


def test_a_page_that_draws_nothing_costs_nothing():
    """It is closed, or behind another one."""
    hidden = Page()
    hidden.player.start()
    for _ in range(3):
        hidden.player.start()
    assert hidden.pictures == 1


def test_pause_and_on():
    shown = Page()
    shown.player.start()
    shown.player.pause()
    shown.draw()
    assert shown.pictures == 1
    shown.player.start()
    shown.draw()
    assert shown.pictures == 3


def test_nothing_is_computed_after_the_page_is_closed():
    shown = Page()
    shown.player.start()
    for callback in shown.document.session_destroyed_callbacks:
        callback(None)
    shown.draw()
    shown.player.start()
    assert shown.pictures == 1


def test_it_ends_by_itself():
    shown = Page(last=2)
    shown.player.start()
    for _ in range(3):
        shown.draw()
    assert shown.pictures == 2 and not shown.player.running


# ------------------------------------------------------------------------------------------------ descent


def test_descent_draws_the_path(document):
    tab = descent._Descent(document)
    path = descents(ground("x^4 - 2*x^2 + 0.5*x", 2.0), (-1.7,), 0.043, 50, ["SGD"])["SGD"].path
    assert tab.sources["lines"].data["xs"][0].tolist() == path.tolist()
    tab.form.widgets["rate"].value = "0.1"
    assert "rate=0.1" in tab.form.link.text
    assert tab.sources["lines"].data["xs"][0][1] != path[1]


def test_a_click_is_a_start_and_a_second_one_a_second(document):
    tab = descent._Descent(document)
    tab._clicked(Tap(tab.map, x=1.6, y=0.3))
    assert tab.starts == [(-1.7,), (1.6,)] and "SGD 2" in tab.table.text
    tab._clicked(Tap(tab.map, x=0.5, y=0.3))
    assert tab.starts == [(1.6,), (0.5,)]
    tab._one_start()
    assert tab.starts == [(0.5,)]


def test_all_optimizers_side_by_side(document):
    tab = descent._Descent(document)
    tab.names.active = list(range(5))
    assert all(name in tab.table.text for name in OPTIMIZERS)
    assert len(set(tab.sources["lines"].data["color"])) == 5


def test_steps_of_a_path(document):
    tab = descent._Descent(document)
    longest = tab.shown
    tab._step()
    assert tab.shown == 0
    tab._step()
    assert len(tab.sources["lines"].data["xs"][0]) == 2
    x, slope = -1.7, 4 * (-1.7) ** 3 + 4 * 1.7 + 0.5
    assert f"= {x} - 0.043 * ({slope:.4g}) = {x - 0.043 * slope:.4g}" in tab.status.text
    tab._whole()
    assert tab.shown == longest and f"step {longest} of {longest}" in tab.status.text


def test_two_variables_and_a_formula_of_ones_own(document):
    tab = descent._Descent(document)
    tab.form.widgets["function"].value = "bowl"
    assert tab.form.values["rate"] == "0.1" and tab.on.variables == 2
    assert len(tab.sources["ground"].data["image"]) == 1
    tab.formula.value = "x^2 + 1"
    assert tab.form.values["function"] == "your own" and tab.on.variables == 1
    assert tab.sources["ground"].data["image"] == []


def test_the_span_is_how_far_the_picture_reaches(document):
    tab = descent._Descent(document)
    tab.form.widgets["span"].value = "5"
    assert tab.on.span == 5.0 and "span=5" in tab.form.link.text
    tab.form.widgets["steps"].value = "200"
    assert tab.on.span == 5.0


def test_a_link_to_a_formula_of_ones_own_says_that_it_is_not_in_it(document, monkeypatch):
    chosen = {"tab": [b"descent"], "function": [b"your own"], "rate": [b"10"]}
    monkeypatch.setattr(widgets, "_arguments", lambda _document: chosen)
    tab = descent._Descent(document)
    assert "does not hold a formula of your own" in tab.status.text
    assert (tab.form.values["function"], tab.form.values["rate"]) == ("two minima", "0.043")
    assert tab.results and not tab.results[0][2].diverged


@pytest.mark.parametrize("text", ["x +", "__import__('os')", "<b>x</b>", "", "x" * 1000])
def test_a_bad_formula_is_answered(document, text):
    tab = descent._Descent(document)
    tab.formula.value = "x"  # another one before
    tab.formula.value = text
    assert "#a02020" in tab.status.text and "<b>" not in tab.status.text
    assert tab.sources["lines"].data["xs"] == []
    tab.formula.value = "x^2"
    assert tab.results


def test_a_formula_that_is_too_long_is_refused_and_not_cut(document):
    tab = descent._Descent(document)
    assert tab.formula.max_length == LENGTH
    tab.formula.value = "x^2" + " " * LENGTH + "+x"
    assert f"{LENGTH + 5} characters, at most {LENGTH} are allowed" in tab.status.text
    assert tab.sources["lines"].data["xs"] == []


@pytest.mark.filterwarnings("ignore:gradient descent diverged")
def test_divergence_is_said_and_drawn_within_reason(document):
    tab = descent._Descent(document)
    tab.form.widgets["function"].value = "parabola"
    tab.form.widgets["steps"].value = "200"
    tab.form.widgets["rate"].value = "1.5"
    assert "diverged" in tab.status.text and "diverged" in tab.table.text
    assert np.nanmax(np.abs(tab.sources["lines"].data["ys"][0])) <= 1e6
    first = tab.results[0][2].values[0]
    assert 2 * first < tab.chart.y_range.end < 4 * first  # it is seen to rise


# ------------------------------------------------------------------------------------------------ learning


def test_the_small_pictures_say_what_they_are(document):
    tab = learning._Learning(document)
    assert tab.units.title.text == "What every hidden unit sees, a row per layer"
    tab.form.widgets["layers"].value = "1"
    assert tab.units.title.text == "What every hidden unit sees"
    tab.form.widgets["layers"].value = "0"
    assert tab.units.title.text == "No hidden unit" and tab.thumbs.data["image"] == []


def test_learning_shows_the_learner(document):
    tab = learning._Learning(document)
    twin = Learner()
    tab._step()
    twin.step()
    assert tab.learner.losses() == twin.losses()
    assert widgets.short(twin.losses()[0]) in tab.numbers.text
    tab._epoch()
    twin.run(1, 60.0)
    assert f'<b class="steps">{twin.steps}</b>' in tab.numbers.text
    assert tab.losses.data["training"].tolist() == [
        Learner().losses()[0], tab.losses.data["training"][1], twin.losses()[0]
    ]  # fmt: skip
    tab._reset()
    assert tab.learner.steps == 0 and tab.losses.data["epoch"].tolist() == [0.0]


def test_every_unit_has_a_picture(document):
    tab = learning._Learning(document)
    tab.form.widgets["layers"].value = "3"
    tab.form.widgets["units"].value = "12"
    assert len(tab.thumbs.data["image"]) == 36
    for corner, size in (("x", "dw"), ("y", "dh")):  # a square for each, with a gap on every side
        gap = np.mod(tab.thumbs.data[corner], 1.0)
        assert gap == pytest.approx(0.04) and gap + tab.thumbs.data[size] == pytest.approx(0.96)
    tab.form.widgets["layers"].value = "0"
    assert tab.thumbs.data["image"] == []


def test_play_and_pause(document):
    tab = learning._Learning(document)
    tab._toggle()
    assert tab.player.running and tab.play.label == "Pause" and tab.learner.steps > 0
    tab._toggle()
    assert not tab.player.running and tab.play.label == "Play"


@pytest.mark.parametrize("pictures", [1, 2, 3])
def test_after_a_pause_everything_is_of_the_last_picture(document, pictures):
    """While it plays, the units and the numbers are drawn less often than the rest."""
    tab = learning._Learning(document)
    tab.player.running = True
    for number in range(pictures):
        tab.player.frames.sent = number
        tab._advance()
    tab._pause()
    shown = [image.astype(float) for image in tab.thumbs.data["image"]]
    assert np.allclose(shown, np.concatenate(tab.learner.hidden()), rtol=0, atol=1e-6)
    assert f'<b class="steps">{tab.learner.steps}</b>' in tab.numbers.text


def test_divergence_is_said_and_playing_ends(document):
    tab = learning._Learning(document)
    for name, value in {
        "loss": "squared error",
        "activation": "exp",
        "optimizer": "SGD",
        "rate": "10",
    }.items():
        tab.form.widgets[name].value = value
    tab._toggle()
    for _ in range(200):
        tab._advance()
    assert "diverged" in tab.status.text and "#a02020" in tab.status.text
    assert tab.play.label == "Play" and not tab.player.running
    assert f'<b class="steps">{tab.learner.steps}</b>' in tab.numbers.text
    tab._toggle()
    assert not tab.player.running


def upload(tab, name, content):
    tab._take(name, base64.b64encode(content).decode())


def test_a_table_of_ones_own(document):
    tab = learning._Learning(document)
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{'<i>fig' if a > 0 else 'pear'}" for a, b in rng.standard_normal((60, 2))]
    upload(tab, "fruit.csv", "\n".join(["a,b,kind", *rows]).encode())
    assert len(tab.learner.points.x) == 60 and "fruit.csv: 60 rows" in tab.status.text
    assert "&lt;i&gt;fig" in tab.numbers.text and "<i>" not in tab.numbers.text
    assert tab.map.xaxis.axis_label == "a"
    tab.form.widgets["data"].value = "circles"
    assert len(tab.learner.points.x) == 200


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2", b"\x00" * 100, b"1" * 2**21])
def test_a_bad_table_leaves_all_as_it_was(document, content):
    tab = learning._Learning(document)
    before = tab.learner
    upload(tab, "<b>.csv", content)
    assert tab.learner is before and "#a02020" in tab.status.text and "<b>.csv" not in tab.status.text


def test_a_file_that_was_damaged_on_its_way_is_refused(document):
    tab = learning._Learning(document)
    before = tab.learner
    sent = base64.b64encode(
        "\n".join(["a,b,kind", *(f"{k},{-k},{k % 2}" for k in range(20))]).encode()
    ).decode()
    tab._take("t.csv", "*" + sent)
    assert tab.learner is before and "#a02020" in tab.status.text
    tab._take("t.csv", sent)
    assert len(tab.learner.points.x) == 20


def test_a_choice_that_no_widget_offers_is_undone(document):
    tab = learning._Learning(document)
    tab.form.widgets["activation"].value = "relu"
    tab.form.widgets["activation"].value = "system"
    assert tab.form.widgets["activation"].value == tab.learner.values["activation"] == "relu"


# ------------------------------------------------------------------------------------------------ many starts


def test_many_runs_are_drawn(document):
    tab = starting._Starting(document)
    assert len(tab.ground.data["image"]) == 1  # the landscape, before any run
    values = {**tab.form.values, "runs": "10"}
    tab._draw(tab._compute(values))
    assert len(tab.segments.data["x0"]) == 30 and len(tab.lines.data["xs"]) == 30
    assert "30 runs in" in tab.status.text and "stochastic" in tab.table.text
    tab._draw(tab._compute({**values, "problem": "moons"}))
    assert tab.segments.data["x0"] == [] and len(tab.votes.data["image"]) == 1


def test_a_closed_page_has_nothing_computed(document, monkeypatch):
    tab = starting._Starting(document)
    context = SimpleNamespace(session=SimpleNamespace(connection_count=0))
    monkeypatch.setattr(Document, "session_context", context)
    assert tab._compute(tab.form.values) is None
