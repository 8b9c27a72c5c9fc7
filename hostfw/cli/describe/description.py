"""Descriptions: what `describe` says of a resource, the same for people and for programs."""

from dataclasses import dataclass
from enum import StrEnum

from hostfw.cli.kinds import shortened
from hostfw.cli.output.console import Console, Style, painted
from hostfw.cli.output.documents import Document, document
from hostfw.cli.output.terminal import cell_width, printable
from hostfw.model.positions import NOWHERE, Position

_LABEL_COLUMNS = 16
_GAP = "   "

LISTS = frozenset({"types", "classes"})
LONG_LISTS = frozenset({"elsewhere", "nets"})


class Role(StrEnum):
    """Kinds of entries."""

    END = "end"
    ENDPOINT = "endpoint"
    EXEMPTION = "exemption"
    FAILSAFE = "failsafe"
    INTERFACE = "interface"
    NETWORK_SET = "network set"
    POLICY = "policy"
    PROFILE = "profile"
    RULE = "rule"
    STAGED_POLICY = "staged policy"
    TIER = "tier"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something of a section: its role, what it is called, what it does, where it stands, and what is below it.

    `short` is what a person sees in place of a long text, unless -v asks for all.
    """

    role: Role
    name: str
    text: str = ""
    position: Position = NOWHERE
    below: "tuple[Entry, ...]" = ()
    short: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Entries in the order in which they count, under a title."""

    title: str
    entries: tuple[Entry, ...]
    otherwise: str = "none"


@dataclass(frozen=True, slots=True)
class Description:
    """A resource: its kind and name, where it stands, its properties as texts by name, and sections.

    A person sees the texts of a property below each other; those of `LISTS` in one line, and those of `LONG_LISTS` as
    far as they fit on it, or all with -v.
    """

    kind: str
    name: str
    position: Position
    properties: tuple[tuple[str, tuple[str, ...]], ...]
    sections: tuple[Section, ...]


def print_description(description: Description, console: Console) -> None:
    """Write a description for people."""
    _print_placed(f"{description.kind} {description.name}", description.position, "", console, Style.HEADING)
    for name, texts in description.properties:
        shown = _shown(name, tuple(filter(None, texts)), whole=console.verbosity > 0)
        for number, text in enumerate(shown or ("-",)):
            console.labelled(name if number == 0 else "", text, _LABEL_COLUMNS)
    for section in description.sections:
        console.data("", painted(printable(section.title), Style.HEADING, on=console.colour_out))
        if not section.entries:
            console.data(f"  {printable(section.otherwise)}")
        for entry in section.entries:
            _print_entry(entry, "  ", console)


def _shown(name: str, texts: tuple[str, ...], *, whole: bool) -> tuple[str, ...]:
    """The texts of a property as a person sees them, one a line."""
    if texts and name in LONG_LISTS:
        return (shortened(texts, whole=whole),)
    return (", ".join(texts),) if texts and name in LISTS else texts


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


def _print_entry(entry: Entry, indent: str, console: Console) -> None:
    title = f"{_LEADING[entry.role]} {entry.name}" if entry.role in _LEADING else entry.name
    said = entry.text if console.verbosity > 0 else entry.short or entry.text
    text = f"{_SEPARATORS.get(entry.role, ', ')}{said}" if said else ""
    _print_placed(f"{title}{text}", entry.position, indent, console)
    for child in entry.below:
        _print_entry(child, f"{indent}  ", console)


def _print_placed(text: str, position: Position, indent: str, console: Console, style: Style | None = None) -> None:
    """Write a text, and where it stands in a file behind it, or below it where the line has no room left."""
    lines = console.filled(text, indent)
    shown = [painted(line, style, on=console.colour_out) if style else line for line in lines]
    place = printable(position.file_line) if position.line else ""
    is_beside = console.width_out is None or cell_width(lines[-1]) + len(_GAP) + cell_width(place) <= console.width_out
    if place and is_beside:
        shown[-1] += f"{_GAP}{painted(place, Style.FAINT, on=console.colour_out)}"
    elif place:
        below = console.filled(place, f"{indent}    ")
        shown += [painted(line, Style.FAINT, on=console.colour_out) for line in below]
    console.data(*shown)


_LEADING = {
    Role.FAILSAFE: "failsafe",
    Role.POLICY: "policy",
    Role.PROFILE: "profile",
    Role.STAGED_POLICY: "staged policy",
    Role.TIER: "tier",
}
"""Words in front of the names of entries that could otherwise be confused."""
_SEPARATORS = {
    Role.END: ": ",
    Role.ENDPOINT: ": ",
    Role.EXEMPTION: ": ",
    Role.FAILSAFE: ": ",
    Role.INTERFACE: ": ",
    Role.RULE: " ",
}
"""Separators between the name and the text, where it is no comma."""


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
