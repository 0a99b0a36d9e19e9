"""The exercises of the tutorial: the numbers of the solutions, computed again, stand in the text."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from fastbp.playground.fields import RATES
from fastbp.playground.learner import Learner
from fastbp.playground.lesson import FIELDS, Lesson
from fastbp.playground.paths import FIELDS as DESCENT_FIELDS
from fastbp.playground.paths import PRESETS, descents, ground

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "exercises.rst").read_text(
    encoding="utf-8"
)
STEPS = int(DESCENT_FIELDS["steps"].options[-1])


def solution(number):
    """The text of a solution, in one line."""
    text = PAGE.partition("Solutions\n---------\n")[2]
    return " ".join(re.split(r"\*\*\d\.\*\*", text)[number].split())


def lesson(**values):
    return Lesson({**{name: field.default for name, field in FIELDS.items()}, **values})


def first_that_diverges(name):
    """The smallest rate on the slider at which plain descent runs away, and the one before."""
    preset = PRESETS[name]
    on = ground(preset.formula, float(preset.span))
    for k in range(RATES.index(preset.rate), len(RATES)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = descents(on, preset.start, float(RATES[k]), STEPS, ["SGD"])["SGD"]
        if result.diverged:
            return RATES[k], RATES[k - 1]
    raise AssertionError(f"{name} converges at every rate")


def test_there_are_five():
    assert re.findall(r"^(\d)\. ", PAGE, re.MULTILINE) == list("12345")
    assert re.findall(r"\*\*(\d)\.\*\*", PAGE) == list("12345")


def test_the_rate_that_diverges():
    bowl, before = first_that_diverges("bowl")
    assert f"(a) At {bowl}; at the rate before, {before}," in solution(1)
    assert abs(1 - 6 * float(before)) < 1 < abs(1 - 6 * float(bowl))
    parabola, one = first_that_diverges("parabola")
    assert one == "1"
    assert f"at {parabola} it runs away" in solution(1)
    preset = PRESETS["parabola"]
    path = descents(ground(preset.formula, 3.0), preset.start, 1.0, STEPS, ["SGD"])["SGD"].path
    assert set(path) == {-2.5, 2.5}


def test_two_minima():
    preset = PRESETS["two minima"]
    on = ground(preset.formula, float(preset.span))
    flat = np.sort(np.roots([4.0, 0.0, -4.0, 0.5]).real)  # where the derivative is 0
    values = [float(on.formula.value(x)) for x in flat]
    assert values[0] < values[2] < values[1]
    text = solution(2)
    for x, value in zip(flat[[0, 2]], (values[0], values[2]), strict=True):
        assert f"x = {x:.3g}, where f is {value:.3g}" in text
    assert f"the hill at x = {flat[1]:.3g}" in text
    rate = float(preset.rate)
    for start, end in ((flat[1] - 0.01, flat[0]), (flat[1] + 0.01, flat[2]), (-1.7, flat[0])):
        found = descents(on, (start,), rate, 1000, ["SGD"])["SGD"]
        assert found.x == pytest.approx(end, abs=1e-3)
    # Nobody clicks the very point: the text has a range.
    low, high = map(float, re.search(r"between x = (\S+) and (\S+), with", PAGE).groups())
    for start in np.linspace(low, high, 21):
        both = descents(on, (start,), rate, STEPS, ["SGD", "momentum"])
        assert both["SGD"].x == pytest.approx(flat[2], abs=1e-3)
        assert both["momentum"].x == pytest.approx(flat[0], abs=1e-2)


def unmoved(shown):
    """The weights that an update leaves alone."""
    shown.finish()
    return [
        f"W({edge.layer}->{edge.layer + 1})[{edge.i + 1},{edge.j + 1}]"
        for edge in shown.edges()
        if edge.after == edge.weight
    ]


def test_make_a_unit_die():
    text = solution(3)
    shown = lesson(activation="relu")
    still = unmoved(shown)
    for _ in range(50):
        shown.update()
        assert unmoved(shown) == still
    assert all(name in text for name in still)
    assert len(still) == 4
    # Awake: what enters the unit is positive.
    options = FIELDS["x3"].options
    awake = next(
        value
        for value in options[options.index("-0.5") :]
        if lesson(activation="relu", x3=value).explanation.passages[0].v_in[0][0][1] > 0
    )
    assert f"(b) At {awake}" in text
    # Killed by one update, with the inputs that the page opens with: part b has moved one of them.
    assert f"Set input 3 back to {FIELDS['x3'].default}, and target 1 to 0." in PAGE
    for rate in FIELDS["rate"].options:
        shown = lesson(activation="relu", y1="0", rate=rate)
        shown.update()
        shown.finish()
        v_in = shown.explanation.passages[0].v_in[0][0]
        if max(v_in) <= 0:
            break
    assert f"(c) {rate}:" in text
    assert f"from 0.55 to {v_in[0]:.3g}" in text
    assert len(unmoved(shown)) == len(shown.edges())
    loss = shown.losses[-1]
    shown.update()
    assert shown.losses[-1] == loss == 0.125


def test_where_the_error_gets_lost():
    text = solution(4)
    shown = lesson()
    (hidden,), (output,) = (rows for rows in shown.explanation.passages[0].delta)
    largest = max(hidden, key=abs)
    assert f"delta(2) is {output[0]:.3g}, the largest delta(1) is {largest:.2g}" in text
    assert f"{output[0] / largest:.2g} times" in text
    shown.finish()
    slope = shown.units()[3].slope
    assert f"0.4, and f', {slope:.2g}" in text
    tanh = lesson(activation="tanh")
    tanh.finish()
    unit, last = tanh.units()[3], tanh.units()[5]
    assert f"(b) {unit.delta / hidden[0]:.2g} times" in text
    assert f"here {unit.slope:.2g}," in text
    assert abs(last.delta) < abs(output[0])
    # The signs.
    other = lesson(sign="downhill")
    assert other.explanation.layers == shown.explanation.layers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "least", "most"), [("0", 0.4, 0.65), ("1", 0.5, 0.75), ("2", 0.7, 5 / 6), ("3", 0.95, 1.0)]
)
def test_few_units(units, least, most):
    choices = (
        {"data": "circles", "layers": "0"}
        if units == "0"
        else {"data": "circles", "layers": "1", "units": units}
    )
    learner = Learner(choices)
    learner.run(150, 60.0)
    assert least <= learner.accuracy()[0] <= most
