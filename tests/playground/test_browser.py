"""The page in a real browser: clicks, sliders, and the numbers that it shows."""

import time
from urllib.parse import urlsplit

import numpy as np
import pytest

pytest.importorskip("bokeh")
pytest.importorskip("playwright.sync_api")

from fastbp.explaining.entries import short
from fastbp.playground import starts, widgets
from fastbp.playground.fields import OPTIMIZERS, RATES
from fastbp.playground.learner import Learner
from fastbp.playground.lesson import FIELDS as LESSON_FIELDS
from fastbp.playground.lesson import Lesson
from fastbp.playground.page import TABS
from fastbp.playground.paths import FIELDS as DESCENT_FIELDS
from fastbp.playground.paths import PRESETS, descents, ground

pytestmark = [pytest.mark.slow, pytest.mark.doc]

WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}

DATA = """([name, column]) => {
    const data = Bokeh.documents[0].get_model_by_name(name).data
    const values = data instanceof Map ? data.get(column) : data[column]
    return Array.from(values, v => v != null && v[Symbol.iterator] && typeof v != "string" ? Array.from(v) : v)
}"""


TICKS = """name => {
    const model = Bokeh.documents[0].get_model_by_name(name)
    const view = Bokeh.index.find_one_by_id(model.id)
    return [model.left[0].ticker.ticks.length, view.frame.bbox.left]
}"""


@pytest.fixture(params=WIDTHS)
def shown(page, address, request):
    """The page, opened at one of two widths; afterwards nothing has gone wrong and no other host was asked."""
    width, height = WIDTHS[request.param]
    page.set_viewport_size({"width": width, "height": height})
    page.width = width
    page.goto(address)
    page.locator(".bk-tab").first.wait_for()
    yield page
    assert page.complaints == []
    hosts = {urlsplit(url).netloc for url in page.requested if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(address).netloc}


def open_tab(page, title):
    page.locator(".bk-tab", has_text=title).click()


def inside(page, css):
    """The visible ones: every tab has a status, and one of them is shown."""
    return page.locator(f"{css}:visible")


def text(page, name):
    """The text of a paragraph."""
    return inside(page, f".{name}").locator(".bk-clearfix").inner_text()


def column(page, name, column):
    return page.evaluate(DATA, [name, column])


