"""Places in a text of YAML: those that libyaml counts, as the ones of the file."""

import re
from bisect import bisect_right

import yaml

from hostfw.model.positions import LINE_BREAK

_MORE_LINE_BREAKS = "\x85\u2028\u2029"
"""Line ends that libyaml counts beside those of `LINE_BREAK`."""
_SURROGATES = r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"


class Places:
    """A text as libyaml takes it, and where each place of it is in the file.

    JSON writes a character beyond U+FFFF as two escapes, which YAML does not know: they become one.
    """

    __slots__ = ("_before", "_shifts", "_starts", "are_elsewhere", "original", "text")

    def __init__(self, text: str) -> None:
        self.original = self.text = text
        self._before: list[int] = []
        self._shifts: list[int] = []
        self._starts: list[int] = []
        if ("\\ud" in text or "\\uD" in text) and re.search(_SURROGATES, text) and _is_json(text):
            self.text = self._joined(text)
        self.are_elsewhere = self.text is not text or any(end in text for end in _MORE_LINE_BREAKS)

    def mark(self, mark: yaml.Mark) -> yaml.Mark:
        """A mark of the text as one of the file."""
        if not self.are_elsewhere:
            return mark
        if not self._starts:
            self._starts = [0, *(found.end() for found in LINE_BREAK.finditer(self.original))]
        place = bisect_right(self._before, mark.index)
        index = mark.index + (self._shifts[place - 1] if place else 0)
        line = bisect_right(self._starts, index) - 1
        return yaml.Mark(mark.name, index, line, index - self._starts[line], None, 0)

    def _joined(self, text: str) -> str:
        """The text with every pair of escapes as one, and the places noted from which on it is shorter."""
        shift = 0
        parts: list[str] = []
        end = 0
        for found in re.finditer(_SURROGATES, text):
            high, low = int(found[2], 16), int(found[3], 16)
            joined = f"{found[1]}\\U{0x10000 + ((high & 0x3FF) << 10 | low & 0x3FF):08x}"
            parts += [text[end : found.start()], joined]
            end = found.end()
            shift += len(found[0]) - len(joined)
            self._before.append(end - shift)
            self._shifts.append(shift)
        return "".join((*parts, text[end:]))


def _is_json(text: str) -> bool:
    """True if a text is JSON documents, between which there may be the separators of YAML.

    Only there backslashes are known to be escapes without reading the text as YAML.
    """
    import json  # most files are none

    decoder, place = json.JSONDecoder(), 0
    separator = re.compile(r"(?:\s|---(?=\s))*")
    try:
        while (place := separator.match(text, place).end()) < len(text):  # type: ignore[union-attr]
            place = decoder.raw_decode(text, place)[1]
    except (ValueError, RecursionError):
        return False
    return True
