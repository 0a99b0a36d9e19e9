"""What the tabs share: colors, pictures, fields, tables of numbers, and rows that fold on a narrow screen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import (
    Button,
    CategoricalSlider,
    Column,
    CustomJS,
    CustomJSTickFormatter,
    Div,
    FixedTicker,
    LayoutDOM,
    Range1d,
    Row,
    Select,
    TabPanel,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from fastbp.playground.fields import Field, link, read_link
from fastbp.plot._style import COLORS, NEGATIVE, POSITIVE

__all__ = [
    "BLUES",
    "COLORS",
    "IMAGE",
    "PATHS",
    "SHARES",
    "SIGNED",
    "Form",
    "button",
    "fit",
    "fit_log",
    "folding",
    "log_picture",
    "log_ticks",
    "note",
    "nothing",
    "panel",
    "picture",
    "pixels",
    "rgb",
    "short",
    "table",
    "tint",
    "words",
]

WIDTH = 366  # of a picture or a column of fields: one on a phone, three on a desk

MOST_TICKS = 6  # powers of ten on an axis of logarithms

_FOLDING = """
:host { flex-wrap: wrap; align-items: flex-start; }
@media (max-width: 780px) { .first { order: -1; } }
"""
_LOG_LABEL = "return tick < 1e-4 || tick >= 1e5 ? tick.toExponential(0) : String(tick)"
# The padding that Bokeh's theme gives a button would leave room for three in a row.
_BUTTON = ":host .bk-btn { padding: 6px 2px; }"


def rgb(color: str) -> tuple[int, int, int]:
    """Return a color as three numbers.

    >>> rgb("#14375e")
    (20, 55, 94)
    """
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def tint(color: str, share: float) -> str:
    """Return a color mixed with white: all white for share 0.

    >>> tint("#14375e", 1.0), tint("#14375e", 0.0)
    ('#14375e', '#ffffff')
    """
    return "#" + "".join(f"{round(255 + share * (part - 255)):02x}" for part in rgb(color))


PATHS = COLORS[:5]
"""Of the optimizers, in their order."""

SIGNED = [tint(NEGATIVE, share) for share in np.linspace(1.0, 0.0, 64)]
SIGNED += [tint(POSITIVE, share) for share in np.linspace(0.0, 1.0, 64)]
"""From negative over white to positive."""

SHARES = [tint(color, 0.6) for color in reversed(SIGNED)]
"""Of the second of two classes: from the color of the first over white to that of the second, pale."""

BLUES = [tint(POSITIVE, share) for share in np.linspace(0.04, 0.75, 12)]
"""A loss: valleys light, heights dark."""


def short(value: float) -> str:
    """Return a number for the page, with six digits.

    >>> short(0.123456789), short(float("nan"))
    ('0.123457', 'nan')
    """
    return f"{value:.6g}"


def picture(title: str, **options: Any) -> figure:
    """Return an empty figure that no tool moves, so that a finger on it scrolls the page."""
    settings: dict[str, Any] = {"width": WIDTH, "height": WIDTH, "tools": "", "toolbar_location": None}
    plot = figure(title=title, **(settings | options))
    plot.title.text_font_size = "13px"
    plot.min_border_right = 12
    return plot


def fit(ticks: Range1d, values: Any, margin: float = 0.08) -> None:
    """Make an axis as long as its finite values need.

    A fixed range, since one that finds its ends by itself complains while there is nothing to show.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    room = margin * (high - low) or 0.5 * (abs(high) or 1.0)
    ticks.update(start=low - room, end=high + room)


def log_picture(title: str, **options: Any) -> figure:
    """Return a `picture` whose y is an axis of logarithms."""
    plot = picture(title, y_axis_type="log", y_range=Range1d(0.1, 1), **options)
    plot.yaxis.ticker = FixedTicker(ticks=log_ticks(0.1, 1.0))
    plot.yaxis.formatter = CustomJSTickFormatter(code=_LOG_LABEL)
    return plot


def log_ticks(low: float, high: float) -> list[float]:
    """Return the ticks of an axis of logarithms: 1 and 3 of each power of ten, or, if it is long, some of the powers.

    >>> log_ticks(0.1, 1.0), log_ticks(1e-3, 1e60)
    ([0.1, 0.3, 1.0, 3.0], [0.001, 100000000.0, 1e+19, 1e+30, 1e+41, 1e+52])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 3) if last - first < MOST_TICKS else (1,)
    powers = range(first, min(last, 307) + 1, max(1, math.ceil((last - first) / MOST_TICKS)))
    return [float(f"{step}e{power}") for power in powers for step in steps]


def fit_log(plot: figure, values: Any) -> None:
    """Make the y of a `log_picture` as long as its finite values above 0 need."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known) & (known > 1e-300)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.1, 1.0)
    plot.yaxis.ticker.ticks = log_ticks(low, high)
    plot.y_range.update(start=low / 1.3, end=high * 1.3)


def pixels(heights: NDArray[Any], extent: float, *, middles: bool = False) -> dict[str, list[Any]]:
    """Return a picture from -extent to extent as the columns of an image.

    Parameters
    ----------
    heights : array of shape (n, n)    From the lower left.
    extent : float
    middles : bool                     The first and the last value are those at the edges.
    """
    half = extent / (len(heights) - 1) if middles else 0.0
    low, size = [-extent - half], [2 * (extent + half)]
    return {"image": [heights], "x": low, "y": low, "dw": size, "dh": size}


