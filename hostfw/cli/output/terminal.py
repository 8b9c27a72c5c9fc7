"""Text on a terminal: how wide it is, and what must not get there as it is."""

import os
import re
import sys
from typing import TextIO
from unicodedata import category, east_asian_width

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_USUAL_COLUMNS = 80
"""The width of a terminal that does not report one, such as a serial line."""
ELLIPSIS = "…"
_WIDEST_GLYPH = 2
_JOINTS = "-/.,:="
"""Characters after which a name, a path or an address may be broken."""
_CHUNK = re.compile(r"(?:[^ `]|`[^`]*(?:`|\Z))+|(?<= )(?= )|\A(?= )|(?<= )\Z")
"""A word with the commands in it, or the nothing between two blanks."""
_PLAIN = re.compile(r"[ -~]*")


def columns_of_terminal(stream: TextIO | None = None) -> int | None:
    """The columns of the terminal behind a stream, or COLUMNS; None where there is no terminal."""
    wish = os.environ.get("COLUMNS", "")
    if wish.isascii() and wish.isdigit() and int(wish):
        return int(wish)
    stream = sys.stdout if stream is None else stream
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except (AttributeError, OSError, ValueError):
        return None


def printable(text: str) -> str:
    """The text on one line, without what would steer a terminal or turn its direction.

    Files may come from people who are not trusted: control characters get their pictures (U+2400), and what has
    none gets U+FFFD. Lone surrogates stand for bytes of a file name that is not UTF-8.
    """
    return text if _PLAIN.fullmatch(text) else "".join(map(_glyph, text))


def cell_width(text: str) -> int:
    """The number of columns that a printable text takes on a terminal."""
    return len(text) if _PLAIN.fullmatch(text) else sum(map(glyph_width, text))


def glyph_width(character: str) -> int:
    """The number of columns of a character: 0 if it joins the one before it, 2 if it is wide (UAX 11)."""
    if category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in ("W", "F") else 1


def shortened(text: str, width: int, head: int) -> str:
    """A printable text in at most so many columns: of a longer one up to `head` columns, an ellipsis, and its end."""
    if cell_width(text) <= width:
        return text
    start = _fitting(text, min(head, width - 1))
    tail = _fitting(text[::-1], width - 1 - cell_width(start))[::-1]
    return f"{start}{ELLIPSIS}{tail}"


def wrapped(text: str, width: int | None, later: str = "") -> list[str]:
    """A printable text on lines of at most so many columns, all but the first after `later`; broken between words.

    A command in backquotes stays on one line where a line holds it: half of a command that is copied does something
    else. A word that is longer than a line is broken where the line ends. None is as wide as it takes.
    """
    if width is None or cell_width(text) <= width:
        return [text]
    lines: list[str] = []
    bare = text.lstrip(" ")
    line, is_fresh = " " * min(len(text) - len(bare), width // 2), True
    for word in _words(bare, width - cell_width(later)):
        if not is_fresh and cell_width(line) + 1 + cell_width(word) > width:
            lines.append(line)
            line = later
        elif not is_fresh:
            line += " "
        rest = word
        while cell_width(line) + cell_width(rest) > width:
            part = _breaking(rest, max(width - cell_width(line), _WIDEST_GLYPH))
            lines.append(f"{line}{part}")
            line, rest = later, rest[len(part) :]
        line, is_fresh = f"{line}{rest}", False
    return [found.rstrip() for found in (*lines, line)]


def _words(text: str, room: int) -> list[str]:
    """The words of a text, of which a command in backquotes is one if so many columns hold it."""
    if "`" not in text:
        return text.split(" ")
    return [
        part
        for chunk in _CHUNK.findall(text)
        for part in ([chunk] if "`" in chunk and cell_width(chunk) <= room else chunk.split(" "))
    ]


def _breaking(word: str, width: int) -> str:
    """The part of a long word that fits on a line: up to a joint of it, if there is one in the second half."""
    part = _fitting(word, width)
    joint = max(part.rfind(mark) for mark in _JOINTS) + 1
    return part[:joint] if joint > len(part) // 2 else part


def _fitting(text: str, width: int) -> str:
    """As much of the beginning of a text as so many columns hold."""
    total = 0
    for number, character in enumerate(text):
        total += glyph_width(character)
        if total > width:
            return text[:number]
    return text


def _glyph(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if character in _BIDI_CONTROLS or category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return "\ufffd"
    return character
