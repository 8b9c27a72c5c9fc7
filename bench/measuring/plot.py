"""Plots on two logarithmic axes, as SVG: a panel for each thing measured, a line for each of what is compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 300, 260
_LEFT, _TOP, _BOTTOM = 60, 34, 44
_COLUMNS = 2
_COLOURS = (
    *("#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#2f4858"),
    *("#d1495b", "#00798c", "#6b705c", "#5c4d7d", "#111111"),
)
_LEAST = 1e-3


@dataclass(frozen=True, slots=True)
class Panel:
    """One thing measured: its name and unit, and for each line the figures, one for each size; 0 is left out."""

    title: str
    figures: Mapping[str, Sequence[float]]


def svg(axis: str, sizes: Sequence[int], panels: Sequence[Panel]) -> str:
    """The panels beside each other; a dashed line in each grows as its axis does."""
    rows = ceil(len(panels) / _COLUMNS)
    names = list(panels[0].figures)
    width = _COLUMNS * (_WIDTH + _LEFT) + 20
    panels_height = rows * (_HEIGHT + _TOP + _BOTTOM)
    height = panels_height + 18 * ceil(len(names) / _COLUMNS) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" style="font: 12px sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        left, top = column * (_WIDTH + _LEFT) + _LEFT, row * (_HEIGHT + _TOP + _BOTTOM) + _TOP
        parts += _panel(panel, axis, sizes, left, top)
    for number, name in enumerate(names):
        row, column = divmod(number, _COLUMNS)
        left, top = column * (_WIDTH + _LEFT) + _LEFT, panels_height + 18 * row + 12
        parts.append(f'<rect x="{left}" y="{top - 8}" width="18" height="4" fill="{_colour(number)}"/>')
        parts.append(f'<text x="{left + 26}" y="{top - 2}">{escape(name)}</text>')
    return "\n".join((*parts, "</svg>", ""))


def _panel(panel: Panel, axis: str, sizes: Sequence[int], left: int, top: int) -> Iterator[str]:
    figures = [max(one, _LEAST) for each in panel.figures.values() for one in each if one] or [1.0]
    low, high = floor(log10(min(figures))), ceil(log10(max(figures)))
    high = max(high, low + 1)
    first, last = log10(sizes[0]), log10(sizes[-1])

    def x(size: float) -> float:
        return left + _WIDTH * (log10(size) - first) / ((last - first) or 1)

    def y(figure: float) -> float:
        return top + _HEIGHT * (high - log10(max(figure, _LEAST))) / (high - low)

    yield f'<text x="{left}" y="{top - 12}" font-weight="bold">{escape(panel.title)}</text>'
    for power in range(low, high + 1):
        at = y(10.0**power)
        yield f'<line x1="{left}" x2="{left + _WIDTH}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>'
        yield f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
    for size in sizes:
        yield f'<text x="{x(size):.1f}" y="{top + _HEIGHT + 18}" text-anchor="middle">{size}</text>'
    yield f'<text x="{left + _WIDTH / 2}" y="{top + _HEIGHT + 36}" text-anchor="middle">{escape(axis)}</text>'
    end = min(last, first + high - low)
    ends = f'x2="{x(10**end):.1f}" y2="{y(10.0 ** (low + end - first)):.1f}"'
    yield f'<line x1="{left}" y1="{top + _HEIGHT}" {ends} stroke="#999" stroke-dasharray="4 4"/>'
    for number, each in enumerate(panel.figures.values()):
        points = " ".join(f"{x(size):.1f},{y(one):.1f}" for size, one in zip(sizes, each, strict=True) if one)
        yield f'<polyline points="{points}" fill="none" stroke="{_colour(number)}" stroke-width="1.6"/>'


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
