"""The failsafe ports of the settings, as a list of mappings or in the text form of Calico's Felix."""

import re

from hostfw.manifest.fields import Reader, Shape, described, did_you_mean, fields, integer, items
from hostfw.manifest.kinds.rule import LAST_PORT
from hostfw.manifest.scalars.net_texts import form_hint, is_mapped, loose_cidr, says_mapped
from hostfw.manifest.scalars.nets import net_or_address, unless_mapped
from hostfw.manifest.scalars.scalars import each_once, warn_of_repeats
from hostfw.manifest.yaml.nodes import Mapping, Node, Scalar, ScalarKind, Sequence, scalar_kind
from hostfw.model.settings import (
    CALICO_FAILSAFE_INBOUND,
    CALICO_FAILSAFE_OUTBOUND,
    FAILSAFE_PROTOCOLS,
    Failsafe,
    FailsafePort,
)
from hostfw.model.values import TCP, Cidr, Protocol, parse_address
from hostfw.model.wording import quoted

FAILSAFE_SHAPE = Shape("failsafe", frozenset(("inbound", "outbound")))
FAILSAFE_PORT_SHAPE = Shape("a failsafe port", frozenset(("protocol", "port", "net")))

PROTOCOL_WORDS = {
    name: protocol for protocol in FAILSAFE_PROTOCOLS for name in (protocol.name, protocol.name.lower())
} | {str(protocol.number): protocol for protocol in FAILSAFE_PROTOCOLS}
TEXT_FORM = re.compile(
    r"(?:(?P<protocol>[A-Za-z0-9]+):)?(?:(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[0-9./]+)):)?(?P<port>[0-9]+)\Z"
)
_EXPECTED = "a port (tcp), protocol:port, protocol:net:port, or protocol:[net]:port for IPv6"

WORDS = {"calico": Failsafe(CALICO_FAILSAFE_INBOUND, CALICO_FAILSAFE_OUTBOUND), "none": Failsafe((), ())}


def decode_failsafe(reader: Reader, node: Node, base: Failsafe) -> Failsafe:
    """The failsafe ports; a direction that is given replaces its default as a whole."""
    if isinstance(node, Scalar):
        chosen = WORDS.get(node.text)
        if chosen is None:
            expected = "calico, none, or a mapping of inbound and outbound"
            reader.report(node, f"failsafe is {described(node)}", expected, did_you_mean(node.text, WORDS))
        return chosen or base
    if isinstance(node, Sequence) and not node.items:
        return Failsafe((), ())
    found = fields(reader, node, FAILSAFE_SHAPE)
    return Failsafe(
        decode_ports(reader, found["inbound"], "inbound", base.inbound) if "inbound" in found else base.inbound,
        decode_ports(reader, found["outbound"], "outbound", base.outbound) if "outbound" in found else base.outbound,
    )


def decode_ports(reader: Reader, node: Node, what: str, base: tuple[FailsafePort, ...]) -> tuple[FailsafePort, ...]:
    """Ports as a list or a text; an empty text leaves those of `base`, and `none` is none at all."""
    if not isinstance(node, Scalar):
        return each_once(reader, items(reader, node, what), what, _port)
    if not node.text.strip():
        return base
    if node.text.strip() == "none":
        return ()
    ports = [_from_text(reader, node, part.strip(), what) for part in node.text.split(",")]
    warn_of_repeats(reader, [node] * len(ports), ports, what)
    return tuple([port for port in ports if port is not None])


def _port(reader: Reader, node: Node, what: str) -> FailsafePort | None:
    if isinstance(node, Scalar):
        if scalar_kind(node) in (ScalarKind.STRING, ScalarKind.INTEGER):
            return _from_text(reader, node, node.text, what)
        reader.report(node, f"{what} has {described(node)}", _EXPECTED)
        return None
    found = fields(reader, node, FAILSAFE_PORT_SHAPE)
    if not isinstance(node, Mapping):
        return None
    port = integer(reader, found.get("port"), "port", 1, LAST_PORT)
    if "port" not in found:
        reader.report(node, "port is missing", f"a whole number from 1 to {LAST_PORT}")
    protocol = _protocol(reader, found["protocol"]) if "protocol" in found else TCP
    net = net_or_address(reader, found["net"], "net") if "net" in found else None
    return None if port is None or protocol is None else FailsafePort(protocol, port, net)


def _protocol(reader: Reader, node: Node) -> Protocol | None:
    protocol = PROTOCOL_WORDS.get(node.text) if isinstance(node, Scalar) else None
    if protocol is None:
        reader.report(node, f"protocol is {described(node)}", "tcp, udp or sctp")
    return protocol


def _from_text(reader: Reader, node: Node, text: str, what: str) -> FailsafePort | None:
    found = TEXT_FORM.match(text)
    if found is None:
        reader.report(node, f"{what} has {quoted(text)}", _EXPECTED)
        return None
    protocol = PROTOCOL_WORDS.get(found["protocol"] or TCP.name)
    if protocol is None:
        reader.report(node, f"{what} has {quoted(text)} with protocol {quoted(found['protocol'])}", "tcp, udp or sctp")
    net_text = found["v6"] if found["v6"] is not None else found["v4"]
    net: Cidr | None = None
    if net_text is not None:
        net = loose_cidr(net_text)
        if net is not None and says_mapped(net_text) and not is_mapped(net):
            message = f"{what} has {quoted(text)}, which no packet carries"
            reader.report(node, message, "an IPv4 prefix", form_hint(net_text) or "an IPv4 prefix has at most 32 bits")
            return None
        if net is None or parse_address(net_text.partition("/")[0]) != (net.family, net.address):
            reader.report(
                node, f"{what} has {quoted(text)} with net {quoted(net_text)}", "a masked prefix, or an address"
            )
            return None
        net = unless_mapped(reader, node, what, net)
        if net is None:
            return None
    port = int(found["port"]) if len(found["port"]) <= len(str(LAST_PORT)) else 0
    if not 1 <= port <= LAST_PORT:
        reader.report(node, f"{what} has {quoted(text)}", f"a port from 1 to {LAST_PORT}")
        return None
    return FailsafePort(protocol, port, net) if protocol is not None else None
