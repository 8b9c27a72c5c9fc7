"""Elements of the XML files of firewalld, with the lines they stand in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.sources import Source

_DEEPEST = 32


@dataclass(slots=True)
class Element:
    """One element: its name, attributes, elements within it, and the text of it."""

    name: str
    attributes: Mapping[str, str]
    position: Position
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def all(self, *names: str) -> Iterator["Element"]:
        """The elements right within it that have one of these names."""
        return (child for child in self.children if child.name in names)

    def get(self, attribute: str) -> str:
        """The value of an attribute, empty if it is not there."""
        return self.attributes.get(attribute, "").strip()

    @property
    def as_text(self) -> str:
        """The element as it may have been written, in a line."""
        attributes = "".join(f' {name}="{value}"' for name, value in self.attributes.items())
        inner = "".join(child.as_text for child in self.children) or self.text.strip()
        return f"<{self.name}{attributes}>{inner}</{self.name}>" if inner else f"<{self.name}{attributes}/>"


class _RefusedError(Exception):
    """A document that is more than a file of firewalld would be."""


def root_of(source: Source, name: str) -> Element | Problem:
    """The element that a file consists of, or what is wrong with it."""
    parser = expat.ParserCreate()
    top = Element("", {}, Position(source.path, 1, 1))
    open_: list[Element] = [top]

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(open_) > _DEEPEST:
            raise _RefusedError("elements are nested too deeply")
        position = Position(source.path, parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)
        element = Element(tag, attributes, position)
        open_[-1].children.append(element)
        open_.append(element)

    def text(data: str) -> None:
        open_[-1].text += data

    def entity(*_: object) -> None:
        raise _RefusedError("a declaration of an entity")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_.pop()
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = entity
    expected = f"a file of firewalld with <{name}>"
    try:
        parser.Parse(source.text.encode("utf-8", "replace"), True)  # noqa: FBT003  expat takes no names
    except (expat.ExpatError, _RefusedError) as error:
        line = parser.CurrentLineNumber
        return Problem(Position(source.path, max(line, 1), 1), f"the file cannot be read: {error}", expected)
    (root,) = top.children
    if root.name != name:
        return Problem(root.position, f"<{root.name}> is not what this folder is for", expected)
    return root
