"""A picture of a terminal, as SVG: what was typed, and what was printed with its colours.

tests/golden/test_picture.py makes docs/terminal.svg of what hostfwctl prints, and holds the picture to it; `make
golden` writes it anew.
"""

import re
from collections.abc import Iterable, Iterator
from html import escape

from hostfw.cli.output.terminal import cell_width

_COLUMN, _LINE, _EDGE, _BAR = 8.43, 19, 18, 34
_STYLES = {
    "1": "font-weight:bold",
    "2": "opacity:.65",
    "31": "fill:#ff7b72",
    "32": "fill:#7ee787",
    "33": "fill:#e3b341",
}
_STYLES |= {"34": "fill:#79c0ff", "35": "fill:#d2a8ff", "36": "fill:#56d4dd"}
_PLAIN = "fill:#e6edf3"
_FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace"
_ESCAPE = re.compile(r"\x1b\[(?P<codes>[0-9;]*)m")


def picture(title: str, lines: Iterable[str], columns: int) -> str:
    """The SVG of a terminal with this many columns. Lines may hold escape sequences of colours, and no others."""
    shown = list(lines)
    width = round(columns * _COLUMN + 2 * _EDGE)
    height = _BAR + len(shown) * _LINE + _EDGE
    rows = "".join(_row(line, _BAR + (number + 1) * _LINE - 5) for number, line in enumerate(shown))
    lights = "".join(f'<circle cx="{x}" cy="17" r="5"/>' for x in (20, 37, 54))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>\n<g fill="#484f58">{lights}</g>\n'
        f'<g font-family="{_FONTS}" font-size="14" fill="#e6edf3" xml:space="preserve">\n{rows}</g>\n</svg>\n'
    )


def _row(line: str, baseline: int) -> str:
    spans = "".join(
        f'<tspan x="{_EDGE + column * _COLUMN:.1f}" style="{style or _PLAIN}">{escape(text)}</tspan>'
        for column, style, text in _spans(line)
    )
    return f'<text y="{baseline}">{spans}</text>\n' if spans else ""


def _spans(line: str) -> Iterator[tuple[int, str, str]]:
    """The parts of a line: the column where each begins, its style and its text. Words stand in their own columns."""
    column, codes, end = 0, "", 0
    for found in (*_ESCAPE.finditer(line), None):
        text = line[end : found.start() if found else len(line)]
        style = ";".join(_STYLES[code] for code in codes.split(";") if code in _STYLES)
        for word in re.finditer(r"\S+(?: \S+)*", text):
            yield column + cell_width(text[: word.start()]), style, word[0]
        column += cell_width(text)
        if found:
            codes, end = found["codes"], found.end()
