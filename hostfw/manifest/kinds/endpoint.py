"""HostEndpoint, GlobalNetworkSet, NetworkSet and InterfaceGroup."""

from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import chain

from hostfw.manifest.fields import (
    Reader,
    Shape,
    boolean,
    choice,
    described,
    fields,
    given,
    integer,
    items,
    text,
)
from hostfw.manifest.kinds.metadata import formed_name, required_name
from hostfw.manifest.kinds.refused import NETWORK_SET_FIELDS
from hostfw.manifest.kinds.rule import LAST_PORT
from hostfw.manifest.scalars.name_forms import ENDPOINT_PORT_NAME, INTERFACE_NAME, NODE_NAME, SUBDOMAIN
from hostfw.manifest.scalars.nets import net_or_address, not_of_loopback, own_address, set_nets
from hostfw.manifest.scalars.scalars import each, each_once, protocol, warn_of_repeats
from hostfw.manifest.yaml.nodes import Mapping, Node, Scalar, ScalarKind, scalar_kind
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.sets import GlobalNetworkSet, NetworkSet
from hostfw.model.kinds.workloads import EndpointPort
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.resources import ANY_NODE, WILDCARD, HostEndpoint
from hostfw.model.values import PROTOCOLS, Cidr, Learned
from hostfw.model.wording import quoted

ENDPOINT_SHAPE = Shape(
    "the spec of a HostEndpoint",
    frozenset(("node", "interfaceName", "interfaceGroup", "expectedIPs", "profiles", "ports", "learned")),
)
ENDPOINT_PORT_SHAPE = Shape("a named port", frozenset(("name", "protocol", "port")))
NETWORK_SET_SHAPE = Shape("the spec of a network set", frozenset(("nets",)), NETWORK_SET_FIELDS)
GROUP_SHAPE = Shape("the spec of an InterfaceGroup", frozenset(("match", "except")))
MATCH_SHAPE = Shape(
    "an entry of an InterfaceGroup",
    frozenset(("name", "kind", "linkGroup", "master", "addressIn", "defaultRoute", "learned")),
)


def decode_endpoint(reader: Reader, metadata: Metadata, spec: Node) -> HostEndpoint:
    """A HostEndpoint; it must say which interfaces it governs."""
    found = fields(reader, spec, ENDPOINT_SHAPE)
    node = formed_name(reader, found.get("node"), "node", NODE_NAME)
    name_node, group_node = given(found, "interfaceName"), given(found, "interfaceGroup")
    profiles, places = profile_names(reader, found.get("profiles"))
    endpoint = HostEndpoint(
        metadata=metadata,
        node=ANY_NODE if node is None else node,
        interface_name=formed_name(reader, name_node, "interfaceName", INTERFACE_NAME),
        interface_group=formed_name(reader, group_node, "interfaceGroup", SUBDOMAIN),
        expected_ips=_expected_ips(reader, found.get("expectedIPs"), name_node),
        profiles=profiles,
        ports=each_once(reader, items(reader, found.get("ports"), "ports"), "ports", _endpoint_port),
        interface_group_position=reader.at(group_node) if group_node is not None else NOWHERE,
        profile_positions=places,
        learned=learned(reader, found.get("learned"), "learned"),
    )
    if name_node is not None and group_node is not None:
        reader.report(group_node, "interfaceGroup and interfaceName are both given", "one of the two")
    elif name_node is None and group_node is None and not _has_items(found.get("expectedIPs")):
        expected = "interfaceName, interfaceGroup or expectedIPs"
        reader.report(spec, "the HostEndpoint names no interface", expected, "interfaceName: '*' means every other one")
    return endpoint


def _expected_ips(reader: Reader, node: Node | None, interface: Node | None) -> tuple[Cidr, ...]:
    nodes = items(reader, node, "expectedIPs")
    named = interface.text if isinstance(interface, Scalar) else ""
    decode = own_address if named in (LOOPBACK, WILDCARD) else not_of_loopback
    return each_once(reader, nodes, "expectedIPs", decode)


def decode_network_set(reader: Reader, metadata: Metadata, spec: Node) -> GlobalNetworkSet:
    """A GlobalNetworkSet; its nets may overlap, be bare addresses or have bits beyond their length."""
    found = fields(reader, spec, NETWORK_SET_SHAPE)
    parts = (set_nets(reader, node, "nets") for node in items(reader, found.get("nets"), "nets"))
    return GlobalNetworkSet(metadata, tuple(chain.from_iterable(parts)))


def decode_namespaced_set(reader: Reader, metadata: Metadata, spec: Node) -> NetworkSet:
    """A NetworkSet; its nets are as those of a GlobalNetworkSet."""
    return NetworkSet(metadata, decode_network_set(reader, metadata, spec).nets)


def decode_group(reader: Reader, metadata: Metadata, spec: Node) -> InterfaceGroup:
    """An InterfaceGroup, the extension that a HostEndpoint names with `interfaceGroup`."""
    found = fields(reader, spec, GROUP_SHAPE)
    if not _has_items(found.get("match")):
        reader.report(spec, "match is missing or empty, so the group has no interfaces", "at least one entry")
    before = len(reader.problems)
    match_nodes, except_nodes = items(reader, found.get("match"), "match"), items(reader, found.get("except"), "except")
    match = each(reader, match_nodes, "match", _match)
    except_ = each(reader, except_nodes, "except", _match)
    if len(reader.problems) == before:
        for node, entry in zip(match_nodes, match, strict=True):
            excluding = next((one for one in except_ if _excludes(one, entry)), None)
            if excluding is not None:
                line = excluding.position.line
                message = f"this entry of match adds no interface: the entry of except on line {line} excludes them all"
                reader.warn(node, message, "remove one of the two, or make the one of except narrower")
    warn_of_repeats(reader, match_nodes, tuple(map(_conditions, match)), "match")
    warn_of_repeats(reader, except_nodes, tuple(map(_conditions, except_)), "except")
    return InterfaceGroup(metadata, match, except_)


