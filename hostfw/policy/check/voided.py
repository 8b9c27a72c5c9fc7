"""Rules that something before any policy voids for some packets, and the warnings about them.

What is exempt is exempt for the whole configuration. So each exemption is said once, with the policies that it concerns
and the place of the first rule, however many rules there are.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from hostfw.model.kinds.metadata import BEFORE_FAILSAFES
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import GlobalNetworkPolicy, Profile
from hostfw.model.values import Direction
from hostfw.model.wording import NAMES_SHOWN, listed, unlisted

Owner = GlobalNetworkPolicy | Profile


class Exemption(StrEnum):
    """An exemption from policy."""

    FAILSAFES = "failsafes"
    REPLIES = "replies to failsafes"
    NEIGHBOURS = "neighbour discovery"
    ESTABLISHED = "established connections"
    LOOPBACK = "loopback"


class Voided(NamedTuple):
    """A rule that does not decide about some packets; `parts` says about which, in the words of the warning."""

    exemption: Exemption
    owner: Owner
    direction: Direction
    position: Position
    parts: tuple[str, ...]


def warnings_of(found: Iterable[Voided]) -> Iterator[Problem]:
    """One warning for each exemption that voids any rule, at the first of them."""
    groups: dict[Exemption, list[Voided]] = {}
    for one in found:
        groups.setdefault(one.exemption, []).append(one)
    for exemption, group in groups.items():
        group.sort(key=lambda one: one.position)
        message, hint = _TEXTS[exemption](group)
        yield Problem(group[0].position, message, hint=hint, severity=Severity.WARNING, more=_unnamed(exemption, group))


def _failsafes(group: list[Voided]) -> tuple[str, str]:
    opened = _by_direction(group)
    one = sum(map(len, opened.values())) == 1
    listing = " and ".join(f"{_few(parts, _PORTS_SHOWN)} ({_KEYS[direction]})" for direction, parts in opened.items())
    stays = "stays open as a failsafe port" if one else "stay open as failsafe ports"
    it, its = ("it", "it stays") if one else ("them", "they stay")
    keys = " and ".join(f"failsafe.{_KEYS[direction]}" for direction in opened)
    return (
        f"{listing} {stays}: the rules of {_owners(group)} do not close {it}",
        (
            f"in hostfw.yaml, take {it} out of {keys}, or name the net to which {its} open, as in tcp:10.0.0.0/8:22; "
            f'a policy that denies somebody comes before failsafes with {BEFORE_FAILSAFES}: "true"'
        ),
    )


def _unnamed(exemption: Exemption, group: list[Voided]) -> tuple[str, ...]:
    """The parts and owners that a warning only counts."""
    by_direction = exemption in (Exemption.FAILSAFES, Exemption.REPLIES)
    lists = list(_by_direction(group).values()) if by_direction else [_parts(group)]
    most = _PORTS_SHOWN if exemption is Exemption.FAILSAFES else NAMES_SHOWN
    # The few types of neighbour discovery are all named.
    counted = lists if exemption is not Exemption.NEIGHBOURS else []
    left_out = [part for parts in counted for part in parts[len(_shown(parts, most)) :]]
    return (*left_out, *(name for names in _names(group) for name in unlisted(names)))


def _few(parts: list[str], most: int = NAMES_SHOWN) -> str:
    shown = _shown(parts, most)
    return ", ".join(shown if len(shown) == len(parts) else [*shown, f"{len(parts) - len(shown)} more"])


def _shown(parts: list[str], most: int) -> list[str]:
    """The parts that a warning names: to count a single one would save nothing."""
    return parts if len(parts) < most + 2 else parts[:most]


def _replies(group: list[Voided]) -> tuple[str, str]:
    passing = _by_direction(group)
    # What comes in as a reply answers what a failsafe lets out, and the reverse.
    keys = {direction: _KEYS[_OPPOSITE[direction]] for direction in passing}
    only = len(passing) == 1
    listing = " and ".join(
        _few(parts) if only else f"{_few(parts)} ({direction})" for direction, parts in passing.items()
    )
    message = (
        f"packets from the source ports {listing} get past the doNotTrack Deny rules of {_owners(group)}: before "
        f"connection tracking they pass as replies to {' and '.join(keys.values())} failsafes, and the sender chooses "
        "the port"
    )
    narrowed = " and ".join(f"failsafe.{key}" for key in keys.values())
    return message, f"deny the same without doNotTrack as well, or narrow {narrowed} of hostfw.yaml with net"


def _neighbours(group: list[Voided]) -> tuple[str, str]:
    hint = "to decide about it, say neighbourDiscovery: policed in hostfw.yaml, and allow the other types in policy"
    message = (
        f"neighbour discovery is accepted before any policy, so the Deny rules of {_owners(group)} do not meet "
        f"{', nor '.join(_parts(group))}"
    )
    return message, hint


def _established(group: list[Voided]) -> tuple[str, str]:
    parts = _parts(group)
    shown = _shown(parts, NAMES_SHOWN)
    others = f", nor any of {len(parts) - len(shown)} others" if len(shown) < len(parts) else ""
    message = (
        f"what belongs to a known connection is accepted before any policy, so the Deny rules of {_owners(group)} meet "
        f"no {', no '.join(shown)}{others} that does"
    )
    return message, "deny the packets that begin those connections, in the direction in which they begin"


def _loopback(group: list[Voided]) -> tuple[str, str]:
    message = (
        f"lo is exempt from policy unless a HostEndpoint governs it, so the Deny rules of {_owners(group)} do not meet "
        f"what the host says to itself {_few(_parts(group))}"
    )
    return message, "write a HostEndpoint with interfaceName: lo that they select, and allow what the host needs there"


_TEXTS: dict[Exemption, Callable[[list[Voided]], tuple[str, str]]] = {
    Exemption.FAILSAFES: _failsafes,
    Exemption.REPLIES: _replies,
    Exemption.NEIGHBOURS: _neighbours,
    Exemption.ESTABLISHED: _established,
    Exemption.LOOPBACK: _loopback,
}
_PORTS_SHOWN = 3
_KEYS = {Direction.INGRESS: "inbound", Direction.EGRESS: "outbound"}
_OPPOSITE = {Direction.INGRESS: Direction.EGRESS, Direction.EGRESS: Direction.INGRESS}


def _by_direction(group: list[Voided]) -> dict[Direction, list[str]]:
    found = {direction: _parts(one for one in group if one.direction is direction) for direction in Direction}
    return {direction: parts for direction, parts in found.items() if parts}


def _parts(group: Iterable[Voided]) -> list[str]:
    return list(dict.fromkeys(part for one in group for part in one.parts))


def _names(group: Iterable[Voided]) -> tuple[set[str], set[str]]:
    """The names of policies, and of profiles."""
    found = tuple(group)
    policies = {one.owner.metadata.name for one in found if isinstance(one.owner, GlobalNetworkPolicy)}
    return policies, {one.owner.metadata.name for one in found if isinstance(one.owner, Profile)}


def _owners(group: Iterable[Voided]) -> str:
    policies, profiles = _names(group)
    of_policies = f"{'policy' if len(policies) == 1 else 'policies'} {listed(policies)}" if policies else ""
    of_profiles = f"{'profile' if len(profiles) == 1 else 'profiles'} {listed(profiles)}" if profiles else ""
    return " and of ".join(filter(None, (of_policies, of_profiles)))
