"""Spans of a YAML text: the documents, and the nodes of each, as ranges of characters.

For edits that touch nothing else. The marks are libyaml's own, so that quotes, block scalars, comments and whatever
ends a line are where the parser saw them. The text has been read before: it is YAML, and nests no deeper than
`documents` allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from hostfw.manifest.yaml.places import Places

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Spot:
    """A node: its characters from `start` up to `end`. `text` is None for a collection.

    An alias has characters of its own, and the text or the items of what it stands for.
    """

    start: int
    end: int
    line: int
    column: int
    text: str | None = None
    is_mapping: bool = False
    is_flow: bool = False
    items: "list[Spot]" = field(default_factory=list)

    def pairs(self) -> "Iterator[tuple[Spot, Spot]]":
        """Each key of a mapping with its value."""
        one_by_one = iter(self.items if self.is_mapping else ())
        return zip(one_by_one, one_by_one, strict=True)

    def value(self, key: str) -> "Spot | None":
        """The value of a key."""
        return next((value for name, value in self.pairs() if name.text == key), None)


@dataclass(slots=True)
class Document:
    """A document, with its separator if it has one (`explicit`): it reaches up to the next, or to the end."""

    start: int
    explicit: bool
    end: int
    root: Spot


def spots(text: str) -> list[Document]:
    """The documents of a text, empty ones too. Raises yaml.YAMLError."""
    offset = len(text) - len(text.removeprefix("\ufeff"))
    found: list[Document] = []
    top = Spot(0, 0, 0, 0)
    stack = [top]
    anchors: dict[str, Spot] = {}
    event: Any
    places = Places(text[offset:])
    for event in yaml.parse(places.text, Loader=_LOADER):
        begin, behind = places.mark(event.start_mark), places.mark(event.end_mark)
        start, end = begin.index + offset, behind.index + offset
        spot = Spot(start, end, begin.line, begin.column)
        match event:
            case yaml.DocumentStartEvent():
                found.append(Document(start, bool(event.explicit), len(text), top))
            case yaml.DocumentEndEvent():
                found[-1].root = top.items.pop()
                anchors.clear()
            case yaml.ScalarEvent():
                spot.text = event.value
                stack[-1].items.append(spot)
            case yaml.AliasEvent():
                meant = anchors.get(str(event.anchor), spot)
                spot.text, spot.is_mapping, spot.is_flow, spot.items = (
                    meant.text,
                    meant.is_mapping,
                    meant.is_flow,
                    meant.items,
                )
                stack[-1].items.append(spot)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                spot.is_mapping, spot.is_flow = isinstance(event, yaml.MappingStartEvent), bool(event.flow_style)
                stack[-1].items.append(spot)
                stack.append(spot)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                stack.pop().end = end
            case _:
                pass
        if getattr(event, "anchor", None) is not None and not isinstance(event, yaml.AliasEvent):
            anchors[str(event.anchor)] = spot
    _stretch(found, text)
    return found


def _stretch(found: list[Document], text: str) -> None:
    """Let the documents take up all of the text: what is before the first one and behind each belongs to it."""
    for number, document in enumerate(found):
        document.start = document.start if number else 0
        document.end = found[number + 1].start if number + 1 < len(found) else len(text)
