"""The tab Backpropagation: a small network as a drawing, and every number of a forward and a backward pass."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from bokeh.document import Document
from bokeh.models import Column, ColumnDataSource, HoverTool, Range1d, TabPanel

from fastbp.explaining.agreement import SAME
from fastbp.explaining.entries import short
from fastbp.explaining.text import PARTS
from fastbp.playground import widgets
from fastbp.playground.lesson import FIELDS, INPUTS, TARGETS, Edge, Lesson, Unit
from fastbp.plot._style import MINUS, NEGATIVE, POSITIVE

__all__ = ["tab"]

NAME = "backpropagation"
DRAWING = 520  # pixels, if the screen has them
SIZE = 74  # pixels of a unit
NARROW = 450  # pixels: less has room for one number on an edge, the one that was found last
LABELS = 9  # edges between two layers that have numbers on them; of more, the table and a touch show them
LINES = 12  # of a formula's numbers


def tab(document: Document) -> TabPanel:
    """Return the tab for a new page."""
    return _Backpropagation(document).panel


class _Backpropagation:
    """One page's tab: the lesson, its drawing, and its tables."""

    def __init__(self, document: Document) -> None:
        self.form = widgets.Form(document, NAME, FIELDS, self._changed, sliders=(*INPUTS, *TARGETS))
        self.lesson = Lesson(self.form.values)
        self._make_drawing()
        self.formula = widgets.words(name="formula", width=DRAWING)
        self.formula.sizing_mode, self.formula.max_width = "stretch_width", DRAWING
        self.status = widgets.words(name="status")
        self.status.sizing_mode = "stretch_width"
        self.units = widgets.words(name="units")
        self.edges = widgets.words(name="edges")
        self.command = widgets.words(name="command")
        buttons = widgets.folding(
            widgets.button("Step", self._step, kind="primary"),
            widgets.button("Back", self._back),
            widgets.button("To the end", self._finish, name="whole"),
            widgets.button("Update", self._update, kind="success"),
            widgets.button("Reset", self._reset),
            spacing=4,
        )
        lesson = Column(
            children=[buttons, self.status, self.drawing, self.formula],
            sizing_mode="stretch_width",
            min_width=widgets.WIDTH,
            max_width=DRAWING,
        )
        self.panel = widgets.panel(
            "Backpropagation",
            "Step shows one quantity more: forward from the inputs to the loss, then backward to the error of every "
            "unit, and to the new weights, which Update takes. A unit shows what enters it, in, what leaves it, out "
            "(of the output \N{LATIN SMALL LETTER Y WITH CIRCUMFLEX}), and its delta, "
            "\N{GREEK SMALL LETTER DELTA}. On an edge stands its weight, after the arrow its new one, and below it its "
            "gradient, \N{PARTIAL DIFFERENTIAL}; a narrow screen has the last of them. Blue is positive, orange "
            "negative. Point at a unit or an edge for its numbers.",
            widgets.folding(
                lesson,
                self.form.layout(self.form.link, self.command),
                Column(children=[self.units, self.edges]),
            ),
        )
        self._show()

    def _make_drawing(self) -> None:
        """Make the drawing, with nothing in it yet."""
        self.drawing = widgets.picture(
            "",
            height=400,
            sizing_mode="stretch_width",
            max_width=DRAWING,
            x_range=Range1d(0, 1),
            y_range=Range1d(0, 1),
            name="network",
        )
        self.drawing.title.visible = False
        self.drawing.axis.visible = self.drawing.grid.visible = False
        self.drawing.outline_line_color = None
        self.drawing.min_border = 0
        self.lines = ColumnDataSource({key: [] for key in _LINE}, name="backpropagation-edges")
        self.circles = ColumnDataSource({key: [] for key in _CIRCLE}, name="backpropagation-units")
        self.captions = ColumnDataSource({"x": [], "y": [], "text": []})
        ends: dict[str, Any] = {"x0": "x0", "y0": "y0", "x1": "x1", "y1": "y1", "source": self.lines}
        self.drawing.segment(line_color="halo", line_width=14, **ends)
        drawn = self.drawing.segment(line_color="color", line_width="width", **ends)
        circles = self.drawing.scatter(
            "x",
            "y",
            size=SIZE,
            fill_color="fill",
            line_color="rim",
            line_width="rim_width",
            source=self.circles,
        )
        self.drawing.text(
            "x",
            "y",
            "text",
            source=self.circles,
            text_font_size="11px",
            text_align="center",
            text_baseline="middle",
            text_color="#111111",
            text_line_height=1.15,
        )
        self.drawing.text(
            "x",
            "y",
            "label",
            source=self.lines,
            text_font_size="11px",
            text_color="ink",
            text_align="center",
            text_baseline="middle",
            background_fill_color="white",
            background_fill_alpha="ground",
            text_line_height=1.05,
        )
        self.drawing.text(
            "x",
            "y",
            "text",
            source=self.captions,
            text_font_size="12px",
            text_align="center",
            text_baseline="top",
            text_color="#444444",
        )
        self.width = DRAWING
        self.drawing.on_change("inner_width", self._resized)
        for renderer in (drawn, circles):
            self.drawing.add_tools(HoverTool(renderers=[renderer], tooltips="@hover", line_policy="interp"))

    # What the user does

    def _changed(self, name: str) -> None:
        self.lesson.choose(name, self.form.values[name])
        self._show()

    def _step(self) -> None:
        self.lesson.step()
        self._show()

    def _back(self) -> None:
        self.lesson.back()
        self._show()

    def _finish(self) -> None:
        self.lesson.finish()
        self._show()

    def _update(self) -> None:
        self.lesson.update()
        self._show()

    def _reset(self) -> None:
        self.lesson.reset()
        self._show()

    def _resized(self, _attribute: str, _old: int, new: int) -> None:
        self.width = new
        self._show()

    # What is shown

    def _show(self) -> None:
        sizes = self.lesson.sizes
        for names, count in ((INPUTS, sizes[0]), (TARGETS, sizes[-1])):
            for k, name in enumerate(names):
                self.form.widgets[name].visible = k < count
        units, edges = self.lesson.units(), self.lesson.edges()
        self._draw(units, edges)
        self.formula.text = self._formula()
        self.units.text = widgets.table(
            ("unit", "v_in", "v_out", "f'(v_in)", "delta"),
            [
                (_unit_name(unit, sizes), *map(_known, (unit.v_in, unit.v_out, unit.slope, unit.delta)))
                for unit in units
            ],
        )
        rows = [
            (
                f"W({edge.layer}->{edge.layer + 1})[{edge.i + 1},{edge.j + 1}]",
                *map(_known, (edge.weight, edge.gradient, edge.after)),
            )
            for edge in edges
        ]
        rows += [
            (
                f"b({unit.layer})[{unit.index + 1}]",
                *map(_known, (unit.bias, unit.bias_gradient, unit.bias_after)),
            )
            for unit in units
            if unit.bias is not None
        ]
        self.edges.text = widgets.table(("weight", "now", "gradient", "after"), rows)
        when = ", before the first update" if len(self.lesson.losses) > 1 else ""
        self.command.text = f"The same in a terminal{when}: <code>{escape(self.lesson.command())}</code>"
        self.status.text = self._status()

    def _status(self) -> str:
        lesson = self.lesson
        if lesson.explanation is None:
            text = "The numbers grow beyond what a float can hold. Reset, or choose a smaller rate or other inputs."
            return widgets.note(text, trouble=True)
        text = lesson.story()
        if self.form.complaint:
            text, self.form.complaint = f"{self.form.complaint}; {text}", ""
        if not lesson.is_done:
            return widgets.note(text)
        difference = lesson.difference()
        same = difference is not None and difference <= SAME
        verdict = "the same numbers" if same else "NOT the same numbers: please report this"
        return widgets.note(
            f"{text}. The compiled kernels: {verdict}, largest difference {difference:.1e}", trouble=not same
        )

    def _formula(self) -> str:
        """The quantity that is spoken of, its formula, and its numbers."""
        entry, entries = self.lesson.entry, self.lesson.entries
        if entry is None:
            first = entries[0].name if entries else "nothing"
            return f"<p>Step shows {escape(first)}, the first of {len(entries)} quantities.</p>"
        sign = "&larr;" if entry.part == "update" else "="
        lines = [
            f"<tr><td style='white-space:nowrap;vertical-align:top'>{escape(left)}</td><td>= {escape(right)}</td></tr>"
            for left, right in entry.lines[:LINES]
        ]
        if len(entry.lines) > LINES:
            lines.append(f"<tr><td>... and {len(entry.lines) - LINES} more</td></tr>")
        remark = self.lesson.remark()
        return (
            f"<div style='color:#555'>{self.lesson.position} of {len(entries)}. {escape(PARTS[entry.part])}</div>"
            f"<div style='font-size:15px;margin:4px 0'><b>{escape(entry.name)}</b> {sign} {escape(entry.formula)}</div>"
            f"<table style='font-variant-numeric:tabular-nums'>{''.join(lines)}</table>"
            + (f"<p style='color:#555'>{escape(remark)}</p>" if remark else "")
        )

    def _draw(self, units: list[Unit], edges: list[Edge]) -> None:
        sizes = self.lesson.sizes
        rows, last = max(3, *sizes), len(sizes) - 1
        margin = 0.17 * last
        self.drawing.x_range.update(start=-margin, end=last + margin)
        self.drawing.y_range.update(start=-rows / 2 - 0.35, end=rows / 2)
        place = {
            (unit.layer, unit.index): (unit.layer, (sizes[unit.layer] - 1) / 2 - unit.index) for unit in units
        }
        self._draw_edges(edges, place)
        circles: dict[str, list[Any]] = {key: [] for key in _CIRCLE}
        for unit in units:
            x, y = place[unit.layer, unit.index]
            parts = [
                ("in", unit.v_in),
                (_output_letter(unit, last), unit.v_out),
                ("\N{GREEK SMALL LETTER DELTA}", unit.delta),
            ]
            row = {
                "x": x,
                "y": y,
                "text": "\n".join(f"{name} {_brief(v)}" for name, v in parts if v is not None),
                "fill": _fill(unit),
                "rim": NEGATIVE if unit.active else "#444444",
                "rim_width": 4 if unit.active else 1.5,
                "hover": _unit_name(unit, sizes)
                + "".join(
                    f", {name} {short(v)}"
                    for name, v in (
                        ("v_in", unit.v_in),
                        ("v_out", unit.v_out),
                        ("delta", unit.delta),
                        ("bias", unit.bias),
                        ("its gradient", unit.bias_gradient),
                    )
                    if v is not None
                ),
            }
            for key, value in row.items():
                circles[key].append(value)
        self.circles.data = circles
        target = ", ".join(self.lesson.values[name] for name in TARGETS[: sizes[-1]]).replace("-", MINUS)
        names = [
            "inputs",
            *(f"layer {layer}" for layer in range(1, last)),
            f"layer {last}, output\ntarget {target}",
        ]
        bottom = -rows / 2 + 0.02
        self.captions.data = {"x": list(range(last + 1)), "y": [bottom] * (last + 1), "text": names}

    def _draw_edges(self, edges: list[Edge], place: dict[tuple[int, int], tuple[int, float]]) -> None:
        sizes = self.lesson.sizes
        largest = max(abs(edge.weight) for edge in edges) or 1.0
        narrow = self.width < NARROW
        lines: dict[str, list[Any]] = {key: [] for key in _LINE}
        for edge in edges:
            (x0, y0), (x1, y1) = place[edge.layer, edge.i], place[edge.layer + 1, edge.j]
            # Labels of edges to one unit stand below each other, those to the next unit farther to the right.
            columns = sizes[edge.layer + 1]
            spread = 0.24 if narrow else 0.32
            at = 0.46 if columns == 1 else 0.5 + spread * (edge.j / (columns - 1) - 0.5)
            few = sizes[edge.layer] * columns <= LABELS
            text = [_brief(edge.weight)]
            if edge.after is not None:
                text = [f"\N{RIGHTWARDS ARROW}{_brief(edge.after)}"]
            if edge.gradient is not None:
                text.append(f"\N{PARTIAL DIFFERENTIAL}{_brief(edge.gradient)}")
            label = "\n".join(text[-1:] if narrow else text) if few else ""
            name = f"W({edge.layer}->{edge.layer + 1})[{edge.i + 1},{edge.j + 1}] = {short(edge.weight)}"
            row = {
                "x0": x0,
                "y0": y0,
                "x1": x1,
                "y1": y1,
                "color": POSITIVE if edge.weight >= 0 else NEGATIVE,
                "width": 0.8 + 3.2 * abs(edge.weight) / largest,
                "halo": "#ffe9a8" if edge.active else "rgba(0, 0, 0, 0)",
                "x": x0 + at * (x1 - x0),
                "y": y0 + at * (y1 - y0),
                "label": label,
                "ink": "#111111" if edge.active else "#444444",
                "ground": 0.85 if label else 0.0,
                "hover": name if edge.gradient is None else f"{name}, gradient {short(edge.gradient)}",
            }
            for key, value in row.items():
                lines[key].append(value)
        self.lines.data = lines