def _conditions(entry: InterfaceMatch) -> InterfaceMatch:
    return replace(entry, position=NOWHERE)


def _excludes(wider: InterfaceMatch, entry: InterfaceMatch) -> bool:
    """True if an entry of `except` surely holds for every interface that one of `match` holds for."""
    same_way = wider.learned == entry.learned
    return (
        _covers(wider.name, entry.name)
        and wider.kind in (None, entry.kind)
        and wider.link_group in (None, entry.link_group)
        and wider.master in (None, entry.master)
        and wider.default_route in (None, entry.default_route)
        and (wider.default_route is None or same_way)
        and (not wider.address_in or (same_way and _are_among(entry.address_in, wider.address_in)))
    )


def _are_among(some: tuple[Cidr, ...], others: tuple[Cidr, ...]) -> bool:
    return bool(some) and set(some) <= set(others)


def _covers(glob: str | None, name: str | None) -> bool:
    if glob is None or glob == "*":
        return True
    return name is not None and (glob == name or (not set(name) & set("*?[") and fnmatchcase(name, glob)))


def _has_items(node: Node | None) -> bool:
    return node is not None and (isinstance(node, Scalar) or bool(node.items))


def profile_names(reader: Reader, node: Node | None) -> tuple[tuple[str, ...], tuple[Position, ...]]:
    """The profiles that an endpoint lists, and where it does."""
    nodes = items(reader, node, "profiles")
    named = [
        (name, reader.at(item))
        for item in nodes
        if (name := formed_name(reader, item, "a profile", SUBDOMAIN)) is not None
    ]
    names = tuple(name for name, _ in named)
    warn_of_repeats(reader, nodes, names, "profiles")
    return names, tuple(position for _, position in named)


def _endpoint_port(reader: Reader, node: Node, _what: str) -> EndpointPort | None:
    return endpoint_port(reader, node, ENDPOINT_PORT_SHAPE)


def endpoint_port(reader: Reader, node: Node, shape: Shape) -> EndpointPort | None:
    """A named port; `shape` has the fields that one of the kind may have."""
    found = fields(reader, node, shape)
    if not isinstance(node, Mapping):
        return None
    name = required_name(reader, found.get("name"), "a port's name", ENDPOINT_PORT_NAME, node)
    number = integer(reader, found.get("port"), "port", 1, LAST_PORT)
    if "port" not in found:
        reader.report(node, "port is missing", f"a whole number from 1 to {LAST_PORT}")
    expected = "TCP, UDP or SCTP"
    chosen = protocol(reader, found.get("protocol"), "protocol", PROTOCOLS)
    if "protocol" not in found:
        reader.report(node, "protocol is missing", expected)
    elif chosen is not None and not chosen.has_ports:
        reader.report(found["protocol"], f"protocol {chosen} has no ports that can be matched", expected)
    if name is None or number is None or chosen is None:
        return None
    return EndpointPort(name, chosen, number)


def _match(reader: Reader, node: Node, _what: str) -> InterfaceMatch | None:
    before = len(reader.problems)
    found = fields(reader, node, MATCH_SHAPE)
    if not isinstance(node, Mapping):
        return None
    match = InterfaceMatch(
        name=_word(reader, found, "name"),
        kind=_word(reader, found, "kind"),
        link_group=_link_group(reader, found.get("linkGroup")),
        master=_word(reader, found, "master"),
        address_in=each_once(reader, items(reader, found.get("addressIn"), "addressIn"), "addressIn", net_or_address),
        default_route=boolean(reader, found.get("defaultRoute"), "defaultRoute"),
        position=reader.at(node),
        learned=learned(reader, found.get("learned"), "learned"),
    )
    # A field that is null, or an empty list, is as good as none.
    if len(reader.problems) == before:
        if match == InterfaceMatch(position=match.position, learned=match.learned):
            expected = "at least one field that is a condition"
            reader.report(node, "this entry has no condition, so it would hold for every interface", expected)
        elif match.learned and not match.address_in and match.default_route is None:
            message = "learned is given in an entry that asks for no address and no default route"
            reader.report(found["learned"], message, "addressIn or defaultRoute together with it", "leave it out")
    return match


def _word(reader: Reader, found: dict[str, Node], name: str) -> str | None:
    node = found.get(name)
    value = text(reader, node, name)
    if node is None or value is None or (value and not any(character in "/ \t\n" for character in value)):
        return value
    reader.report(node, f"{name} is {quoted(value)}", "a word without blanks or '/'")
    return None


LEARNED = {how.value: how for how in Learned}


def learned(reader: Reader, node: Node | None, what: str) -> tuple[Learned, ...]:
    """The ways in which a neighbour gave what counts, each once."""
    found: list[Learned] = []
    for item in items(reader, node, what):
        how = choice(reader, item, f"an item of {what}", LEARNED)
        if how in found:
            reader.report(item, f"{what} has {how} twice", "each once")
        elif how is not None:
            found.append(how)
    return tuple(sorted(found))


LAST_LINK_GROUP = 2**32 - 1


def _link_group(reader: Reader, node: Node | None) -> int | str | None:
    if node is None:
        return None
    if isinstance(node, Scalar) and scalar_kind(node) is ScalarKind.INTEGER:
        return integer(reader, node, "linkGroup", 0, LAST_LINK_GROUP)
    if isinstance(node, Scalar) and scalar_kind(node) is ScalarKind.STRING and node.text:
        return node.text
    reader.report(node, f"linkGroup is {described(node)}", "a number, or a name of /etc/iproute2/group")
    return None
