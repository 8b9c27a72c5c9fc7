"""Tables for people: aligned columns that give way in the order of their importance where a terminal is narrow."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain

from hostfw.cli.output.terminal import cell_width, printable, shortened, wrapped

NOTHING = "-"
"""The text of an empty cell."""

_BELOW = " " * 6
_WIDE_GAP = 3
_GAP = 2
_FEW = 3
_NARROWEST = 4
"""No column gets narrower than this, or than what it holds."""


class Gives(Enum):
    """The ways to show a cell that is wider than its column; a cut leaves an ellipsis."""

    LINES = auto()
    """On several lines, whole."""
    FEW_LINES = auto()
    """On up to three lines, whole, or else without its middle: a name that somebody may have to type."""
    START = auto()
    """Without its beginning: the end of a path says more."""
    MIDDLE = auto()
    """Without its middle: names are told apart by both ends."""
    END = auto()
    """Without its end."""
    BELOW = auto()
    """Whole, on lines of its own below the row, as soon as the row is too wide."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: the higher its `rank`, the earlier it gives way, down to `least` columns; those of rank 0 never do.

    One that is `optional` is left out when its turn comes.
    """

    heading: str
    rank: int = 0
    least: int = _NARROWEST
    gives: Gives = Gives.MIDDLE
    right: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The lines of the headings and of each row, and the columns that did not fit."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...] = ()

    @property
    def lines(self) -> Iterator[str]:
        """The lines of all rows."""
        return chain.from_iterable(self.rows)


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None = None) -> Table:
    """Lay out rows below their headings for so many columns of a terminal; None lets every cell be as wide as it is."""
    cells = [[printable(cell) for cell in row] for row in rows]
    headings = [column.heading for column in columns]
    natural = [max(map(cell_width, column)) for column in zip(headings, *cells, strict=True)]
    widths, gap = _layout(columns, natural, width)
    shown = [number for number, found in enumerate(widths) if found]
    below = [n for n, column in enumerate(columns) if column.gives is Gives.BELOW and not widths[n]]
    kept = [columns[number] for number in shown]
    room = [widths[number] for number in shown]
    laid_out = tuple(
        (
            *_lines(kept, [row[number] for number in shown], room, gap),
            *(line for number in below for line in _lines_below(row[number], width)),
        )
        for row in (headings, *cells)
    )
    left_out = tuple(columns[n].heading for n in range(len(columns)) if natural[n] and not widths[n] and n not in below)
    return Table(laid_out[0], laid_out[1:], left_out)


def _layout(columns: Sequence[Column], natural: Sequence[int], width: int | None) -> tuple[list[int], int]:
    """The width of each column, 0 for one that is left out, and the blanks between two."""
    if width is None or _total(natural, _WIDE_GAP) <= width:
        return list(natural), _WIDE_GAP
    widths = [0 if column.gives is Gives.BELOW else found for column, found in zip(columns, natural, strict=True)]
    for number in sorted(range(len(columns)), key=lambda number: -columns[number].rank):
        column = columns[number]
        excess = _total(widths, _GAP) - width
        if excess > 0 and column.optional:
            widths[number] = 0
        elif excess > 0 and column.rank:
            least = min(max(column.least, cell_width(column.heading)), widths[number])
            widths[number] = max(least, widths[number] - excess)
    return _squeezed(columns, widths, width), _GAP


def _squeezed(columns: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """Have the widest columns that give way at all give more, on a terminal that is narrower than we care for."""
    while _total(widths, _GAP) > width:
        candidates = [n for n, column in enumerate(columns) if column.rank and widths[n] > _NARROWEST]
        if not candidates:
            break
        widths[max(candidates, key=lambda number: widths[number])] -= 1
    return widths


def _total(widths: Iterable[int], gap: int) -> int:
    shown = [width for width in widths if width]
    return sum(shown) + gap * (len(shown) - 1)


def _lines(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int], gap: int) -> Iterator[str]:
    """The lines of a row: as many as its longest cell takes."""
    parts = [_cell(column, cell, width) for column, cell, width in zip(columns, row, widths, strict=True)]
    for number in range(max(map(len, parts))):
        texts = (part[number] if number < len(part) else "" for part in parts)
        yield (
            (" " * gap)
            .join(
                _padded(text, width, right=column.right)
                for column, text, width in zip(columns, texts, widths, strict=True)
            )
            .rstrip()
        )


def _lines_below(cell: str, width: int | None) -> list[str]:
    return [] if cell in ("", NOTHING) else wrapped(f"{_BELOW}{cell}", width, _BELOW)


def _cell(column: Column, cell: str, width: int) -> list[str]:
    match column.gives:
        case Gives.LINES | Gives.BELOW:
            return wrapped(cell, width)
        case Gives.FEW_LINES:
            lines = wrapped(cell, width)
            return lines if len(lines) <= _FEW else [shortened(cell, width, head=(width - 1) // 2)]
        case Gives.START:
            return [shortened(cell, width, head=0)]
        case Gives.MIDDLE:
            return [shortened(cell, width, head=(width - 1) // 2)]
        case Gives.END:
            return [shortened(cell, width, head=width - 1)]


def _padded(text: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - cell_width(text))
    return f"{blanks}{text}" if right else f"{text}{blanks}"