def until(page, condition):
    """Wait until the page, which asks the server, has got there."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "the page did not get there"
        page.wait_for_timeout(30)


def push(page, field, key="ArrowRight", times=1):
    """Move a slider by the keyboard."""
    handle = inside(page, f".field-{field}").locator(".noUi-handle")
    for _ in range(times):
        handle.press(key)


def choose(page, field, option):
    inside(page, f".field-{field}").locator("select").select_option(option)


def press(page, name):
    inside(page, f".{name}").locator("button").click()


def change_picture(page, action):
    """Do something, and wait until the first picture of the page looks different."""
    canvas = (
        page.locator(".bk-Figure").filter(has=page.locator("canvas")).and_(page.locator(":visible")).first
    )
    before = canvas.screenshot()
    action()
    until(page, lambda: canvas.screenshot() != before)


@pytest.mark.parametrize("name", TABS)
def test_a_tab_fits_the_screen(shown, name):
    open_tab(shown, name.capitalize())
    inside(shown, ".introduction").wait_for()
    assert shown.evaluate("document.documentElement.scrollWidth") <= shown.width
    for picture in inside(shown, ".bk-Figure").all():
        box = picture.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= shown.width


def test_descent(shown):
    preset = PRESETS["two minima"]
    on = ground(preset.formula, float(preset.span))
    path = descents(on, preset.start, float(preset.rate), 50, ["SGD"])["SGD"].path
    assert column(shown, "descent-lines", "xs") == [path.tolist()]
    # The slider: the next rate, the next path.
    push(shown, "rate", times=4)
    rate = RATES[RATES.index(preset.rate) + 4]
    until(shown, lambda: f"learning rate {rate}" in text(shown, "status"))
    path = descents(on, preset.start, float(rate), 50, ["SGD"])["SGD"].path
    until(shown, lambda: column(shown, "descent-lines", "xs") == [path.tolist()])
    # A click: a second start, which ends in the other minimum.
    box = inside(shown, ".bk-Figure").first.bounding_box()
    change_picture(
        shown, lambda: shown.mouse.click(box["x"] + 0.85 * box["width"], box["y"] + 0.5 * box["height"])
    )
    for name, x in (("lines", "xs"), ("starts", "x"), ("ends", "x")):
        until(shown, lambda name=name, x=x: len(column(shown, f"descent-{name}", x)) == 2)
    starts_at, ends_at = column(shown, "descent-starts", "x"), column(shown, "descent-ends", "x")
    assert starts_at[0] < 0 < starts_at[1] and ends_at[0] < 0 < ends_at[1]
    # All optimizers.
    for name in list(OPTIMIZERS)[1:]:
        inside(shown, ".optimizers").get_by_role("button", name=name).click()
    until(shown, lambda: len(column(shown, "descent-lines", "xs")) == 10)
    until(shown, lambda: all(name in text(shown, "ends") for name in OPTIMIZERS))


def test_descent_that_diverges(shown):
    choose(shown, "function", "parabola")
    until(shown, lambda: "learning rate 0.1" in text(shown, "status"))
    push(shown, "rate", "End")
    for name in ("status", "ends"):
        until(shown, lambda name=name: "diverged" in text(shown, name))


def test_descent_on_a_formula_of_ones_own(shown):
    formula = inside(shown, ".formula").locator("input")
    formula.fill("sin(x)*y + y^2")
    formula.press("Enter")
    until(shown, lambda: "y" in text(shown, "ends") or column(shown, "descent-lines", "xs"))
    until(shown, lambda: len(column(shown, "descent-starts", "x")) == 1)
    formula.fill("__import__('os').system('true')")
    formula.press("Enter")
    until(shown, lambda: "not allowed" in text(shown, "status"))


def test_learning(shown):
    open_tab(shown, "Learning")
    twin = Learner()
    for _ in range(3):
        press(shown, "step")
        twin.step()
    until(shown, lambda: inside(shown, ".steps").inner_text() == "3")
    training, held_out = twin.losses()
    numbers = text(shown, "numbers")
    assert widgets.short(training) in numbers and widgets.short(held_out) in numbers
    until(shown, lambda: column(shown, "learning-losses", "training")[-1] == training)
    # Play: pictures come by themselves; Pause: they stop.
    change_picture(shown, lambda: press(shown, "play"))
    until(shown, lambda: "pictures/s" in text(shown, "numbers"))
    until(shown, lambda: int(inside(shown, ".steps").inner_text()) > 100)
    press(shown, "play")
    until(shown, lambda: inside(shown, ".play").locator("button").inner_text() == "Play")
    until(shown, lambda: "pictures/s" not in text(shown, "numbers"))  # the last that is said
    steps = inside(shown, ".steps").inner_text()
    shown.wait_for_timeout(300)
    assert inside(shown, ".steps").inner_text() == steps
    press(shown, "reset")
    until(shown, lambda: inside(shown, ".steps").inner_text() == "0")


def test_learning_from_other_choices_and_by_a_link(shown, address):
    open_tab(shown, "Learning")
    choose(shown, "data", "spirals")
    choose(shown, "activation", "relu")
    push(shown, "units", times=2)
    until(shown, lambda: "units=8" in shown.url)
    assert "data=spirals" in shown.url and "activation=relu" in shown.url
    until(shown, lambda: len(column(shown, "learning-units", "x")) == 16)
    press(shown, "pass")
    until(shown, lambda: inside(shown, ".epoch").inner_text() == "1.00")
    twin = Learner({"data": "spirals", "activation": "relu", "units": "8"})
    twin.run(1, 60.0)
    until(shown, lambda: column(shown, "learning-losses", "held_out")[-1] == twin.losses()[1])
    # The same state elsewhere.
    shown.goto(shown.url)
    inside(shown, ".epoch").wait_for()
    press(shown, "pass")
    until(shown, lambda: inside(shown, ".epoch").inner_text() == "1.00")
    until(shown, lambda: column(shown, "learning-losses", "held_out")[-1] == twin.losses()[1])


def test_learning_from_a_table_of_ones_own(shown, tmp_path):
    rng = np.random.default_rng(0)
    middles = {"fig": (0, 0), "kiwi": (4, 0), "pear": (0, 4)}
    rows = [
        f"{a},{b},{name}" for name, middle in middles.items() for a, b in rng.normal(middle, 0.5, (30, 2))
    ]
    (tmp_path / "fruit.csv").write_text("\n".join(["size,weight,kind", *rows]))
    (tmp_path / "broken.csv").write_text("size,weight\n1")
    open_tab(shown, "Learning")
    inside(shown, ".upload").locator("input[type=file]").set_input_files(tmp_path / "fruit.csv")
    until(shown, lambda: "fruit.csv: 90 rows" in text(shown, "status"))
    until(shown, lambda: "kiwi" in text(shown, "numbers"))
    inside(shown, ".upload").locator("input[type=file]").set_input_files(tmp_path / "broken.csv")
    until(shown, lambda: "broken.csv" in text(shown, "status"))
    assert "kiwi" in text(shown, "numbers")


def test_starting_points(shown):
    open_tab(shown, "Starting points")
    change_picture(shown, lambda: press(shown, "run"))
    until(shown, lambda: "150 runs in" in text(shown, "status"))
    finals = [v for group in starts.run({}).groups for v in group.final.tolist()]
    until(shown, lambda: column(shown, "starting-finals", "y") == finals)
    until(shown, lambda: column(shown, "starting-segments", "x1"))
    ends = column(shown, "starting-segments", "x1")
    assert min(ends) < 0 < max(ends)
    choose(shown, "problem", "moons")
    press(shown, "run")
    until(shown, lambda: column(shown, "starting-votes", "x"))


def test_starting_points_that_run_away(shown, address):
    """The page counts them, and its axes of losses from 1e-3 to 1e+100 have room for their numbers."""
    shown.goto(f"{address}?tab=starting&rate=1.1")
    press(shown, "run")
    until(shown, lambda: "of them diverged: try a smaller learning rate" in text(shown, "status"))
    assert max(column(shown, "starting-finals", "y")) > 1e20
    for name in ("runs", "ends"):
        ticks, axis = shown.evaluate(TICKS, name)
        assert 2 <= ticks <= 7 and axis < 90
    assert shown.evaluate("document.documentElement.scrollWidth") <= shown.width


def test_several_pages_at_once(shown, browser, address):
    """Each has its own state."""
    open_tab(shown, "Learning")
    press(shown, "play")
    other = browser.new_page()
    other.goto(f"{address}?tab=learning")
    press(other, "step")
    until(other, lambda: inside(other, ".steps").inner_text() == "1")
    until(shown, lambda: int(inside(shown, ".steps").inner_text()) > 20)
    other.close()
    press(shown, "play")


def test_defaults_are_what_the_page_opens_with(shown):
    assert (
        inside(shown, ".field-function").locator("select").input_value() == DESCENT_FIELDS["function"].default
    )


def said(page, css):
    """The words in a part of the page."""
    return inside(page, f"{css} .bk-clearfix").inner_text()


def rows_of(page, css):
    """The table in a part of the page, by the first cell of each row."""
    rows = inside(page, f"{css} tr").all_inner_texts()
    return {cells[0]: [cell for cell in cells[1:] if cell] for cells in (row.split("\t") for row in rows[1:])}


def test_backpropagation(shown):
    """Step by step to the end, and an update: what the page says is what the lesson, and fastbp explain, say."""
    open_tab(shown, "Backpropagation")
    twin = Lesson({name: field.default for name, field in LESSON_FIELDS.items()})
    change_picture(shown, lambda: press(shown, "step"))
    while twin.step():
        number = f"{twin.position} of {len(twin.entries)}."
        if twin.position > 1:
            press(shown, "step")
        until(shown, lambda number=number: number in said(shown, ".formula"))
        text = said(shown, ".formula")
        assert twin.entry.name in text and twin.entry.formula in text
        for left, right in twin.entry.lines:
            assert left in text and right in text
    until(shown, lambda: "the same numbers" in said(shown, ".status"))
    units = rows_of(shown, ".units")
    for unit in twin.units():
        cells = [v for v in (unit.v_in, unit.v_out, unit.slope, unit.delta) if v is not None]
        name = "x" if unit.layer == 0 else f"layer {unit.layer}"
        assert units[name + (f"[{unit.index + 1}]" if unit.layer < 2 else "")] == [short(v) for v in cells]
    edges = rows_of(shown, ".edges")
    for edge in twin.edges():
        name = f"W({edge.layer}->{edge.layer + 1})[{edge.i + 1},{edge.j + 1}]"
        assert edges[name] == [short(edge.weight), short(edge.gradient), short(edge.after)]
    assert len(column(shown, "backpropagation-edges", "x0")) == 8
    # One click updates.
    press(shown, "update")
    twin.update()
    until(shown, lambda: "1 update" in said(shown, ".status"))
    until(shown, lambda: twin.story() in said(shown, ".status"))
    edges = rows_of(shown, ".edges")
    assert edges["W(0->1)[1,1]"][0] == short(twin.edges()[0].weight)
    press(shown, "back")
    until(shown, lambda: f"{len(twin.entries) - 1} of" in said(shown, ".formula"))
    press(shown, "reset")
    until(shown, lambda: "the first of" in said(shown, ".formula"))


def test_backpropagation_of_other_networks_and_by_a_link(shown):
    open_tab(shown, "Backpropagation")
    for field, option in (("hidden", "4"), ("second", "3"), ("bias", "yes"), ("sign", "downhill")):
        choose(shown, field, option)
    push(shown, "x1", "ArrowLeft", times=2)
    until(shown, lambda: "x1=0.8" in shown.url)
    until(shown, lambda: "--sizes 3,4,3,1" in said(shown, ".command"))
    press(shown, "whole")
    until(shown, lambda: "the same numbers" in said(shown, ".status"))
    values = {name: field.default for name, field in LESSON_FIELDS.items()}
    twin = Lesson({**values, "hidden": "4", "second": "3", "bias": "yes", "sign": "downhill", "x1": "0.8"})
    twin.finish()
    assert twin.command() in said(shown, ".command")
    deltas = [short(unit.delta) for unit in twin.units()]
    assert [cells[-1] for cells in rows_of(shown, ".units").values()] == deltas
    # The same state elsewhere: the choices, not the place.
    shown.goto(shown.url)
    until(shown, lambda: inside(shown, ".command .bk-clearfix").count())
    assert twin.command() in said(shown, ".command")
    press(shown, "whole")
    until(shown, lambda: "the same numbers" in said(shown, ".status"))
    assert [cells[-1] for cells in rows_of(shown, ".units").values()] == deltas


def test_backpropagation_beyond_a_float(shown, address):
    """The page says so, and comes back."""
    choices = "hidden=4&second=4&activation=exp&output=exp&rate=50&x1=3&y1=3"
    shown.goto(f"{address}?tab=backpropagation&{choices}")
    press(shown, "update")
    until(shown, lambda: "beyond what a float can hold" in said(shown, ".status"))
    press(shown, "reset")
    until(shown, lambda: "beyond" not in said(shown, ".status"))
