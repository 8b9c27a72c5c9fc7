"""Exposure in words: sets of sources, what decides about them, and the lines that a change is told in."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hostfw.exposure.services import Change, Entry, Subject
from hostfw.exposure.sources import Part, Sources, joined
from hostfw.model.host.services import PublishedPort, Service, port_text
from hostfw.model.packets.decisions import Reason
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.ranges import Ranges, cidrs_of, difference, every_address
from hostfw.model.values import Family, address_text
from hostfw.model.wording import all_of, listed

NOBODY = "nobody"
_SHOWN = 8
"""Most prefixes of a set that are listed for people."""


class Line(NamedTuple):
    """A service or published port on some interfaces, the sources that have one thing in common, and why."""

    kind: str
    subject: Subject
    interfaces: tuple[str, ...]
    addresses: tuple[str, ...]
    sources: tuple[str, ...]
    by: str


def subject_text(subject: Subject) -> str:
    """A service as `tcp/80 nginx.service`; a published port with its target and the table of its rule."""
    if isinstance(subject, Service):
        return str(subject)
    may = "" if subject.certain else "perhaps "
    return f"{port_text(subject.protocol, subject.port)} {may}-> {target_text(subject)} (table {subject.table})"


def target_text(port: PublishedPort) -> str:
    """The address and port that a published port stands for."""
    if not port.target:
        return f"port {port.target_port} of this host"
    address = address_text(port.family, port.target)
    return f"[{address}]:{port.target_port}" if port.family is Family.V6 else f"{address}:{port.target_port}"


def decision_text(step: Step) -> str:
    """The decision, as briefly as a person needs to find it."""
    if step.rule is not None:
        name = step.policy if step.tier else f"profile {step.policy}"
        return f"{name}, {step.position.file_line}" if step.position.line else name
    match step.reason:
        case Reason.END_OF_TIER:
            return f"end of tier {step.tier}"
        case Reason.FAILSAFE:
            return f"failsafe {step.failsafe}"
        case Reason.UNMANAGED:
            return "no HostEndpoint" if step.interface else "no rules in force"
        case Reason.NO_POLICY:
            return f"no policy selects {step.endpoint}"
        case Reason.NO_PROFILE_MATCH:
            return f"no rule of {step.endpoint} allows it"
        case Reason.NO_FORWARD_POLICY:
            return "no applyOnForward policy denies it"
        case _:
            return step.reason.value


def part_texts(part: Part, family: Family) -> Iterator[str]:
    """The prefixes of a part, or a whole less what is left out of it where that is shorter."""
    if part.inside and part.outside:
        yield from (str(cidr) for cidr in cidrs_of(part.in_full(family), family))
        return
    conditions = [f"in {large.selector}" for large in sorted(part.inside, key=lambda large: large.selector)]
    conditions += [f"except {large.selector}" for large in sorted(part.outside, key=lambda large: large.selector)]
    tail = f" {' '.join(conditions)}" if conditions else ""
    yield from (f"{text}{tail}" for text in range_texts(part.ranges, family))


def range_texts(ranges: Ranges, family: Family) -> Iterator[str]:
    """Ranges as prefixes, or as every address except a few prefixes."""
    prefixes = tuple(cidrs_of(ranges, family))
    missing = tuple(cidrs_of(difference(every_address(family), ranges), family))
    if missing and len(missing) <= _SHOWN and 2 * len(missing) < len(prefixes):
        yield f"{address_text(family, 0)}/0 except {', '.join(map(str, missing))}"
    else:
        yield from map(str, prefixes)


def sources_text(texts: Iterable[str], *, whole: bool = False) -> str:
    """Sources on one line, the first few of many."""
    found = tuple(texts)
    if not found:
        return NOBODY
    shown = found if whole or len(found) <= _SHOWN else found[:_SHOWN]
    more = f" and {len(found) - len(shown)} more" if len(shown) < len(found) else ""
    return f"{', '.join(shown)}{more}"


def change_lines(changes: Iterable[Change], entries: Iterable[Entry]) -> tuple[Line, ...]:
    """The lines of a change of exposure: one for each service, direction and decision."""
    items = ((change.kind.value, change.entry, change.sources, decision_text(change.step)) for change in changes)
    return _lines_of(items, entries)


def change_text(line: Line, *, whole: bool = False) -> str:
    """One thing that closes or opens, in a sentence without its end."""
    names = all_of if whole else listed
    at = f" at {names(line.addresses)}" if line.addresses else ""
    where = f" on {names(line.interfaces)}{at} to {sources_text(line.sources, whole=whole)}"
    return f"{line.kind} {subject_text(line.subject)}{where} ({line.by})"


def _lines_of(found: Iterable[tuple[str, Entry, Sources, str]], entries: Iterable[Entry]) -> tuple[Line, ...]:
    """Entries that say the same put together: both families, and all interfaces and addresses that are alike.

    Addresses are named only where a service has others on the interface of which something else is true.
    """
    places: dict[tuple[Subject, str, Family], set[int]] = {}
    for entry in entries:
        places.setdefault((entry.subject, entry.interface, entry.family), set()).add(entry.address)
    parts: dict[tuple[Subject, str, str, str, Family, int], list[Part]] = {}
    for kind, entry, sources, by in found:
        parts.setdefault((entry.subject, entry.interface, kind, by, entry.family, entry.address), []).extend(sources)
    by_place: dict[tuple[Subject, str, str, str, Family, tuple[str, ...]], set[int]] = {}
    for (subject, interface, kind, by, family, address), found_parts in parts.items():
        texts = tuple(text for part in joined(found_parts) for text in part_texts(part, family))
        by_place.setdefault((subject, interface, kind, by, family, texts), set()).add(address)
    # Of one interface: the families together.
    by_interface: dict[tuple[Subject, str, str, str, tuple[str, ...]], list[str]] = {}
    for (subject, interface, kind, by, family, texts), addresses in by_place.items():
        everywhere = addresses == places[subject, interface, family]
        at = () if everywhere else tuple(address_text(family, address) for address in sorted(addresses))
        by_interface.setdefault((subject, interface, kind, by, at), []).extend(texts)
    by_line: dict[tuple[Subject, str, str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (subject, interface, kind, by, at), all_texts in by_interface.items():
        by_line.setdefault((subject, kind, by, at, tuple(dict.fromkeys(all_texts))), []).append(interface)
    return tuple(
        Line(kind, subject, tuple(interfaces), at, texts, by)
        for (subject, kind, by, at, texts), interfaces in by_line.items()
    )


def entries_as_lines(entries: Iterable[Entry], *, whole: bool = False) -> tuple[Line, ...]:
    """The lines of an exposure: one for each set of sources that is let in, and one for unreachable services.

    What denies the latter is listed as far as eight of them, or with `whole` to the end.
    """
    names = all_of if whole else listed
    items: list[tuple[str, Entry, Sources, str]] = []
    known = tuple(entries)
    for entry in known:
        allowed: dict[str, Sources] = {}
        denied: dict[str, None] = {}
        for decision in entry.reach.decisions:
            text = decision_text(decision.step)
            if decision.step.verdict is StepVerdict.ALLOW:
                allowed[text] = (*allowed.get(text, ()), decision.sources)
            else:
                denied[text] = None
        items += [("reaches", entry, sources, text) for text, sources in allowed.items()]
        if not allowed:
            items.append(("reaches", entry, (), names(denied)))
    return _lines_of(items, known)
