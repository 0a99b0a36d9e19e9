"""Circles for units, lines for weights: where they stand and how they are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.plot._style import (
    MINUS,
    NEGATIVE,
    POSITIVE,
    Floats,
    diverging,
    luminance,
    number,
    own_or_new,
    seen_on,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

RADIUS = 0.34  # of a unit; the units of a layer are 1 apart
MARGIN = RADIUS + 0.12
CAPTION, LEGEND, NAME = 0.62, 0.55, 0.085  # inches: three lines of text, two lines and a gap, one character


class Diagram:
    """A network laid out from left to right. Layer 0 is the input; y grows upwards.

    Parameters
    ----------
    weights : list of array, each (fan_in, fan_out)
    biases : list of array (fan_out,) or None
    max_units : int
        Layers with more units show the first and last of them, and dots between.
    """

    def __init__(self, weights: list[Floats], biases: list[Floats | None], max_units: int) -> None:
        self.weights, self.biases = weights, biases
        self.sizes = [W.shape[0] for W in weights] + [weights[-1].shape[1]]
        self.shown = [_shown_units(size, max_units) for size in self.sizes]
        self.elided = [len(shown) < size for shown, size in zip(self.shown, self.sizes, strict=True)]
        rows = [len(shown) + elided for shown, elided in zip(self.shown, self.elided, strict=True)]
        self.height = max(rows)
        self.step = float(np.clip(1.25 * self.height / len(weights), 2.8, 6.0))  # between layers
        self.y = []
        for shown, elided, count in zip(self.shown, self.elided, rows, strict=True):
            slots = np.arange(count, dtype=np.float64)
            self.y.append((count - 1) / 2 - (np.delete(slots, (len(shown) + 1) // 2) if elided else slots))
        drawn = sum(len(a) * len(b) for a, b in zip(self.shown[:-1], self.shown[1:], strict=True))
        self.small = drawn <= 24 and not any(self.elided)  # weights and biases are written on
        self.scale = 1.0  # inches per unit

    def place(
        self, ax: Axes | None, inputs: list[str] | None, outputs: list[str] | None, colorbar: bool
    ) -> Axes:
        """Make or take Axes that hold the units and all text, and know how large a unit becomes.

        Nothing may stand outside: a layout engine makes too little room around Axes of equal scales.
        """
        names = [[""] * 3 if given is None else given for given in (inputs, outputs)]
        left, right = (0.25 + NAME * max(map(len, given)) for given in names)  # inches
        biased = self.small and any(b is not None and b.any() for b in self.biases)
        below = MARGIN + (0.35 if biased else 0.1)
        width = len(self.weights) * self.step + 2 * MARGIN
        height = self.height - 1 + MARGIN + below
        across, down = left + right, CAPTION + LEGEND
        own = ax is None
        if own:
            self.scale = float(np.clip(min(6.0 / height, 9.5 / width), 0.42, 1.0))
        size = width * self.scale + across + 0.9 * colorbar, height * self.scale + down
        ax = own_or_new(ax, (max(4.6, size[0]), size[1]))
        if not own:
            box = ax.get_window_extent()
            inches = box.width / ax.figure.dpi - across, box.height / ax.figure.dpi - down
            self.scale = max(0.05, float(min(inches[0] / width, inches[1] / height)))
        self.bottom = -(self.height - 1) / 2 - below
        ax.set_xlim(-MARGIN - left / self.scale, width - MARGIN + right / self.scale)
        ax.set_ylim(self.bottom - CAPTION / self.scale, self.bottom + height + LEGEND / self.scale)
        ax.set_aspect("equal")
        ax.set_axis_off()
        return ax

    def font(self, most: float) -> float:
        """Size of a text in points, smaller if units are."""
        return float(np.clip(most * (0.45 + 0.55 * self.scale), 5.0, most))

    def captions(
        self, ax: Axes, activations: list[str], inputs: list[str] | None, outputs: list[str] | None
    ) -> None:
        """Write what each layer is below it, and the names of inputs and outputs beside them."""
        last = len(self.weights)
        hidden = ["hidden"] if last == 2 else [f"hidden {layer}" for layer in range(1, last)]
        for layer, (name, size) in enumerate(zip(["input", *hidden, "output"], self.sizes, strict=True)):
            lines = [name, f"{size} unit{'s' * (size != 1)}", activations[layer - 1] if layer else ""]
            _text(ax, layer * self.step, self.bottom, "\n".join(filter(None, lines)), va="top", fontsize=9)
        for layer, names, letter, side in ((0, inputs, "x", -1), (last, outputs, r"\hat{y}", 1)):
            for unit, y in zip(self.shown[layer], self.y[layer], strict=True):
                index = f"_{{{unit + 1}}}" if self.sizes[layer] > 1 else ""
                name = f"${letter}{index}$" if names is None else names[unit]
                ha = "left" if side > 0 else "right"
                _text(ax, layer * self.step + side * MARGIN, y, name, ha=ha, fontsize=self.font(11))

    def edges(self, ax: Axes, what: str = "weight") -> None:
        """Draw the weights, or `what`: positive dark and solid, negative light and dashed, wide if great."""
        from matplotlib.collections import LineCollection
        from matplotlib.colors import to_rgba
        from matplotlib.lines import Line2D

        segments, values = [], []
        for layer, W in enumerate(self.weights):
            for i, y0 in zip(self.shown[layer], self.y[layer], strict=True):
                for j, y1 in zip(self.shown[layer + 1], self.y[layer + 1], strict=True):
                    start, end = np.array([layer * self.step, y0]), np.array([(layer + 1) * self.step, y1])
                    rim = RADIUS * (end - start) / np.linalg.norm(end - start)
                    segments.append((start + rim, end - rim))
                    values.append(W[i, j])
            if self.small:
                self._edge_labels(ax, layer)
        lines, weights = np.array(segments), np.array(values)
        largest = float(np.abs(weights).max()) or 1.0
        strength = np.abs(weights) / largest
        handles: list[Line2D] = []
        solid: Any = "-"
        dashed: Any = (0, (3.5, 1.2))
        for sign, color, dash, word in ((1, POSITIVE, solid, "positive"), (-1, NEGATIVE, dashed, "negative")):
            line = seen_on(ax, color)
            mine = np.sign(weights) == sign
            style: dict[str, Any] = {"linestyles": [dash], "linewidths": 0.5 + 3.0 * strength[mine]}
            style["colors"] = [to_rgba(line, 0.25 + 0.7 * value) for value in strength[mine]]
            ax.add_collection(LineCollection(list(lines[mine]), label=f"{word} {what}", zorder=1, **style))
            handles.append(Line2D([], [], color=line, linestyle=dash, linewidth=2.2, label=f"{word} {what}"))
        title = f"width: size of the {what}, at most {number(largest)}"
        style = {"frameon": False, "borderpad": 0.0, "borderaxespad": 0.2, "fontsize": 9, "title_fontsize": 9}
        ax.legend(handles=handles, title=title, ncols=2, loc="upper center", **style)

    def _edge_labels(self, ax: Axes, layer: int) -> None:
        """Write the weights on the lines between two layers, if they do not cover each other."""
        x0, x1 = layer * self.step, (layer + 1) * self.step
        y0, y1 = np.meshgrid(self.y[layer], self.y[layer + 1], indexing="ij")
        # Near the source, where the lines of one unit have parted and those of other units are not yet near.
        heights = y0 + 0.27 * (y1 - y0)
        gaps = np.diff(np.sort(heights, axis=None)) * self.scale * 72  # points
        if self.scale <= 0.5 or (gaps.size and gaps.min() < self.font(8)):
            return
        for index, weight in np.ndenumerate(self.weights[layer]):
            angle = float(np.degrees(np.arctan2(y1[index] - y0[index], x1 - x0)))
            turn = {"rotation": angle, "rotation_mode": "anchor", "transform_rotates_text": True}
            style: dict[str, Any] = {"fontsize": self.font(8), "zorder": 2, "bbox": _patch(ax)}
            _text(ax, x0 + 0.27 * (x1 - x0), float(heights[index]), short(weight), **style, **turn)

    def _value(self, ax: Axes, x: float, y: float, value: float, ground: float) -> None:
        """Write a number into a unit, as large as fits; none if it could not be read."""
        text = short(value)
        fitting = 2 * RADIUS * self.scale * 72 / (0.68 * len(text))  # a digit is about 0.64 em wide
        size = min(self.font(9), fitting)
        if size >= 4.5:
            _text(ax, x, y, text, fontsize=size, color="black" if ground > 0.45 else "white", zorder=4)

    def nodes(self, ax: Axes, values: list[Floats] | None, quantity: str | None) -> None:
        """Draw the units, colored by their values if there are any."""
        import matplotlib
        from matplotlib.cm import ScalarMappable
        from matplotlib.patches import Circle

        rim = matplotlib.rcParams["axes.edgecolor"]
        cmap, norm = _colors(values)
        for layer, (shown, ys) in enumerate(zip(self.shown, self.y, strict=True)):
            x = layer * self.step
            bias = None if layer == 0 else self.biases[layer - 1]
            for unit, y in zip(shown, ys, strict=True):
                face = "white" if values is None else cmap(norm(values[layer][unit]))
                ax.add_patch(Circle((x, y), RADIUS, facecolor=face, edgecolor=rim, linewidth=1.2, zorder=3))
                if values is not None:
                    self._value(ax, x, y, values[layer][unit], luminance(face))
                if self.small and self.scale > 0.5 and bias is not None and bias.any():
                    style = {"va": "top", "fontsize": self.font(7.5), "zorder": 4, "bbox": _patch(ax)}
                    _text(ax, x, y - RADIUS - 0.06, f"b {short(bias[unit])}", **style)
            if self.elided[layer]:
                half = (len(shown) + 1) // 2
                dots = (ys[half - 1] + ys[half]) / 2 + np.array([-0.2, 0, 0.2])
                ax.plot([x] * 3, dots, "o", color="0.45", markersize=3, zorder=3)
        if values is not None:
            over, under = values[0].max() > norm.vmax, values[0].min() < norm.vmin
            extend = "both" if over and under else "max" if over else "min" if under else "neither"
            place: dict[str, Any] = {"shrink": 0.85, "fraction": 0.06, "pad": 0.03, "extend": extend}
            ax.figure.colorbar(ScalarMappable(norm, cmap), ax=ax, label=quantity, **place)


def _shown_units(size: int, limit: int) -> list[int]:
    if size <= limit:
        return list(range(size))
    first = (limit + 1) // 2
    return [*range(first), *range(size - (limit - first), size)]


def _colors(values: list[Floats] | None) -> tuple[Colormap, Any]:
    """Colors and their range: zero is white; one-sided if no value is negative."""
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    if values is None:
        return diverging(), Normalize(-1, 1)
    # Inputs of any scale must not leave the computed units pale: they are clipped.
    largest = max(float(np.abs(layer).max()) for layer in values[1:]) or 1.0
    if min(float(layer.min()) for layer in values) < 0:
        return diverging(), Normalize(-largest, largest, clip=True)
    ramp = LinearSegmentedColormap.from_list("fastbp_positive", ["#ffffff", "#b9cbe0", POSITIVE])
    return ramp, Normalize(0, largest, clip=True)


def _text(ax: Axes, x: float, y: float, text: str, **style: Any) -> None:
    ax.text(x, y, text, **{"ha": "center", "va": "center", **style})


def _patch(ax: Axes) -> dict[str, Any]:
    """The ground of a text that stands on a line."""
    return {"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 0.6}


def short(value: float) -> str:
    """Write a number so that it fits into a unit.

    >>> short(0.5), short(-0.0123), short(0.00123), short(3.2e-7), short(254.9)
    ('0.50', '−0.012', '0.0012', '3.2e−7', '255')
    """
    size = abs(value)
    if size == 0 or 0.001 <= size < 100:
        text = f"{value:.{2 if size == 0 or size >= 0.1 else 3 if size >= 0.01 else 4}f}"
    elif 100 <= size < 1e4:
        text = f"{value:.0f}"
    else:
        text = f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    return text.replace("-", MINUS)
