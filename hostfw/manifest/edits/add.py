"""Adding files to a configuration: each resource takes the place of the one of its kind and name, or comes new.

Nothing else of a file is touched: a resource is replaced by the characters that libyaml says it takes up, so that
comments and other documents stay. What comes out is read again, and must say that and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from hostfw.manifest.yaml.manifests import Manifest, manifests_of
from hostfw.model.positions import Position
from hostfw.model.sources import Source

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class NotAdded:
    """The reason why a file cannot be added."""

    position: Position
    message: str
    hint: str = ""


def added(sources: Sequence[Source], file: Source, target: str) -> tuple[Source, ...] | NotAdded:
    """Give the sources that change, as they read then, and the one at the path `target` if it is new.

    A resource that the sources have is replaced where it stands; the others are written to `target`. Both are texts of
    valid YAML. A file of the same resources takes the place of the one at `target` as it is.
    """
    new = list(manifests_of(file))
    sources = [source for source in sources if source.path == target or _may_hold(source, new)]
    present = {_key(manifest): manifest for source in sources for manifest in manifests_of(source)}
    there = {source.path: source for source in sources}.get(target)
    elsewhere = [manifest for manifest in new if _stands(manifest, present, but=target)]
    if not elsewhere and _covers(new, present, target):
        return () if there is not None and there.text == file.text else (Source(target, file.text),)
    for manifest in (*new, *(present[_key(manifest)] for manifest in new if _key(manifest) in present)):
        if manifest.list_of is not None:
            return NotAdded(
                manifest.position,
                f'{manifest.kind} "{manifest.name}" is one of a list, which would have to be taken apart',
                "write it as a document of its own first",
            )
    changed = _replaced(new, present)
    fresh = [manifest for manifest in new if _key(manifest) not in present]
    if fresh:
        before = changed.get(target, there.text if there is not None else "")
        changed[target] = _with_documents(before, fresh)
    wanted = sorted({*present, *map(_key, new)})
    after = [Source(s.path, changed.get(s.path, s.text)) for s in sources]
    after += [Source(path, text) for path, text in changed.items() if path not in {s.path for s in sources}]
    if _keys(after) != wanted:
        return NotAdded(
            Position(file.path, 1, 1),
            "is written in a way that cannot be added safely",
            "copy it into the configuration directory by hand",
        )
    texts = {source.path: source.text for source in sources}
    return tuple(Source(path, text) for path, text in sorted(changed.items()) if texts.get(path) != text)


def _may_hold(source: Source, new: Sequence[Manifest]) -> bool:
    """False for a file that has none of the names, which spares thousands of files their reading.

    YAML can write a name otherwise than by its characters only with a backslash.
    """
    return "\\" in source.text or any(manifest.name in source.text for manifest in new)


def _keys(sources: Sequence[Source]) -> list[Key]:
    """List the resources of files, none where one of the files is no YAML."""
    try:
        return sorted(_key(manifest) for source in sources for manifest in manifests_of(source))
    except yaml.YAMLError:
        return []


def _key(manifest: Manifest) -> Key:
    return manifest.kind, manifest.name


def _stands(manifest: Manifest, present: Mapping[Key, Manifest], but: str) -> bool:
    known = present.get(_key(manifest))
    return known is not None and known.source.path != but


def _covers(new: Sequence[Manifest], present: Mapping[Key, Manifest], target: str) -> bool:
    """Tell if a file holds every resource that is at `target` now."""
    return {key for key, manifest in present.items() if manifest.source.path == target} <= set(map(_key, new))


def _replaced(new: Sequence[Manifest], present: Mapping[Key, Manifest]) -> dict[str, str]:
    """Give the texts of the files in which resources were replaced, by path."""
    edits: dict[str, list[tuple[Manifest, str]]] = {}
    for manifest in new:
        old = present.get(_key(manifest))
        if old is not None:
            edits.setdefault(old.source.path, []).append((old, _body(manifest)))
    changed: dict[str, str] = {}
    for path, found in edits.items():
        text = found[0][0].source.text
        # From the end, so that what is still to be changed stays where it was.
        for old, body in sorted(found, key=lambda edit: edit[0].body.start, reverse=True):
            end = _end(old)
            text = text[: old.body.start] + body + (text[end:] or "\n")
        changed[path] = text
    return changed


def _body(manifest: Manifest) -> str:
    return manifest.source.text[manifest.body.start : _end(manifest)]


def _end(manifest: Manifest) -> int:
    """Find the end of a resource: of a block mapping libyaml marks it behind the blanks and comments that follow."""
    text, spots = manifest.source.text, [manifest.body]
    ends: list[int] = []
    while spots:
        spot = spots.pop()
        if spot.is_flow or spot.text is not None:
            ends.append(spot.start + len(text[spot.start : spot.end].rstrip()))
        else:
            spots.extend(spot.items)
    return max(ends, default=manifest.body.end)


def _with_documents(text: str, fresh: Sequence[Manifest]) -> str:
    parts = [text.rstrip("\n")] if text.strip() else []
    parts.extend(_document(manifest) for manifest in fresh)
    return "\n---\n".join(parts) + "\n"


def _document(manifest: Manifest) -> str:
    """Give the text of a document without its separator, with the comments above it."""
    document = manifest.documents[manifest.number]
    text = manifest.source.text[document.start : document.end]
    return text.removeprefix("\ufeff").removeprefix("---").strip("\n")
