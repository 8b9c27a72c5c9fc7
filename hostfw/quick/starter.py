"""A first configuration, from what a host offers now: nothing that is reachable is closed, all else is.

The text is made to be read and edited, so each part says why it is there.
"""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import NamedTuple

from hostfw.exposure.wording import target_text
from hostfw.manifest.scalars.name_forms import INTERFACE_NAME
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import HostServices, PublishedPort, Service
from hostfw.model.values import FAMILIES, PROTOCOLS, Family, address_text, host_cidr
from hostfw.model.wording import counted
from hostfw.policy.unmanaged import carriers

_MOST_ADDRESSES = 4
_WIDTH = 100
"""Columns of a comment about another firewall."""

_HEAD = """\
# A first configuration of {node}, from what `hostfwctl init` found.
# Read it, edit it, and put it into force with
#     hostfwctl apply --confirm-within 2m
# Then open a new ssh connection, and accept it there with `hostfwctl confirm`.
"""

_OTHERS = """\
#
# Others decide about packets of this host as well:
{found}
# Each rule below is for a port that a program listens on, whether or not they let
# anybody reach it. `hostfwctl import` writes the rules of ufw, firewalld, nft and
# iptables as policy: what they keep closed stays closed by that.
"""

_ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata:
  name: {resource}
  labels:
    interface: {resource}
spec:
  # {why}
  interfaceName: {name}
"""

_SERVICES = """\
# What comes in: each port that a program listens on now. Anything else is
# denied, but for ssh (tcp 22), which the failsafes of hostfw.yaml keep open.
# Take out what nobody should reach, or say who may reach it:
#     - action: Allow
#       protocol: TCP
#       source: {nets: [10.0.0.0/8]}
#       destination: {ports: [443]}
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: services
spec:
  order: 100
  selector: all()
  types: [Ingress]
  ingress:
"""

_PING = """\
    # Ping, over IPv4 and IPv6.
    - {action: Allow, protocol: ICMP, icmp: {type: 8}}
    - {action: Allow, protocol: ICMPv6, icmp: {type: 128}}
"""

_OUTWARD = """\
# What goes out: everything, as before.
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: outward
spec:
  order: 100
  selector: all()
  types: [Egress]
  egress:
    - {action: Allow}
"""


class OtherFirewall(NamedTuple):
    """Another program that decides about packets here: its effect in a sentence, and the next step."""

    effect: str
    next: str


class _Rule(NamedTuple):
    """A rule in one line, and the comment above it."""

    comment: str
    text: str


def starter(facts: HostFacts, services: HostServices, others: Sequence[OtherFirewall] = ()) -> str:
    """A configuration file in YAML: HostEndpoints for the interfaces that packets come in on, and two policies.

    `others` are the firewalls that decide here as well, which its head names.
    """
    interfaces = [interface for interface in carriers(facts) if _is_worth_it(interface)]
    rules = [rule for service in services.services for rule in _of_service(service, services)]
    rules += [_of_published(port) for port in services.published if port.port and (port.local or port.out_interface)]
    documents = (
        *(_endpoint(interface) for interface in interfaces),
        _SERVICES + "".join(_lines(rules)) + _PING,
        _OUTWARD,
    )
    named = _OTHERS.format(found="\n".join(line for one in others for line in _other(one))) if others else ""
    return _HEAD.format(node=facts.node) + named + "---\n".join(documents)


def _other(one: OtherFirewall) -> Iterator[str]:
    text = _plain(f"{one.effect}. Next: {one.next}.")
    return iter(wrap(text, _WIDTH, initial_indent="#   - ", subsequent_indent="#     ", break_on_hyphens=False))


def _is_worth_it(interface: Interface) -> bool:
    """True for hardware, and for what has an address; of names that no manifest can hold there is nothing to write."""
    return INTERFACE_NAME.fits(interface.name) and bool(not interface.kind or interface.addresses)


def _endpoint(interface: Interface) -> str:
    addresses = [address_text(cidr.family, cidr.address) for cidr in interface.addresses]
    shown = ", ".join(addresses[:_MOST_ADDRESSES]) + (", ..." if len(addresses) > _MOST_ADDRESSES else "")
    parts = [
        interface.kind or "hardware",
        "the default route" if interface.default_route else "",
        shown or "no address",
    ]
    resource = "".join(c if c.isalnum() or c == "-" else "-" for c in interface.name.lower()).strip("-") or "interface"
    return _ENDPOINT.format(
        resource=_quoted(resource), name=_quoted(interface.name), why="; ".join(filter(None, parts))
    )


def _of_service(service: Service, services: HostServices) -> Iterator[_Rule]:
    """The rules that let in what reaches a service now."""
    if all(bound.address is not None and _is_loopback(bound.family, bound.address) for bound in service.bound):
        return
    name = _protocol(service.protocol)
    who = " ".join(filter(None, [service.unit, f"({service.process})" if service.process else ""])) or "a program"
    peers = sum((peer.protocol, peer.port) == (service.protocol, service.port) for peer in services.peers)
    now = f"; {counted(peers, 'connection')} now" if peers else ""
    everywhere = [family for family in FAMILIES if any(b.family is family and b.address is None for b in service.bound)]
    ports = f"ports: [{service.port}]"
    if everywhere:
        version = f"ipVersion: {everywhere[0]:d}, " if len(everywhere) == 1 else ""
        yield _Rule(
            f"{who} listens on every address{f' of IPv{everywhere[0]:d}' if version else ''}{now}.",
            f"{{action: Allow, {version}protocol: {name}, destination: {{{ports}}}}}",
        )
    for family in FAMILIES:
        nets = [
            str(host_cidr(family, bound.address))
            for bound in service.bound
            if bound.family is family
            and family not in everywhere
            and bound.address is not None
            and not _is_loopback(family, bound.address)
        ]
        if nets:
            listed = ", ".join(f'"{net}"' if family is Family.V6 else net for net in nets)
            yield _Rule(
                f"{who} listens on {', '.join(net.partition('/')[0] for net in nets)}{now}.",
                f"{{action: Allow, protocol: {name}, destination: {{nets: [{listed}], {ports}}}}}",
            )


def _of_published(port: PublishedPort) -> _Rule:
    return _Rule(
        f"Published by another program, table {port.table}, to {target_text(port)}.",
        f"{{action: Allow, ipVersion: {port.family:d}, protocol: {_protocol(port.protocol)}, "
        f"destination: {{ports: [{port.port}]}}}}",
    )


def _lines(rules: Iterable[_Rule]) -> Iterator[str]:
    for rule in dict.fromkeys(rules):
        yield f"    # {_plain(rule.comment)}\n    - {rule.text}\n"


def _protocol(number: int) -> str:
    return next((name for name, known in PROTOCOLS.items() if known.number == number), str(number))


def _is_loopback(family: Family, address: int) -> bool:
    return address >> 24 == 127 if family is Family.V4 else address == 1


def _quoted(name: str) -> str:
    """A name as YAML has it, whatever it looks like."""
    return name if name.isalnum() and not name.isdigit() and name.lower() not in _WORDS else f'"{name}"'


_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))


def _plain(text: str) -> str:
    """A comment in one line: names of programs are their own choice."""
    return "".join(c if c.isprintable() else "?" for c in text)
