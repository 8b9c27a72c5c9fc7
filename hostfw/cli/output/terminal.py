"""Text on a terminal: how wide it is, and what must not get there as it is."""

import os
import re
import sys
from typing import TextIO
from unicodedata import category, east_asian_width

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_USUAL_COLUMNS = 80
"""What a terminal is taken to have that does not tell, as a serial line."""
_PLAIN = re.compile(r"[ -~]*")


def columns_of_terminal(stream: TextIO | None = None) -> int | None:
    """How many columns the terminal behind a stream has: what COLUMNS says, None where there is no terminal."""
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
    """How many columns of a terminal a printable text takes."""
    return len(text) if _PLAIN.fullmatch(text) else sum(map(glyph_width, text))


def glyph_width(character: str) -> int:
    """How many columns one character takes: 0 if it joins the one before it, 2 if it is wide (UAX 11)."""
    if category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in ("W", "F") else 1


def _glyph(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if character in _BIDI_CONTROLS or category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return "\ufffd"
    return character
