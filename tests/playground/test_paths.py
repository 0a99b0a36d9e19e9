"""The paths of the tab Descent are those of `fastbp.gradient_descent`."""

import numpy as np
import pytest

import fastbp as fb
from fastbp.playground import paths
from fastbp.playground.fields import OPTIMIZERS
from fastbp.playground.paths import FIELDS, PRESETS, descents, ground, outcome, told


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_worth_looking_at(name):
    """From its start, with its rate, every optimizer gets lower, and SGD does not run away."""
    preset = PRESETS[name]
    on = ground(preset.formula, float(preset.span))
    assert on.variables == len(preset.start) and np.isfinite(on.heights).all()
    assert preset.rate in FIELDS["rate"].options and preset.span in FIELDS["span"].options
    assert max(map(abs, preset.start)) <= on.span
    results = descents(on, preset.start, float(preset.rate), 50, ["SGD"])
    values = results["SGD"].values
    assert values[-1] < values[0] and not results["SGD"].diverged


def test_paths_are_those_of_gradient_descent():
    on = ground("(1 - x)^2 + 5*(y - x^2)^2", 2.0)
    results = descents(on, (-1.2, 1.0), 0.01, 30, list(OPTIMIZERS))
    for name, result in results.items():
        theirs = fb.gradient_descent(
            lambda p: (1 - p[0]) ** 2 + 5 * (p[1] - p[0] ** 2) ** 2,
            lambda p: [-2 * (1 - p[0]) - 20 * p[0] * (p[1] - p[0] ** 2), 10 * (p[1] - p[0] ** 2)],
            [-1.2, 1.0],
            max_iter=30,
            optimizer=OPTIMIZERS[name](0.01),
        )
        assert np.allclose(result.path, theirs.path, rtol=1e-9, atol=1e-12), name


def test_two_starts_end_in_two_minima():
    on = ground("x^4 - 2*x^2 + 0.5*x", 2.0)
    left, right = (descents(on, (start,), 0.043, 200, ["SGD"])["SGD"] for start in (-1.7, 1.6))
    assert left.converged and right.converged and left.x < -1 < 0.5 < right.x
    assert outcome(left) == "converged"


def test_divergence_is_said():
    with pytest.warns(RuntimeWarning, match="diverged"):
        result = descents(ground("x^2", 3.0), (1.0,), 1.5, 200, ["SGD"])["SGD"]
    assert outcome(result) == "diverged"
    assert outcome(descents(ground("x^2", 3.0), (1.0,), 0.001, 5, ["SGD"])["SGD"]) == "still moving"
    bowl = descents(ground("x^2 + 3*y^2", 3.0), (-2.5, 2.0), 0.36, 50, ["SGD"])["SGD"]
    assert not bowl.diverged and outcome(bowl) == "above its start"


def test_a_step_is_told_with_its_numbers():
    on = ground("x^2 + 3*y^2", 3.0)
    paths = descents(on, (-2.5, 2.0), 0.1, 20, ["SGD", "momentum"])
    text = told(on, "SGD", paths["SGD"], 0.1, 2)
    assert text.startswith(
        "step 2 of 20: x <- x - rate * df/dx = -2 - 0.1 * (-4) = -1.6; y <- y - rate * df/dy = "
    )
    assert text.endswith("= 0.8 - 0.1 * 4.8 = 0.32")
    assert told(on, "SGD", paths["SGD"], 0.1, 0) == "step 0 of 20: x = -2.5, y = 2"
    x, y = paths["momentum"].path[1]
    assert told(on, "momentum", paths["momentum"], 0.1, 1) == f"step 1 of 20: x = {x:.4g}, y = {y:.4g}"


def test_a_start_without_a_value_is_refused():
    with pytest.raises(ValueError, match="must be finite"):
        descents(ground("log(x)", 2.0), (-1.0,), 0.1, 5, ["SGD"])


def test_a_constant_and_a_hole_are_drawn():
    assert ground("3", 2.0).heights.tolist() == [3.0] * paths.LINE
    on = ground("log(x) + y", 2.0)
    assert np.isnan(on.bands[:, 0]).all() and 0 <= np.nanmin(on.bands) <= np.nanmax(on.bands) < paths.BANDS
    nowhere = ground("sqrt(-1 - x^2 - y^2)", 2.0)
    assert not np.isfinite(nowhere.bands).any()


def test_a_formula_that_cannot_be_read_says_why():
    with pytest.raises(ValueError, match="'z' is not known"):
        ground("x + z", 2.0)
