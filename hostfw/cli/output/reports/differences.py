"""Differences between two configurations, and what `apply` would make of them, as `diff` shows them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from difflib import unified_diff
from enum import StrEnum

from hostfw.build.candidate import Candidate
from hostfw.cli.output.documents import Document, yaml_text
from hostfw.cli.output.reports.exposure_change import items
from hostfw.engine.outcomes import Failed
from hostfw.manifest.encode import manifest
from hostfw.manifest.files.feed_file import content_line
from hostfw.model.host.services import ExposureChange
from hostfw.model.kinds.sets import Feed
from hostfw.model.resources import Resource, Resources
from hostfw.model.settings import FailsafePort, PacketMarks, Settings

_SETTINGS = "Settings"
_SETTING_NAMES = {"marks": "packet_marks"}
_CONTEXT_LINES = 3


class Sign(StrEnum):
    """Kinds of differences from the accepted configuration."""

    NEW = "+"
    CHANGED = "~"
    GONE = "-"


_CHANGES = {Sign.NEW: "new", Sign.CHANGED: "changed", Sign.GONE: "gone"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is new, changed or gone, and the difference of its text where it is changed."""

    sign: Sign
    what: str
    place: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why `apply` would be refused; `kind` is loss or lockout."""

    kind: str
    failed: Failed


def comparison(
    found: Iterable[Difference],
    exposure: Iterable[ExposureChange],
    refusals: Iterable[Refusal],
    drift: tuple[str, ...],
    script: str | None,
) -> Document:
    """The content of a Comparison."""
    content: dict[str, object] = {
        "differences": [
            {
                "change": _CHANGES[difference.sign],
                "resource": difference.what,
                "place": difference.place or None,
                "lines": list(difference.lines),
            }
            for difference in found
        ],
        "exposure": items(exposure),
        "refusals": [
            {
                "kind": refusal.kind,
                "message": refusal.failed.message,
                "hint": refusal.failed.hint,
                "more": list(refusal.failed.more),
            }
            for refusal in refusals
        ],
        "drift": list(drift),
    }
    return content if script is None else content | {"script": script}


def differences(accepted: Candidate | None, candidate: Candidate) -> Iterator[Difference]:
    """The differences of a candidate from the accepted configuration: settings, then resources by kind and name."""
    old_settings = accepted.settings if accepted else Settings()
    if old_settings != candidate.settings:
        source = candidate.configuration.settings
        lines = _unified(list(settings_lines(old_settings)), list(settings_lines(candidate.settings)))
        yield Difference(Sign.CHANGED, _SETTINGS, source.path if source else "", lines)
    old = _by_kind_and_name(accepted.resources if accepted else Resources())
    new = _by_kind_and_name(candidate.resources)
    for key in [*new, *(key for key in old if key not in new)]:
        kind, name = key
        before, after = old.get(key), new.get(key)
        if before is None and after is not None:
            yield Difference(Sign.NEW, f"{kind}/{name}", after.metadata.position.file_line)
        elif after is None and before is not None:
            yield Difference(Sign.GONE, f"{kind}/{name}", before.metadata.position.file_line)
        elif before is not None and after is not None:
            lines = _unified(_manifest_lines(before), _manifest_lines(after))
            if lines:
                yield Difference(Sign.CHANGED, f"{kind}/{name}", after.metadata.position.file_line, lines)


def settings_lines(settings: object, path: str = "") -> Iterator[str]:
    """Every setting on a line of its own, under the name that it has in `hostfw.yaml`."""
    if not is_dataclass(settings) or isinstance(settings, FailsafePort | PacketMarks):
        values = settings if isinstance(settings, tuple) else (settings,)
        texts = (str(value).lower() if isinstance(value, bool) else str(value) for value in values)
        yield f"{path}: {', '.join(texts) or 'none'}" if settings is not None else f"{path}: of the host"
        return
    for field in fields(settings):
        head, *rest = _SETTING_NAMES.get(field.name, field.name).split("_")
        name = head + "".join(word.capitalize() for word in rest)
        yield from settings_lines(getattr(settings, field.name), f"{path}.{name}" if path else name)


def _by_kind_and_name(resources: Resources) -> dict[tuple[str, str], Resource]:
    return {(type(resource).__name__, resource.metadata.full_name): resource for resource in resources.all()}


def _manifest_lines(resource: Resource) -> list[str]:
    lines = yaml_text(manifest(resource)).splitlines()
    return [*lines, content_line(resource)] if isinstance(resource, Feed) else lines


def _unified(before: list[str], after: list[str]) -> tuple[str, ...]:
    """The hunks of a unified diff, without the two lines that would name files."""
    return tuple(unified_diff(before, after, n=_CONTEXT_LINES, lineterm=""))[2:]
