"""Resources in the text of a file: where each stands, for edits that touch nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass

from hostfw.manifest.yaml.spans import Document, Spot, spots
from hostfw.model.positions import Position
from hostfw.model.sources import Source


@dataclass(frozen=True, slots=True)
class Manifest:
    """A resource in its file: its own mapping, its document, and of one in a list the kind that the list is of."""

    source: Source
    body: Spot
    documents: list[Document]
    number: int
    list_of: str | None = None

    @property
    def position(self) -> Position:
        """The position of its begin."""
        return Position(self.source.path, self.body.line + 1, self.body.column + 1)

    @property
    def kind(self) -> str:
        """Its kind."""
        return text_of(self.body, "kind") or self.list_of or ""

    @property
    def name(self) -> str:
        """The name that it has."""
        metadata = self.body.value("metadata")
        return text_of(metadata, "name") if metadata is not None else ""


def manifests_of(source: Source) -> Iterator[Manifest]:
    """Give the resources of a file, in lists too. Raises yaml.YAMLError."""
    documents = spots(source.text)
    for number, document in enumerate(documents):
        items = document.root.value("items")
        if items is not None and items.text is None and not items.is_mapping:
            kind = text_of(document.root, "kind").removesuffix("List")
            for item in items.items:
                if item.is_mapping:
                    yield Manifest(source, item, documents, number, kind)
        elif document.root.is_mapping:
            yield Manifest(source, document.root, documents, number)


def text_of(mapping: Spot, key: str) -> str:
    """Give the text of a key's value, empty where there is none."""
    found = mapping.value(key)
    return (found.text or "") if found is not None else ""