def nothing(*columns: str) -> dict[str, list[Any]]:
    """Return empty columns."""
    return {name: [] for name in columns}


IMAGE = ("image", "x", "y", "dw", "dh")


def button(label: str, action: Callable[[], None], *, name: str = "", kind: str = "default") -> Button:
    """Return a button; `name` is a class of it that tests look for."""
    made = Button(
        label=label,
        button_type=kind,
        width=78,
        margin=(5, 4, 5, 5),
        css_classes=[name or label.lower()],
        stylesheets=[_BUTTON],
    )
    made.on_click(lambda _event: action())
    return made


def words(html: str = "", *, name: str = "words", width: int = WIDTH) -> Div:
    """Return a paragraph. What a user has written must be escaped by `html.escape`."""
    return Div(text=html, width=width, disable_math=True, css_classes=[name])


def note(text: str, *, trouble: bool = False) -> str:
    """Return a message as HTML, escaped."""
    color = "#a02020" if trouble else "#333333"
    return f'<span role="status" style="color:{color}">{escape(text)}</span>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], colors: Sequence[str] = ()) -> str:
    """Return a table as HTML, escaped; with `colors`, a row begins with a spot of its color."""
    style = 'style="text-align:left;padding:1px 8px 1px 0;white-space:nowrap"'
    spots = [f'<span style="color:{color}">\N{BLACK SQUARE}</span> ' for color in colors]
    lines = ["<tr>" + "".join(f"<th {style}>{escape(cell)}</th>" for cell in header) + "</tr>"]
    for number, row in enumerate(rows):
        first = spots[number] if number < len(spots) else ""
        cells = [f"<td {style}>{first if not k else ''}{escape(cell)}</td>" for k, cell in enumerate(row)]
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return f'<table style="border-spacing:0;font-size:12px;font-variant-numeric:tabular-nums">{"".join(lines)}</table>'


def folding(*children: LayoutDOM, spacing: int = 10) -> Row:
    """Return a row that goes on below if the screen is narrow; a child of class "first" is on top there."""
    return Row(children=list(children), spacing=spacing, sizing_mode="stretch_width", stylesheets=[_FOLDING])


def panel(title: str, introduction: str, *children: LayoutDOM) -> TabPanel:
    """Return a tab: one sentence on what to do, and the rest."""
    text = Div(
        text=escape(introduction),
        sizing_mode="stretch_width",
        disable_math=True,
        css_classes=["introduction"],
    )
    column = Column(children=[text, *children], spacing=8, sizing_mode="stretch_width", margin=(10, 4, 10, 4))
    return TabPanel(child=column, title=title)


class Form:
    """A field for every choice of a tab, and the link that holds them.

    Parameters
    ----------
    document : bokeh.document.Document
        Its query string says where the fields start.
    tab : str
        Name of the tab in links.
    fields : dict of str to Field
        Each is a list to choose from, or a slider.
    changed : callable
        Called with the name of the field that was changed.
    sliders : collection of str
        Fields that are sliders.

    Attributes
    ----------
    values : dict of str
    widgets : dict of str to Select or CategoricalSlider
    link : Div
    complaint : str
        What is wrong with the link that opened the page, or "".
    """

    def __init__(
        self,
        document: Document,
        tab: str,
        fields: Mapping[str, Field],
        changed: Callable[[str], None],
        sliders: Sequence[str] = (),
    ) -> None:
        self._tab, self._fields, self._changed = tab, fields, changed
        self.values, faults = read_link(tab, fields, _arguments(document))
        self.complaint = f"The link was not understood: {'; '.join(faults)}" if faults else ""
        self.widgets: dict[str, Any] = {}
        for name, field in fields.items():
            value = self.values[name]
            looks = {"title": field.title, "value": value, "width": 168, "css_classes": [f"field-{name}"]}
            if name in sliders:
                made: Any = CategoricalSlider(categories=list(field.options), **looks)
            else:
                made = Select(options=list(field.options), **looks)
            made.on_change("value", self._listener(name))
            self.widgets[name] = made
        self.link = words(name="link")
        # The address of the page follows, so that reloading it, or keeping its address, keeps the state.
        keep = "history.replaceState(null, '', cb_obj.text.match(/href=\"([^\"]*)\"/)[1].replaceAll('&amp;', '&'))"
        self.link.js_on_change("text", CustomJS(code=keep))
        self.link.text = self._link()

    def set(self, name: str, value: str) -> None:
        """Set a field to one of its options, without calling `changed`."""
        self.values[name] = value
        self.widgets[name].value = value
        self.link.text = self._link()

    def layout(self, *extra: LayoutDOM) -> Column:
        """Return all fields, two in a row, and what else belongs there."""
        return Column(children=[folding(*self.widgets.values(), spacing=4), *extra], width=WIDTH)

    def _listener(self, name: str) -> Callable[[str, Any, Any], None]:
        def listen(_attribute: str, _old: Any, new: Any) -> None:
            if new == self.values[name]:
                return
            if new not in self._fields[name].options:  # no widget of this page sends that
                self.widgets[name].value = self.values[name]
                return
            self.values[name] = new
            self.link.text = self._link()
            self._changed(name)

        return listen

    def _link(self) -> str:
        return f'<a href="{escape(link(self._tab, self._fields, self.values))}">Link to these choices</a>'


def _arguments(document: Document) -> dict[str, list[bytes]]:
    """Return the query string of the page; none outside a server."""
    context = document.session_context
    request = getattr(context, "request", None)
    return dict(request.arguments) if request is not None else {}
