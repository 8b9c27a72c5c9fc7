"""Promotion: the change of files that enforces a staged policy, as a person would make it.

Nothing else of a file is touched, neither comments nor layout: edits are of the very characters that libyaml says a
value or a document takes up. A staged policy of the name of an enforced one takes its place; one that proposes a
deletion goes together with it. What comes out is read again, and must say that and nothing else.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from hostfw.manifest.yaml.manifests import Manifest, manifests_of, text_of
from hostfw.manifest.yaml.nodes import documents
from hostfw.manifest.yaml.spans import Spot
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.sources import Source
from hostfw.model.values import StagedAction

ENFORCED = "GlobalNetworkPolicy"
STAGED = f"Staged{ENFORCED}"
_ACTION = "stagedAction"


@dataclass(frozen=True, slots=True)
class NotPromoted:
    """The reason why there is no such change."""

    position: Position
    message: str
    hint: str = ""


def promoted(sources: Sequence[Source], name: str) -> tuple[Source, ...] | NotPromoted:
    """The sources that change, as they read then, so that the staged policy of that name is enforced.

    The sources are those of a valid configuration in which there is one.
    """
    manifests = [manifest for source in sources for manifest in manifests_of(source)]
    found = [manifest for manifest in manifests if manifest.name == name]
    staged = next(manifest for manifest in found if manifest.kind == STAGED)
    enforced = next((manifest for manifest in found if manifest.kind == ENFORCED), None)
    spec = staged.body.value("spec")
    action = (text_of(spec, _ACTION) if spec is not None else "") or StagedAction.SET
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
    wanted = [(m.kind, m.name) for m in manifests if m not in gone and m is not staged]
    if action != StagedAction.DELETE:
        edits.enforce(staged)
        wanted.append((ENFORCED, name))
    changed = edits.sources()
    by_path = {source.path: source for source in changed}
    if not _says([by_path.get(source.path, source) for source in sources], wanted):
        return NotPromoted(
            staged.position,
            f'"{name}" is written in a way that cannot be changed safely',
            "write the enforced policy by hand, without anchors and aliases",
        )
    return changed


def _says(sources: Sequence[Source], wanted: Sequence[tuple[str, str]]) -> bool:
    """True if files hold these resources and no others, and nothing of the staged one is left in the enforced one."""
    problems: list[Problem] = []
    for source in sources:
        deque(documents(source, problems), maxlen=0)
    if problems:
        return False
    found = [manifest for source in sources for manifest in manifests_of(source)]
    specs = (manifest.body.value("spec") for manifest in found if manifest.kind == ENFORCED)
    left = any(spec is not None and spec.value(_ACTION) is not None for spec in specs)
    return not left and sorted((manifest.kind, manifest.name) for manifest in found) == sorted(wanted)


class _Edits:
    """Changes of characters, source by source: from where up to where, and what stands there then."""

    def __init__(self) -> None:
        self._edits: dict[str, tuple[Source, list[tuple[int, int, str]]]] = {}

    def sources(self) -> tuple[Source, ...]:
        """The sources as they read then."""
        changed: list[Source] = []
        for source, edits in self._edits.values():
            text = source.text
            # From the end, so that what is still to be changed stays where it was.
            for start, end, new in sorted(edits, reverse=True):
                text = text[:start] + new + text[end:]
            changed.append(Source(source.path, text))
        return tuple(changed)

    def enforce(self, staged: Manifest) -> None:
        """Name the other kind, and take out `stagedAction`, which that has not."""
        text = staged.source.text
        kind, spec = staged.body.value("kind"), staged.body.value("spec")
        if kind is not None:
            raw = text[kind.start : kind.end]
            # Between quotes, behind a tag, or written with escapes.
            new = raw.replace(STAGED, ENFORCED, 1) if STAGED in raw else ENFORCED
            self._add(staged.source, kind.start, kind.end, new)
        if spec is not None:
            for key, value in spec.pairs():
                if key.text == _ACTION:
                    self._add(staged.source, *_pair(text, key, value, is_flow=spec.is_flow), "")

    def delete_document(self, manifest: Manifest) -> None:
        """Take a document out, with the comments around it and one of its separators."""
        text, documents, number = manifest.source.text, manifest.documents, manifest.number
        document = documents[number]
        following = documents[number + 1] if number + 1 < len(documents) else None
        end, left = document.end, ""
        if following is not None and text.startswith("%", following.start):
            # Directives come behind the end of a document.
            left = "...\n" if number else ""
        elif following is not None and not document.explicit:
            separator_end = _line_end(text, following.start)
            if text[following.start : separator_end].strip() == "---":
                end = separator_end
        self._add(manifest.source, document.start, end, left)

    def _add(self, source: Source, start: int, end: int, new: str) -> None:
        self._edits.setdefault(source.path, (source, []))[1].append((start, end, new))


def _pair(text: str, key: Spot, value: Spot, *, is_flow: bool) -> tuple[int, int]:
    """The characters that a key and its value take up, with the comma of a flow mapping; whole lines where possible."""
    start = key.start
    colon = _skip(text, key.end)
    # In a flow mapping a key may stand alone.
    end = max(value.end, colon + 1 if text.startswith(":", colon) else key.end)
    line_start = text.rfind("\n", 0, start) + 1
    if text[line_start:start].strip() == "?":
        start = line_start + text[line_start:start].index("?")
    if is_flow:
        behind = _skip(text, end)
        if text.startswith(",", behind):
            end = _skip(text, behind + 1, " \t")
        else:
            before = len(text[:start].rstrip())
            start = before - 1 if text[:before].endswith(",") else start
    else:
        end = _skip(text, end, " \t")
    line_start, line_end = text.rfind("\n", 0, start) + 1, _line_end(text, end)
    if not text[line_start:start].strip() and not text[end:line_end].strip():
        return line_start, line_end
    return start, end


def _skip(text: str, at: int, blanks: str = " \t\r\n") -> int:
    while at < len(text) and text[at] in blanks:
        at += 1
    return at


def _line_end(text: str, at: int) -> int:
    """The begin of the next line."""
    return text.find("\n", at) + 1 or len(text)