_LINE = ("x0", "y0", "x1", "y1", "color", "width", "halo", "x", "y", "label", "ink", "ground", "hover")
_CIRCLE = ("x", "y", "text", "fill", "rim", "rim_width", "hover")


def _known(value: float | None) -> str:
    return "" if value is None else short(value)


def _brief(value: float) -> str:
    """The number as short as fits into a unit."""
    value += 0.0  # never -0
    text = f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.2g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("-", MINUS)


def _output_letter(unit: Unit, last: int) -> str:
    return (
        "x ="
        if unit.layer == 0
        else "\N{LATIN SMALL LETTER Y WITH CIRCUMFLEX}"
        if unit.layer == last
        else "out"
    )


def _unit_name(unit: Unit, sizes: list[int]) -> str:
    index = f"[{unit.index + 1}]" if sizes[unit.layer] > 1 else ""
    return f"x{index}" if unit.layer == 0 else f"layer {unit.layer}{index}"


def _fill(unit: Unit) -> str:
    """The shade of a unit: by delta once it is known, else by what leaves it."""
    value = unit.v_out if unit.delta is None else unit.delta
    if value is None or not math.isfinite(value):
        return "#ffffff"
    share = 0.45 * math.tanh(abs(value) * (1.0 if unit.delta is None else 5.0))
    return widgets.tint(POSITIVE if value >= 0 else NEGATIVE, share)
