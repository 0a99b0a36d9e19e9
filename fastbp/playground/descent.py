"""The tab Descent: a function, a start, and the ways of five optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.events import Tap
from bokeh.models import (
    CheckboxButtonGroup,
    Column,
    ColumnDataSource,
    LinearColorMapper,
    Range1d,
    TabPanel,
    TextInput,
)

from fastbp.descent import DescentResult
from fastbp.playground import widgets
from fastbp.playground.fields import OPTIMIZERS
from fastbp.playground.formula import LENGTH
from fastbp.playground.paths import BANDS, FIELDS, LINE, OWN, PRESETS, Ground, descents, ground, outcome, told
from fastbp.playground.player import Player
from fastbp.validation import one_line

__all__ = ["tab"]

NAME = "descent"
COLUMNS = {
    "lines": ("xs", "ys", "color", "dash"),
    "values": ("xs", "ys", "color", "dash"),
    "dots": ("x", "y", "color"),
    "starts": ("x", "y"),
    "ends": ("x", "y", "color"),
}
"""What is drawn of the paths, and how."""


def tab(document: Document) -> TabPanel:
    """Return the tab for a new page."""
    return _Descent(document).panel


class _Descent:
    """One page's tab: what is chosen, the paths, and the pictures of them."""

    def __init__(self, document: Document) -> None:
        self.player = Player(document, self._advance)
        self.form = widgets.Form(document, NAME, FIELDS, self._changed, sliders=("rate",))
        self.names = CheckboxButtonGroup(
            labels=list(OPTIMIZERS), active=[0], width=352, css_classes=["optimizers"]
        )
        self.names.on_change("active", lambda _attribute, _old, _new: self._compute())
        self.formula = TextInput(
            title="Formula in x, or in x and y", width=352, max_length=LENGTH, css_classes=["formula"]
        )
        self.formula.on_change("value", self._typed)
        self.status = widgets.words(name="status")
        self.table = widgets.words(name="ends")
        self.starts: list[tuple[float, ...]] = []
        self.results: list[tuple[str, int, DescentResult]] = []
        self.shown = 0
        self.on: Ground | None = None
        self._make_pictures()
        self._choose(self.form.values["function"], keep=True)
        buttons = widgets.folding(
            widgets.button("Play", self._play, kind="primary"),
            widgets.button("Step", self._step),
            widgets.button("All steps", self._whole, name="whole"),
            widgets.button("One start", self._one_start, name="one"),
            spacing=0,
        )
        controls = self.form.layout(self.formula, self.names, self.form.link)
        picture = Column(children=[buttons, self.map, self.status], css_classes=["first"])
        self.panel = widgets.panel(
            "Descent",
            "Click a place in the picture: descent starts there, at the ring, and ends at the star. A second click "
            "adds a second start, dashed; a third replaces the older of the two, and One start keeps the last. Step "
            "goes through the path from its start. Several optimizers can be on. Move the learning rate until the "
            "steps overshoot, and further, until they run away. With two variables, light is low.",
            widgets.folding(controls, picture, Column(children=[self.chart, self.table])),
        )
        self.panel.child.tags = [self.player.frames]

    def _make_pictures(self) -> None:
        """Make both pictures, with nothing in them yet."""
        self.map = widgets.picture(
            "Where it goes", x_range=Range1d(-1, 1), y_range=Range1d(-1, 1), name="map"
        )
        self.sources: dict[str, ColumnDataSource] = {
            "ground": ColumnDataSource(widgets.nothing(*widgets.IMAGE)),
            "curve": ColumnDataSource(widgets.nothing("x", "y")),
        }
        for name, columns in COLUMNS.items():
            self.sources[name] = ColumnDataSource(widgets.nothing(*columns), name=f"descent-{name}")
        mapper = LinearColorMapper(palette=widgets.BLUES, low=0, high=BANDS - 1, nan_color="#bbbbbb")
        self.map.image("image", "x", "y", "dw", "dh", source=self.sources["ground"], color_mapper=mapper)
        self.map.line("x", "y", source=self.sources["curve"], line_color="#888888", line_width=2)
        self.chart = widgets.picture(
            "f after each step", height=230, x_range=Range1d(0, 1), y_range=Range1d(0, 1), x_axis_label="step"
        )
        for plot, source in ((self.map, "lines"), (self.chart, "values")):
            plot.multi_line(
                "xs", "ys", color="color", line_dash="dash", line_width=2, source=self.sources[source]
            )
        self.map.scatter("x", "y", color="color", size=5, source=self.sources["dots"])
        self.map.scatter(
            "x",
            "y",
            size=11,
            fill_color="white",
            line_color="#222222",
            line_width=2,
            source=self.sources["starts"],
        )
        self.map.scatter(
            "x",
            "y",
            size=17,
            marker="star",
            fill_color="color",
            line_color="white",
            source=self.sources["ends"],
        )
        self.map.on_event(Tap, self._clicked)

    # What the user does

    def _changed(self, name: str) -> None:
        if name == "function":
            self._choose(self.form.values["function"])
        elif name == "span":
            self._read(self.formula.value)
        else:
            self._compute()

    def _choose(self, name: str, keep: bool = False) -> None:
        """Take a preset, with its own rate and span; `keep` leaves those that a link has given."""
        preset = PRESETS.get(name)
        if preset is None:
            if self.formula.value:
                self._read(self.formula.value)
                return
            instead = FIELDS["function"].default  # a link has no formula; its rate may not fit to another
            self.form.complaint = f"A link does not hold a formula of your own: here is {instead}"
            self.form.set("function", instead)
            preset, keep = PRESETS[instead], False
        self.starts = [preset.start]
        self.formula.value = preset.formula
        if not keep:
            for field, value in (("rate", preset.rate), ("span", preset.span)):
                self.form.set(field, value)
        self._read(preset.formula)

    def _typed(self, _attribute: str, _old: str, new: str) -> None:
        preset = PRESETS.get(self.form.values["function"])
        if preset is not None and new == preset.formula:
            return
        self.form.set("function", OWN)
        self._read(new)

    def _read(self, text: str) -> None:
        """Read the formula and draw its ground."""
        try:
            self.on = ground(text, float(self.form.values["span"]))
        except ValueError as error:
            self.on = None
            self._clear(one_line(str(error), 300))
            return
        self._draw_ground(self.on)
        center = (-0.6 * self.on.span, 0.8 * self.on.span)[: self.on.variables]
        self.starts = [start for start in self.starts if len(start) == self.on.variables] or [center]
        self._compute()

    def _clicked(self, event: Tap) -> None:
        if self.on is None or event.x is None or event.y is None:
            return
        place = (float(event.x), float(event.y))[: self.on.variables]
        self.starts = [*self.starts[-1:], place]
        self._compute()

    def _one_start(self) -> None:
        self.starts = self.starts[-1:]
        self._compute()

    def _play(self) -> None:
        if self.shown >= self._longest():
            self.shown = 0
        self._tell(playing=True)
        self.player.start()

    def _step(self) -> None:
        self.player.pause()
        self.shown = 0 if self.shown >= self._longest() else self.shown + 1
        self._tell()
        self._draw()

    def _whole(self) -> None:
        self.player.pause()
        self.shown = self._longest()
        self._tell()
        self._draw()

    def _advance(self) -> bool:
        self.shown += 1
        self._draw()
        going = self.shown < self._longest()
        if not going:
            self._tell()
        return going

    # What is computed and drawn

    def _longest(self) -> int:
        return max((result.n_iter for _, _, result in self.results), default=0)

    def _compute(self) -> None:
        """Descend anew from every start with every optimizer."""
        self.player.pause()
        if self.on is None:
            return
        active = [name for k, name in enumerate(OPTIMIZERS) if k in self.names.active]
        rate, steps = float(self.form.values["rate"]), int(self.form.values["steps"])
        try:
            self.results = [
                (name, number, result)
                for number, start in enumerate(self.starts)
                for name, result in descents(self.on, start, rate, steps, active).items()
            ]
        except ValueError as error:
            self._clear(one_line(str(error), 300))
            return
        self.shown = self._longest()
        self._tell(self.form.complaint)
        self.form.complaint = ""
        self._draw_table()
        self._draw()

    def _tell(self, complaint: str = "", playing: bool = False) -> None:
        """Say what went wrong, or what the last of the steps that are shown does."""
        trouble = [f"{name}: {result.message}" for name, _, result in self.results if result.diverged]
        rate = float(self.form.values["rate"])
        text = f"learning rate {rate:g}"
        if complaint or (trouble and self.shown == self._longest()):
            self.status.text = widgets.note(
                "; ".join([complaint] * bool(complaint) + trouble[:1]), trouble=True
            )
            return
        if self.on is not None and self.results and not playing:
            name, _, result = self.results[0]
            text += f"; {name}, {told(self.on, name, result, rate, min(self.shown, result.n_iter))}"
        self.status.text = widgets.note(text)

    def _clear(self, message: str) -> None:
        self.results = []
        self.status.text = widgets.note(message, trouble=True)
        self._draw_table()
        self._draw()

    def _draw_ground(self, on: Ground) -> None:
        span = on.span
        self.map.x_range.update(start=-span, end=span)
        two = on.variables == 2
        square: dict[str, Any] = widgets.nothing(*widgets.IMAGE)
        curve: dict[str, Any] = widgets.nothing("x", "y")
        if two:
            square = widgets.pixels(on.bands, span, middles=True)
            low, high = -span, span
        else:
            curve = {"x": np.linspace(-span, span, LINE), "y": on.heights}
            low, high = _limits(on.heights)
        self.sources["ground"].data, self.sources["curve"].data = square, curve
        self.map.y_range.update(start=low, end=high)
        self.map.xaxis.axis_label, self.map.yaxis.axis_label = "x", "y" if two else "f(x)"

    def _draw_table(self) -> None:
        rows = []
        for name, number, result in self.results:
            place = ", ".join(f"{value:.4g}" for value in np.atleast_1d(result.x))
            label = f"{name} {number + 1}" if len(self.starts) > 1 else name
            value = f"{result.values[np.isfinite(result.values)][-1]:.5g}"
            rows.append((label, str(result.n_iter), place, value, outcome(result)))
        colors = [self._color(name) for name, _, _ in self.results]
        self.table.text = widgets.table(("", "steps in all", "ends at", "f there", ""), rows, colors)

    def _color(self, name: str) -> str:
        return widgets.PATHS[list(OPTIMIZERS).index(name)]

    def _draw(self) -> None:
        """Draw the paths, as far as they are shown."""
        two = self.on is not None and self.on.variables == 2
        drawn = {name: widgets.nothing(*columns) for name, columns in COLUMNS.items()}
        lines, values, dots, starts, ends = drawn.values()
        for name, number, result in self.results:
            count = min(self.shown, result.n_iter) + 1
            heights = _bounded(result.values[:count])
            x, y = (
                _bounded(result.path[:count].reshape(count, -1).T) if two else (result.path[:count], heights)
            )
            x, color, dash = _bounded(x), self._color(name), "dashed" if number else "solid"
            for chart, horizontal, vertical in ((lines, x, y), (values, np.arange(count), heights)):
                chart["xs"].append(horizontal)
                chart["ys"].append(vertical)
                chart["color"].append(color)
                chart["dash"].append(dash)
            dots["x"].extend(x.tolist())
            dots["y"].extend(y.tolist())
            dots["color"].extend([color] * count)
            for marks, place in ((starts, 0), (ends, -1)):
                marks["x"].append(float(x[place]))
                marks["y"].append(float(y[place]))
            ends["color"].append(color)
        for name, data in drawn.items():
            self.sources[name].data = data
        self.chart.x_range.update(start=-0.02 * self._longest(), end=1.02 * max(1, self._longest()))
        reached = [result.values for _, _, result in self.results]
        if reached:
            low = min(float(np.nanmin(_bounded(part))) for part in reached)
            first = max(float(part[0]) for part in reached)
            margin = 0.08 * (first - low) or 1.0
            # What rises above the start is seen to rise, but how far it runs away is not.
            highest = max(float(np.nanmax(_bounded(part))) for part in reached)
            high = max(first, min(highest, first + 2 * max(first - low, abs(first))))
            self.chart.y_range.update(start=low - margin, end=high + 4 * margin)


def _limits(heights: np.ndarray) -> tuple[float, float]:
    """Return what part of a curve to show: all of it, but for what is far above most."""
    known = heights[np.isfinite(heights)]
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(np.quantile(known, 0.97))
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _bounded(values: np.ndarray) -> np.ndarray:
    """Return numbers that a browser can draw; those that are none are left out."""
    return np.where(np.isfinite(values), np.clip(values, -1e6, 1e6), np.nan)
