"""The tab Starting points and batch sizes: many runs at once, by `fastbp.fit_many`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import Column, ColumnDataSource, LinearColorMapper, Range1d, TabPanel
from tornado.ioloop import IOLoop

from fastbp.playground import widgets
from fastbp.playground.starts import FIELDS, REACH, TWO_WEIGHTS, Group, Outcome, landscape, run

__all__ = ["tab"]

NAME = "starting"
BANDS = 12
SEGMENT = ("x0", "y0", "x1", "y1", "color")
DOT = ("x", "y", "color")

# One at a time, however many pages are open; they wait in line.
_WORKER = ThreadPoolExecutor(1, "playground")


def tab(document: Document) -> TabPanel:
    """Return the tab for a new page."""
    return _Starting(document).panel


class _Starting:
    """One page's tab: what is chosen, and the pictures of the last outcome."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.form = widgets.Form(document, NAME, FIELDS, self._changed, sliders=("rate", "seed"))
        self.busy = False
        self.status = widgets.words(widgets.note(self.form.complaint or "Press Run."), name="status")
        self.table = widgets.words(name="groups")
        self._make_pictures()
        self.button = widgets.button("Run", self._run, kind="primary")
        picture = Column(children=[self.button, self.map, self.status], css_classes=["first"])
        self._enable()
        if self.form.values["problem"] == TWO_WEIGHTS:
            self.ground.data = _landscape(self.form.values["activation"], REACH)
            self._name_axes("w1", "w2")
        self.panel = widgets.panel(
            "Starting points and batch sizes",
            "Each run starts from other weights; the runs of every batch size start from the same ones. Two weights "
            "are the network y_hat = w2 f(w1 x), f its activation, so that the loss can be drawn over w1 and w2: light "
            "is low, rings are starts, stars are ends, and with tanh there are two minima. The other problems have a "
            "hidden layer, and their picture shows how many of the runs decide for which class.",
            widgets.folding(
                self.form.layout(self.form.link),
                picture,
                Column(children=[self.curves, self.ends, self.table]),
            ),
        )

    def _make_pictures(self) -> None:
        """Make the three pictures, with nothing in them yet."""
        self.map = widgets.picture(
            "Where the runs end",
            x_range=Range1d(-REACH, REACH),
            y_range=Range1d(-REACH, REACH),
            name="landscape",
        )
        self.ground = ColumnDataSource(widgets.nothing(*widgets.IMAGE))
        self.votes = ColumnDataSource(widgets.nothing(*widgets.IMAGE), name="starting-votes")
        heights = LinearColorMapper(palette=widgets.BLUES, low=0, high=BANDS - 1, nan_color="#bbbbbb")
        self.map.image("image", "x", "y", "dw", "dh", source=self.ground, color_mapper=heights)
        shares = LinearColorMapper(palette=widgets.SHARES, low=0, high=1)
        self.map.image("image", "x", "y", "dw", "dh", source=self.votes, color_mapper=shares)
        self.segments = ColumnDataSource(widgets.nothing(*SEGMENT), name="starting-segments")
        self.map.segment("x0", "y0", "x1", "y1", color="color", line_alpha=0.5, source=self.segments)
        self.map.scatter("x0", "y0", size=5, fill_color="white", line_color="color", source=self.segments)
        self.map.scatter("x1", "y1", size=11, marker="star", color="color", source=self.segments)
        self.dots = ColumnDataSource(widgets.nothing(*DOT))
        self.map.scatter("x", "y", size=5, color="color", line_color="white", source=self.dots)
        self.curves = widgets.log_picture(
            "Loss of every run",
            height=200,
            x_axis_label="epoch",
            x_range=Range1d(0, 1),
            name="runs",
        )
        self.lines = ColumnDataSource(widgets.nothing("xs", "ys", "color"), name="starting-lines")
        self.curves.multi_line("xs", "ys", color="color", line_alpha=0.45, source=self.lines)
        self.ends = widgets.log_picture(
            "Loss at the end, by rows per step",
            height=180,
            x_range=Range1d(-0.6, 2.6),
            name="ends",
        )
        self.ends.xaxis.visible = False
        self.finals = ColumnDataSource(widgets.nothing(*DOT), name="starting-finals")
        self.ends.scatter("x", "y", size=6, color="color", fill_alpha=0.5, source=self.finals)

    def _enable(self) -> None:
        self.form.widgets["units"].disabled = self.form.values["problem"] == TWO_WEIGHTS

    def _changed(self, _name: str) -> None:
        self._enable()
        if not self.busy:
            self.status.text = widgets.note("Press Run: the pictures are not of these choices.")

    def _run(self) -> None:
        """Train in another thread, so that the other pages go on meanwhile."""
        if self.busy:
            return
        self.busy = self.button.disabled = True
        self.status.text = widgets.note("Running ...")
        values = dict(self.form.values)
        loop, done = IOLoop.current(), _WORKER.submit(self._compute, values)
        loop.add_future(done, lambda future: self._later(future))

    def _compute(self, values: dict[str, str]) -> Outcome | None:
        return None if self._gone() else run(values, self._gone)

    def _gone(self) -> bool:
        """Whether no page is there any more to see the outcome."""
        session = getattr(self.document.session_context, "session", None)
        return session is not None and session.connection_count == 0

    def _later(self, future: Any) -> None:
        if not self._gone():
            self.document.add_next_tick_callback(lambda: self._finish(future))

    def _finish(self, future: Any) -> None:
        """Draw the outcome."""
        self.busy = self.button.disabled = False
        outcome = future.result()
        if outcome is not None:
            self._draw(outcome)

    def _draw(self, outcome: Outcome) -> None:
        extent, groups = outcome.extent, outcome.groups
        colors = widgets.COLORS[: len(groups)]
        for axis in (self.map.x_range, self.map.y_range):
            axis.update(start=-extent, end=extent)
        ground = votes = widgets.nothing(*widgets.IMAGE)
        segments, dots = widgets.nothing(*SEGMENT), dict[str, Any](widgets.nothing(*DOT))
        if outcome.points is None:
            ground = _landscape(outcome.values["activation"], extent)
            for color, group in zip(colors, groups, strict=True):
                for key, values in zip(segments, (*group.start.T, *group.end.T), strict=False):
                    segments[key].extend(values.tolist())
                segments["color"].extend([color] * len(group.start))
            self.map.title.text = "Where the runs start and end"
            self._name_axes("w1", "w2")
        elif outcome.points is not None and outcome.votes is not None:
            points = outcome.points
            votes = widgets.pixels(outcome.votes.astype(np.float32), extent)
            dots = {
                "x": points.x[:, 0],
                "y": points.x[:, 1],
                "color": [widgets.COLORS[code] for code in points.y],
            }
            self.map.title.text = "Votes of the runs: pale if they differ"
            self._name_axes(*points.names)
        self.ground.data, self.votes.data = dict(ground), dict(votes)
        self.segments.data, self.dots.data = segments, dots
        self._draw_losses(groups, colors)
        seconds = sum(group.seconds for group in groups)
        count = sum(len(group.final) for group in groups)
        wrong = sum(group.diverged for group in groups)
        text = f"{count} runs in {seconds:.2f} s"
        if wrong:
            text += f", {wrong} of them diverged: try a smaller learning rate"
        self.status.text = widgets.note(text, trouble=bool(wrong))

    def _name_axes(self, x: str, y: str) -> None:
        self.map.xaxis.axis_label, self.map.yaxis.axis_label = x, y

    def _draw_losses(self, groups: list[Group], colors: Any) -> None:
        """Draw the curves of all runs, where they end, and the numbers of each batch size."""
        lines, finals = widgets.nothing("xs", "ys", "color"), widgets.nothing(*DOT)
        rows = []
        for number, (color, group) in enumerate(zip(colors, groups, strict=True)):
            for losses in group.losses:
                lines["xs"].append(np.arange(1, len(losses) + 1))
                lines["ys"].append(losses)
                lines["color"].append(color)
            n = len(group.final)
            finals["x"].extend((number + np.linspace(-0.35, 0.35, n)).tolist())
            finals["y"].extend(group.final.tolist())
            finals["color"].extend([color] * n)
            known = group.final[~np.isnan(group.final)]
            least, middle, most = np.quantile(known, [0.0, 0.5, 1.0]) if known.size else (np.nan,) * 3
            # A loss that ran away has fewer digits: its exponent needs their room on a phone.
            numbers = (f"{value:.4g}" if value < 1e5 else f"{value:.2g}" for value in (least, middle, most))
            row = [group.batch, *numbers, f"{group.seconds:.2f} s"]
            rows.append(row)
        self.lines.data, self.finals.data = lines, finals
        widgets.fit(self.curves.x_range, [0, *(x[-1] for x in lines["xs"] if len(x))], margin=0.02)
        widgets.fit_log(self.curves, np.concatenate(lines["ys"]))
        self.ends.x_range.update(start=-0.6, end=len(groups) - 0.4)
        widgets.fit_log(self.ends, finals["y"])
        self.table.text = widgets.table(
            ("rows per step", "best loss", "median", "worst", "time"), rows, colors
        )


def _landscape(activation: str, extent: float) -> dict[str, Any]:
    """Return the loss of the two weights as a picture, in bands of equal area."""
    heights = landscape(activation)
    edges = np.quantile(heights, np.linspace(0.0, 1.0, BANDS + 1)[1:-1])
    return widgets.pixels(np.searchsorted(edges, heights).astype(np.float32), extent, middles=True)
