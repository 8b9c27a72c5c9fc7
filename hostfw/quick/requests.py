"""Requests for quick rules, as values: an action, services, the other side, and a HostEndpoint."""

from dataclasses import dataclass

from hostfw.model.kinds.source_limit import Rate
from hostfw.model.values import Action, Cidr, Direction, Icmp, PortRange, Protocol


@dataclass(frozen=True, slots=True)
class Here:
    """The address that the caller's own ssh session comes from, not looked up yet."""


@dataclass(frozen=True, slots=True)
class Local:
    """The networks of the interface that a packet comes in on, or goes out on: `local` among the `nets` of a rule."""


@dataclass(frozen=True, slots=True)
class Named:
    """A GlobalNetworkSet or a Feed, by its name."""

    name: str


Peers = tuple[Cidr, ...] | Named | Here | Local
"""The other side: prefixes of both families, of which none stands for anybody."""

ANYBODY: tuple[Cidr, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """A protocol, with ports where it has any (none: all of them), or with a type of ICMP."""

    protocol: Protocol
    ports: tuple[PortRange, ...] = ()
    icmp: Icmp | None = None


@dataclass(frozen=True, slots=True)
class QuickRule:
    """One `hostfwctl allow` or `deny`.

    `services` empty stands for every packet, `endpoint` None for every HostEndpoint. `directions` are both for a peer
    that is denied altogether, one otherwise. `for_s` is after how many seconds it expires, None for never, and `limit`
    how many connections one source may begin; neither is a part of what the rule is.
    """

    action: Action
    directions: tuple[Direction, ...]
    services: tuple[Service, ...] = ()
    peers: Peers = ANYBODY
    endpoint: str | None = None
    for_s: int | None = None
    limit: Rate | None = None


class RequestError(Exception):
    """Words that are no quick rule: what is wrong, and the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def members_name(name: str) -> str:
    """The name of the Feed that takes members for a set which files hold."""
    return f"{name}.members"
