"""The tab Learning: a network that learns two-dimensional rows, live."""

from __future__ import annotations

import base64
import binascii
import math
import time
from html import escape
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import Column, ColumnDataSource, FileInput, LinearColorMapper, Range1d, TabPanel

from fastbp.playground import widgets
from fastbp.playground.learner import FIELDS, Learner, mixed
from fastbp.playground.player import Player
from fastbp.playground.points import MOST_BYTES, MOST_CLASSES, MOST_ROWS, Points, read
from fastbp.tables.errors import InputError
from fastbp.validation import one_line

__all__ = ["tab"]

NAME = "learning"
SECONDS = 0.02  # of training between two pictures, at most
BETWEEN_NUMBERS = 0.4  # seconds, while pictures follow each other
PALE = 0.45  # of the colors behind the points


def tab(document: Document) -> TabPanel:
    """Return the tab for a new page."""
    return _Learning(document).panel


class _Learning:
    """One page's tab: its learner, and the pictures of it."""

    def __init__(self, document: Document) -> None:
        self.player = Player(document, self._advance)
        self.form = widgets.Form(document, NAME, FIELDS, self._changed, sliders=("units", "rate", "seed"))
        self.own: Points | None = None
        self._told = 0.0
        self.file = FileInput(
            title="Or a CSV file of yours",
            description=f"Its first two columns of numbers, and the last column as the class: at most "
            f"{MOST_ROWS:,} rows and {MOST_CLASSES} classes. Nothing leaves this computer.",
            accept=".csv,.txt,.tsv",
            width=352,
            css_classes=["upload"],
        )
        self.file.on_change("filename", self._uploaded)
        self.status = widgets.words(name="status")
        self.numbers = widgets.words(name="numbers")
        self._make_pictures()
        self.play = widgets.button("Play", self._toggle, kind="primary")
        buttons = widgets.folding(
            self.play,
            widgets.button("Step", self._step),
            widgets.button("Epoch", self._epoch, name="pass"),
            widgets.button("Reset", self._reset),
            spacing=0,
        )
        picture = Column(children=[buttons, self.map, self.status], css_classes=["first"])
        self.panel = widgets.panel(
            "Learning",
            "Play trains the network; Step is one batch, Epoch one pass over the rows. Filled points are learned from, "
            "rings are held out. The background has the color of the class that the network decides for, a mixture "
            "where it is unsure. In the picture of a hidden unit blue is above 0, orange below, and white 0: a unit "
            "that is white all over is dead.",
            widgets.folding(
                self.form.layout(self.file, self.form.link),
                picture,
                Column(children=[self.curves, self.numbers, self.units]),
            ),
        )
        self.panel.child.tags = [self.player.frames]
        self._reset()
        if self.form.complaint:
            self._say(self.form.complaint, trouble=True)

    def _make_pictures(self) -> None:
        """Make the three pictures, with nothing in them yet."""
        square = {"match_aspect": True, "x_range": Range1d(-1, 1), "y_range": Range1d(-1, 1)}
        self.map = widgets.picture("What it decides", name="boundary", **square)
        self.ground = ColumnDataSource(widgets.nothing(*widgets.IMAGE), name="learning-ground")
        self.map.image_rgba("image", "x", "y", "dw", "dh", source=self.ground)
        self.dots = ColumnDataSource(widgets.nothing("x", "y", "fill", "line"), name="learning-points")
        self.map.scatter(
            "x", "y", size=6, fill_color="fill", line_color="line", line_width=1.3, source=self.dots
        )
        self.curves = widgets.picture(
            "Loss",
            height=210,
            x_axis_label="epoch",
            x_range=Range1d(0, 1),
            y_range=Range1d(0, 1),
            name="loss",
        )
        self.losses = ColumnDataSource(
            widgets.nothing("epoch", "training", "held_out"), name="learning-losses"
        )
        for name, color, label in (
            ("training", widgets.COLORS[0], "training"),
            ("held_out", widgets.COLORS[1], "held out"),
        ):
            self.curves.line(
                "epoch", name, source=self.losses, line_color=color, line_width=2, legend_label=label
            )
        self.curves.legend.label_text_font_size = "11px"
        self.curves.legend.background_fill_alpha = 0.6
        self.units = widgets.picture(
            "What every hidden unit sees",
            x_range=Range1d(0, 1),
            y_range=Range1d(0, 1),
            name="units",
        )
        self.units.axis.visible = self.units.grid.visible = False
        self.units.background_fill_color = "#dddddd"  # white is a unit that gives 0
        self.thumbs = ColumnDataSource(widgets.nothing(*widgets.IMAGE), name="learning-units")
        mapper = LinearColorMapper(palette=widgets.SIGNED, low=-1, high=1)
        self.units.image("image", "x", "y", "dw", "dh", source=self.thumbs, color_mapper=mapper)

    # What the user does

    def _changed(self, name: str) -> None:
        if name in ("data", "points", "noise"):
            self.own = None
        self._reset()

    def _uploaded(self, _attribute: str, _old: Any, name: Any) -> None:
        if isinstance(name, str) and name and isinstance(self.file.value, str):
            self._take(one_line(name, 60), self.file.value)

    def _take(self, name: str, content: str) -> None:
        """Learn from a file that was chosen, given as base64; a fault leaves all as it was."""
        try:
            if len(content) > 4 * MOST_BYTES // 3 + 4:
                raise InputError(f"{name}: larger than the {MOST_BYTES:,} bytes that are taken")
            points = read(name, base64.b64decode(content, validate=True), int(self.form.values["seed"]))
        except (InputError, binascii.Error) as error:
            self._say(one_line(str(error), 300), trouble=True)
            return
        self.own = points
        self._reset()
        self._say(f"{name}: {len(points.x)} rows; the columns are scaled. A link does not hold them.")

    def _toggle(self) -> None:
        if self.player.running:
            self._pause()
        elif not self.learner.trouble:
            self.player.start()
            self.play.label = "Pause"

    def _pause(self) -> None:
        self.player.pause()
        self.play.label = "Play"
        if self._told:
            self._draw_units()
            self._tell()

    def _step(self) -> None:
        self._pause()
        self.learner.step()
        self.learner.note()
        self._draw()

    def _epoch(self) -> None:
        self._pause()
        self.learner.run(1, 1.0)
        self._draw()

    def _reset(self) -> None:
        """Begin anew with what is chosen."""
        self._pause()
        self.learner = Learner(self.form.values, self.own)
        self._draw_points()
        self._say("")
        self._draw()

    def _advance(self) -> bool:
        self.learner.run(1, SECONDS)
        if self.learner.trouble:
            self._pause()
        self._draw()
        return not self.learner.trouble

    # What is drawn

    def _say(self, text: str, trouble: bool = False) -> None:
        self.status.text = widgets.note(text, trouble=trouble) if text else ""

    def _draw_points(self) -> None:
        """Draw the rows, and set the ranges of all pictures."""
        points, extent = self.learner.points, self.learner.extent
        colors = widgets.COLORS[: len(points.classes)]
        line = [colors[code] for code in points.y]
        fill = ["white" if held else color for held, color in zip(points.held_out, line, strict=True)]
        self.dots.data = {"x": points.x[:, 0], "y": points.x[:, 1], "fill": fill, "line": line}
        for axis in (self.map.x_range, self.map.y_range):
            axis.update(start=-extent, end=extent)
        self.map.xaxis.axis_label, self.map.yaxis.axis_label = (one_line(name, 40) for name in points.names)
        self._classes = "classes: " + " ".join(
            f'<span style="color:{color}">\N{BLACK CIRCLE}</span> {escape(one_line(name, 24))}'
            for color, name in zip(colors, points.classes, strict=True)
        )
        self._pale = np.array([widgets.rgb(widgets.tint(color, PALE)) for color in colors], float)
        layers, units = int(self.learner.values["layers"]), int(self.learner.values["units"])
        cells = max(layers, units, 3)
        self.units.x_range.update(start=0, end=cells)
        self.units.y_range.update(start=-max(layers, 1), end=0)
        rows = ", a row per layer" if layers > 1 else ""
        self.units.title.text = f"What every hidden unit sees{rows}" if layers else "No hidden unit"
        self.units.height = 50 + round((widgets.WIDTH - 30) * max(layers, 1) / cells)

    def _draw(self) -> None:
        """Draw what the learner has come to."""
        learner = self.learner
        self.ground.data = widgets.pixels(mixed(learner.boundary(), self._pale), learner.extent)
        curves = {name: np.array(values) for name, values in learner.curves.items()}
        self.losses.data = curves
        # Axes that change seldom: a new label lays the picture out anew, which takes as long as to paint it.
        self.curves.x_range.end = 10.0 * 2.0 ** max(0, math.ceil(math.log2(max(learner.epoch, 1.0) / 10.0)))
        highest = max(
            (v for v in (*curves["training"], *curves["held_out"]) if math.isfinite(v)), default=1.0
        )
        if not 0.4 * self.curves.y_range.end <= highest <= self.curves.y_range.end:
            self.curves.y_range.end = 1.25 * highest or 1.0
        if learner.trouble:
            self._say(learner.trouble, trouble=True)
        playing = self.player.running
        if not playing or self.player.frames.sent % 2 == 0:  # they are many
            self._draw_units()
        if not playing or time.perf_counter() > self._told + BETWEEN_NUMBERS:
            self._told = time.perf_counter()
            self._tell()

    def _draw_units(self) -> None:
        """Draw what every hidden unit sees, a row of pictures for each layer."""
        thumbs = widgets.nothing(*widgets.IMAGE)
        for layer, pictures in enumerate(self.learner.hidden()):
            thumbs["image"].extend(pictures.astype(np.float32))
            thumbs["x"].extend(unit + 0.04 for unit in range(len(pictures)))
            thumbs["y"].extend([-layer - 0.96] * len(pictures))
        for size in ("dw", "dh"):
            thumbs[size] = [0.92] * len(thumbs["x"])
        self.thumbs.data = thumbs

    def _tell(self) -> None:
        """Say the numbers. The page is laid out anew when a paragraph changes, which takes longer than a picture."""
        learner = self.learner
        training, held_out = (learner.curves[name][-1] for name in ("training", "held_out"))
        right, right_held_out = learner.accuracy()
        rows = [
            ("training", widgets.short(training), f"{100 * right:.1f} %"),
            ("held out", widgets.short(held_out), f"{100 * right_held_out:.1f} %"),
        ]
        rate = f", {self.player.rate:.0f} pictures/s" if self.player.running else ""
        table = widgets.table(("", "loss", "classified right"), rows, widgets.COLORS[:2])
        self.numbers.text = (
            f'<div>epoch <b class="epoch">{learner.epoch:.2f}</b>, step <b class="steps">{learner.steps}</b>'
            f"{rate}</div>{table}<div>{self._classes}</div>"
        )
