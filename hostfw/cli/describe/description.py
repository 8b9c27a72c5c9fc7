"""Descriptions: what `describe` says of a resource, the same for people and for programs."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from hostfw.cli.output.console import Style, painted
from hostfw.cli.output.documents import Document, document
from hostfw.cli.output.terminal import printable
from hostfw.model.positions import NOWHERE, Position

_LABEL_COLUMNS = 16


class Role(StrEnum):
    """What an entry is."""

    END = "end"
    ENDPOINT = "endpoint"
    EXEMPTION = "exemption"
    FAILSAFE = "failsafe"
    INTERFACE = "interface"
    POLICY = "policy"
    PROFILE = "profile"
    RULE = "rule"
    STAGED_POLICY = "staged policy"
    TIER = "tier"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something of a section: its role, what it is called, what it does, where it stands, and what is below it."""

    role: Role
    name: str
    text: str = ""
    position: Position = NOWHERE
    below: "tuple[Entry, ...]" = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Entries in the order in which they count, under a title."""

    title: str
    entries: tuple[Entry, ...]
    otherwise: str = "none"


@dataclass(frozen=True, slots=True)
class Description:
    """A resource: its kind and name, where it stands, its properties as texts by name, and sections."""

    kind: str
    name: str
    position: Position
    properties: tuple[tuple[str, tuple[str, ...]], ...]
    sections: tuple[Section, ...]


def description_lines(description: Description, *, colour: bool = False) -> Iterator[str]:
    """A description for people."""
    heading = painted(printable(f"{description.kind} {description.name}"), Style.HEADING, on=colour)
    yield f"{heading}{_place(description.position, colour=colour)}"
    for name, texts in description.properties:
        for number, text in enumerate(tuple(filter(None, texts)) or ("-",)):
            yield f"{name if number == 0 else '':{_LABEL_COLUMNS}}{printable(text)}"
    for section in description.sections:
        yield ""
        yield painted(printable(section.title), Style.HEADING, on=colour)
        if not section.entries:
            yield f"  {printable(section.otherwise)}"
        for entry in section.entries:
            yield from _entry_lines(entry, "  ", colour=colour)


def description_document(description: Description) -> Document:
    """A description for programs."""
    return document(
        "Description",
        {
            "of": {"kind": description.kind, "name": description.name, **_position(description.position)},
            "properties": {name: list(texts) for name, texts in description.properties},
            "sections": [
                {"title": section.title, "entries": [_entry_document(entry) for entry in section.entries]}
                for section in description.sections
            ],
        },
    )


def _entry_lines(entry: Entry, indent: str, *, colour: bool) -> Iterator[str]:
    title = f"{_LEADING[entry.role]} {entry.name}" if entry.role in _LEADING else entry.name
    text = f"{_SEPARATORS.get(entry.role, ', ')}{entry.text}" if entry.text else ""
    yield f"{indent}{printable(f'{title}{text}')}{_place(entry.position, colour=colour)}"
    for child in entry.below:
        yield from _entry_lines(child, f"{indent}  ", colour=colour)


_LEADING = {
    Role.FAILSAFE: "failsafe",
    Role.POLICY: "policy",
    Role.PROFILE: "profile",
    Role.STAGED_POLICY: "staged policy",
    Role.TIER: "tier",
}
"""What stands before the names of entries that would else not be told apart."""
_SEPARATORS = {
    Role.END: ": ",
    Role.ENDPOINT: ": ",
    Role.EXEMPTION: ": ",
    Role.FAILSAFE: ": ",
    Role.INTERFACE: ": ",
    Role.RULE: " ",
}
"""What stands between the name and the text, where it is no comma."""


def _place(position: Position, *, colour: bool) -> str:
    return f"   {painted(printable(position.file_line), Style.FAINT, on=colour)}" if position.line else ""


def _entry_document(entry: Entry) -> Document:
    return {
        "role": entry.role.value,
        "name": entry.name,
        "text": entry.text,
        **_position(entry.position),
        "below": [_entry_document(child) for child in entry.below],
    }


def _position(position: Position) -> dict[str, object]:
    return {"path": position.path or None, "line": position.line or None}
