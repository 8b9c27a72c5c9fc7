"""Promotion: the change of files that enforces a staged policy, line by line as a person would make it.

Nothing else of a file is touched, neither comments nor layout. A staged policy of the name of an enforced one takes its
place; one that proposes a deletion goes together with it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hostfw.model.positions import Position
from hostfw.model.resources import StagedAction
from hostfw.model.sources import Source
from hostfw.policy.yaml_nodes import Mapping, Node, Scalar, documents, position
from hostfw.policy.yaml_nodes import Sequence as NodeSequence

ENFORCED = "GlobalNetworkPolicy"
STAGED = f"Staged{ENFORCED}"

_ACTION = re.compile(r"stagedAction\s*:\s*[^,}\s]+\s*,?\s*")


@dataclass(frozen=True, slots=True)
class NotPromoted:
    """Why there is no such change."""

    position: Position
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Manifest:
    """A resource in its file: its own mapping, and of one in a list the kind that the list is of."""

    source: Source
    body: Mapping
    list_of: str | None = None

    @property
    def position(self) -> Position:
        """Where it begins."""
        return position(self.source.path, self.body)


def promoted(sources: Sequence[Source], name: str) -> tuple[Source, ...] | NotPromoted:
    """The sources that change, as they read then, so that the staged policy of that name is enforced.

    The sources are those of a valid configuration in which there is one.
    """
    found = [(_kind(m), m) for source in sources for m in _manifests(source) if _name(m.body) == name]
    staged = next(m for kind, m in found if kind == STAGED)
    enforced = next((m for kind, m in found if kind == ENFORCED), None)
    action = _spec_text(staged, "stagedAction") or StagedAction.SET
    if action == StagedAction.IGNORE:
        return NotPromoted(staged.position, f'"{name}" has stagedAction: Ignore, which proposes nothing')
    gone = [m for m in (enforced, staged if action == StagedAction.DELETE else None) if m is not None]
    for manifest in {id(m): m for m in (*gone, staged)}.values():
        if manifest.list_of is not None:
            return NotPromoted(
                manifest.position,
                f'"{name}" is one of a list, which would have to be taken apart',
                "write it as a document of its own first",
            )
    edits = _Edits()
    for manifest in gone:
        edits.delete_document(manifest)
    if action != StagedAction.DELETE:
        edits.enforce(staged)
    return edits.sources()


class _Edits:
    """Changes of lines, source by source."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str | None]] = {}

    def sources(self) -> tuple[Source, ...]:
        """The sources as they read then."""
        return tuple(
            Source(path, "".join(line for line in lines if line is not None)) for path, lines in self._lines.items()
        )

    def enforce(self, staged: _Manifest) -> None:
        """Name the other kind, and take out `stagedAction`, which that has not."""
        spec = _value(staged.body, "spec")
        keys = (key for key, _ in spec.pairs()) if isinstance(spec, Mapping) else iter(())
        nodes = [node for node in (_value(staged.body, "kind"), *keys) if isinstance(node, Scalar)]
        # From the end, so that what is still to be changed stays where it was.
        for node in sorted(nodes, key=lambda node: (node.mark.line, node.mark.column), reverse=True):
            if node.text == STAGED:
                self._replace(staged.source, node, STAGED, ENFORCED)
            elif node.text == "stagedAction":
                self._drop_action(staged.source, node)

    def _replace(self, source: Source, node: Node, old: str, new: str) -> None:
        """Put one word for another where a node stands."""
        lines = self._of(source)
        line = lines[node.mark.line] or ""
        lines[node.mark.line] = line[: node.mark.column] + line[node.mark.column :].replace(old, new, 1)

    def _drop_action(self, source: Source, key: Node) -> None:
        lines, number, column = self._of(source), key.mark.line, key.mark.column
        line = lines[number] or ""
        before, after = line[:column], _ACTION.sub("", line[column:], count=1)
        if not before.strip() and not after.strip("\n"):
            lines[number] = None
        else:
            lines[number] = (before.rstrip(" ,") if after.startswith("}") else before) + after

    def delete_document(self, manifest: _Manifest) -> None:
        """Take a document out, with the comments around it and one of its separators."""
        lines = self._of(manifest.source)
        texts = [line or "" for line in lines]
        first = manifest.body.mark.line
        while first > 0 and not texts[first - 1].startswith("---"):
            first -= 1
        end = manifest.body.mark.line
        while end < len(texts) and not texts[end].startswith(("---", "...")):
            end += 1
        if first > 0:
            first -= 1
        elif end < len(texts):
            end += 1
        lines[first:end] = [None] * (end - first)

    def _of(self, source: Source) -> list[str | None]:
        return self._lines.setdefault(source.path, list(source.text.splitlines(keepends=True)))


def _manifests(source: Source) -> Iterator[_Manifest]:
    """The resources of a file, in lists too."""
    for root in documents(source, []):
        items = _value(root, "items") if isinstance(root, Mapping) else None
        if isinstance(root, Mapping) and isinstance(items, NodeSequence):
            kind = _text(root, "kind").removesuffix("List")
            yield from (_Manifest(source, item, kind) for item in items.items if isinstance(item, Mapping))
        elif isinstance(root, Mapping):
            yield _Manifest(source, root)


def _name(body: Mapping) -> str:
    metadata = _value(body, "metadata")
    return _text(metadata, "name") if isinstance(metadata, Mapping) else ""


def _kind(manifest: _Manifest) -> str:
    return _text(manifest.body, "kind") or manifest.list_of or ""


def _spec_text(manifest: _Manifest, key: str) -> str:
    spec = _value(manifest.body, "spec")
    return _text(spec, key) if isinstance(spec, Mapping) else ""


def _text(mapping: Mapping, key: str) -> str:
    found = _value(mapping, key)
    return found.text if isinstance(found, Scalar) else ""


def _value(mapping: Mapping, key: str) -> Node | None:
    return next((value for name, value in mapping.pairs() if isinstance(name, Scalar) and name.text == key), None)
