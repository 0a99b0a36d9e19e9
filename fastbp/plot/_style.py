"""What the pictures share: Axes, colors that survive grayscale, number labels, filled contours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbp.arrays import to_real
from fastbp.validation import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, LinearSegmentedColormap

Floats = NDArray[np.float64]

# Neighbors are far apart in lightness (CIELAB L* 22, 66, 44, 59, 34, 71), so that they differ in gray too.
COLORS = ("#14375e", "#e58b1a", "#0f7173", "#d8639b", "#7a2048", "#58b4e3")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
POSITIVE, NEGATIVE = "#14375e", "#e58b1a"
MINUS = "\N{MINUS SIGN}"


def own_or_new(ax: Any, size: tuple[float, float]) -> Axes:
    """Check the ``ax`` a user gave, or make one in pyplot, so that notebooks show it."""
    require_matplotlib()
    from matplotlib.axes import Axes

    if ax is None:
        import matplotlib.pyplot as plt

        return plt.subplots(figsize=size, layout="constrained")[1]
    if not isinstance(ax, Axes):
        shape = f" of shape {ax.shape}: take one of its elements" if isinstance(ax, np.ndarray) else ""
        raise TypeError(f"ax must be a matplotlib Axes or None, got {type(ax).__name__}{shape}")
    if ax.name == "3d":
        raise ValueError("ax must have two dimensions, got a 3-D Axes")
    return ax


def require_matplotlib() -> None:
    """Raise an ImportError that says how to install it, if it is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError('fastbp.plot needs matplotlib: pip install "fastbp[plot]"') from error


def seen_on(ax: Axes, color: str) -> tuple[float, float, float]:
    """Return the color, lighter if the Axes are dark."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(color)
    mix = 0.45 if luminance(ax.get_facecolor()) < 0.4 else 0.0
    return red + mix * (1 - red), green + mix * (1 - green), blue + mix * (1 - blue)


def luminance(color: Any) -> float:
    """Brightness of a color as a grayscale print shows it, 0 black to 1 white (Rec. 709)."""
    from matplotlib.colors import to_rgb

    return float(np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722)))


def diverging() -> LinearSegmentedColormap:
    """Colors from negative to positive. Its ends differ in lightness, as most diverging maps' do not."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(
        "fastbp_diverging", [NEGATIVE, "#fbe3c4", "#ffffff", "#b9cbe0", POSITIVE]
    )


def landscape() -> Colormap:
    """Colors of a loss: valleys light, so that paths which end there are seen, heights dark."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps["YlGnBu"](np.linspace(0.02, 0.80, 256)), "fastbp_landscape")


def halo(width: float) -> list[Any]:
    """Path effect: a white rim, so that a line is seen on any ground."""
    from matplotlib import patheffects

    return [patheffects.Stroke(linewidth=width, foreground="white"), patheffects.Normal()]


def number(value: float, digits: int = 3) -> str:
    """Write a number with few significant digits, without an exponent if that is short.

    >>> number(2500.0), number(0.012345), number(-1.5), number(1.234e-7), number(0.0)
    ('2500', '0.0123', '−1.5', '1.23e−7', '0')
    """
    if not np.isfinite(value):
        text = f"{value:g}"
    elif value == 0 or 1e-3 <= abs(value) < 1e5:
        text = np.format_float_positional(value, precision=digits, fractional=False, trim="-")
        if abs(value) >= 10.0**digits:  # the digits before the point are kept
            text = f"{value:.0f}"
    else:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return text.replace("-", MINUS)


def contour_levels(values: Floats, count: int) -> Floats:
    """Return increasing levels from the least to the greatest finite value.

    ``low + (high - low) t**p`` with p such that the median lies halfway: about as much area above
    the middle level as below it. Equal steps would leave all but the walls of a steep valley in
    one color.
    """
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if not high - low > 1e-12 * max(abs(low), abs(high)):  # flat: one level around it
        margin = max(abs(low), 1.0) * 0.5
        return np.array([low - margin, low + margin])
    middle = (float(np.median(finite)) - low) / (high - low)
    power = np.clip(np.log(max(middle, 1e-300)) / np.log(0.5), 1.0, 8.0)
    edges = low + (high - low) * np.linspace(0.0, 1.0, count + 1) ** power
    gaps = np.diff(edges)
    digits = 1 - np.floor(np.log10(np.maximum(gaps, 1e-290))).astype(int)
    inner = [round(float(edge), int(digit)) for edge, digit in zip(edges[1:-1], digits[1:], strict=True)]
    first, last = 10.0 ** -digits[[0, -1]]
    return np.unique(np.array([np.floor(low / first) * first, *inner, np.ceil(high / last) * last]))


def filled_contours(ax: Axes, u: Floats, v: Floats, values: Floats, count: int, label: str) -> None:
    """Draw ``values`` (len(v), len(u)) as filled contours with a colorbar; non-finite cells stay gray."""
    from matplotlib.colors import BoundaryNorm

    edges = contour_levels(values, count)
    shown = np.ma.masked_invalid(values)
    cmap = landscape()
    norm = BoundaryNorm(edges, cmap.N)
    ax.set_facecolor("#bbbbbb")
    filled = ax.contourf(u, v, shown, levels=edges, cmap=cmap, norm=norm)
    if len(edges) > 2:
        ax.contour(u, v, shown, levels=edges[1:-1], colors="white", linewidths=0.5, alpha=0.7)
    ticks = edges[:: max(1, (len(edges) - 1) // 4)]
    bar = colorbar(ax, filled, ticks=ticks, label=label)
    bar.ax.set_yticklabels([number(tick) for tick in ticks])
    bar.ax.minorticks_off()


def colorbar(ax: Axes, mappable: Any, **options: Any) -> Any:
    """Draw a colorbar as high as the Axes, even if equal scales make them lower than their place.

    As a child of the Axes it follows them, but only a layout engine makes room for it; without one
    it takes the room from the Axes, as pyplot's does.
    """
    if ax.figure.get_layout_engine() is None:
        return ax.figure.colorbar(mappable, ax=ax, **options)
    return ax.figure.colorbar(mappable, cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)), **options)


def draw_path(ax: Axes, x: Floats, y: Floats, index: int, label: str | None) -> None:
    """Draw a path on a landscape: a haloed line, a white dot where it starts, a star where it ends."""
    color = COLORS[index % len(COLORS)]
    marker = MARKERS[index % len(MARKERS)]
    every = max(1, len(x) // 40)
    ax.plot(
        x,
        y,
        color=color,
        linewidth=1.6,
        marker=marker,
        markersize=3.5,
        markevery=every,
        label=label,
        path_effects=halo(3.2),
        zorder=3,
    )
    ax.plot(
        x[:1], y[:1], "o", color="white", markeredgecolor=color, markeredgewidth=1.8, markersize=8, zorder=4
    )
    ax.plot(x[-1:], y[-1:], "*", color=color, markeredgecolor="white", markersize=15, zorder=5)


def check_limits(name: str, limits: tuple[float, float]) -> tuple[float, float]:
    """Return the pair of floats ``(low, high)``, low < high."""
    pair = np.asarray(to_real(limits, name), dtype=np.float64)
    if pair.shape != (2,) or not np.isfinite(pair).all() or not pair[0] < pair[1]:
        raise ValueError(f"{name} must be (low, high) with low < high, got {shown(limits)}")
    return float(pair[0]), float(pair[1])


def check_labels(labels: Any, count: int, things: str) -> list[str]:
    """Return ``labels`` as a list of ``count`` strings."""
    if isinstance(labels, str):
        labels = [labels]
    names = [str(label) for label in labels]
    if len(names) != count:
        raise ValueError(f"got {len(names)} names for {count} {things}")
    return names
