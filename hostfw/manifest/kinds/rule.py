"""Policy rules: the lists `ingress` and `egress` of policies and profiles."""

from collections.abc import Callable
from collections.abc import Mapping as Dictionary
from functools import lru_cache, partial
from typing import TypeVar

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
    one_of,
    text,
)
from hostfw.manifest.kinds.metadata import annotations
from hostfw.manifest.kinds.refused import ENTITY_FIELDS, RULE_FIELDS
from hostfw.manifest.kinds.source_limit import decode_source_limit
from hostfw.manifest.scalars.name_forms import ENDPOINT_PORT_NAME
from hostfw.manifest.scalars.nets import strict_net
from hostfw.manifest.scalars.scalars import (
    each,
    each_once,
    ip_version,
    is_port_scalar,
    protocol,
    protocols,
    selector_text,
)
from hostfw.manifest.yaml.nodes import Mapping, Node, Scalar
from hostfw.model.kinds.metadata import Labels, SelectorText
from hostfw.model.positions import NOWHERE
from hostfw.model.resources import LOCAL, EntityRule, Rule
from hostfw.model.values import (
    ICMP,
    ICMPV6,
    Action,
    Cidr,
    Direction,
    Family,
    Icmp,
    Mac,
    PortRange,
    Protocol,
    parse_mac,
)
from hostfw.model.wording import quoted
from hostfw.selector.evaluate import SelectorError, canonical, parse
from hostfw.selector.namespaces import NAMESPACE_LABEL, of_namespaces
from hostfw.selector.nodes import Comparison, Global, Operator

T = TypeVar("T")

RULES_LIMIT = 1024
NETS_LIMIT = 256
PORTS_LIMIT = 50
MACS_LIMIT = 16
"""Each is a comparison of its own."""

_ENTITY_FIELDS = frozenset(
    ("nets", "notNets", "selector", "notSelector", "namespaceSelector", "ports", "notPorts", "macs")
)
ENTITY_SHAPE = Shape("one side of a rule", _ENTITY_FIELDS, ENTITY_FIELDS)
RULE_SHAPE = Shape(
    "a rule",
    frozenset(
        (
            "action",
            "ipVersion",
            "protocol",
            "notProtocol",
            "icmp",
            "notICMP",
            "ipsec",
            "limitPerSource",
            "source",
            "destination",
            "metadata",
        )
    ),
    RULE_FIELDS,
    elsewhere=dict.fromkeys(_ENTITY_FIELDS, "it belongs into source or destination")
    | {"log": "for a denial without a record, write metadata: {annotations: {hostfw.io/log: none}}"},
)
ICMP_SHAPE = Shape("an ICMP match", frozenset(("type", "code")))
RULE_METADATA_SHAPE = Shape("the metadata of a rule", frozenset(("annotations",)))

_PEER_OF = {Direction.INGRESS.value: "source", Direction.EGRESS.value: "destination"}
"""The side of a rule that others are on, by the name of its direction."""

ACTIONS = {action.value: action for action in Action}
_EVERYTHING = EntityRule()


def decode_rules(reader: Reader, node: Node | None, what: str, namespace: str = "") -> tuple[Rule, ...]:
    """The rules of one direction, in order; `what` is the name of the direction.

    The selectors of a policy that belongs to a `namespace` look there, where no namespaceSelector says otherwise.
    """
    return each(reader, items(reader, node, what, RULES_LIMIT), what, partial(_rule, namespace))


def _rule(namespace: str, reader: Reader, node: Node, what: str) -> Rule | None:
    found = fields(reader, node, RULE_SHAPE)
    get = found.get
    action = choice(reader, get("action"), "action", ACTIONS)
    chosen = protocols(reader, get("protocol"), "protocol")
    rule = Rule(
        action or Action.DENY,
        ip_version(reader, get("ipVersion")),
        chosen[0] if chosen else None,
        protocol(reader, get("notProtocol"), "notProtocol"),
        _icmp(reader, get("icmp"), "icmp"),
        _icmp(reader, get("notICMP"), "notICMP"),
        _entity(reader, get("source"), namespace),
        _entity(reader, get("destination"), namespace),
        _annotations(reader, get("metadata"), denies="limitPerSource" in found or action in (None, Action.DENY)),
        reader.at(node),
        chosen[1:],
        boolean(reader, get("ipsec"), "ipsec"),
        decode_source_limit(reader, found, action, what),
    )
    if "action" not in found and isinstance(node, Mapping):
        reader.report(node, "action is missing", one_of(ACTIONS))
    _check_rule(reader, rule, node, found)
    if what == Direction.EGRESS and rule.ipsec is not None:
        reader.report(found["ipsec"], "ipsec in an egress rule, where nothing came through it yet", "ipsec in ingress")
    for side, entity in (("source", rule.source), ("destination", rule.destination)):
        if entity.macs and (side, what) != ("source", Direction.INGRESS):
            message = f"macs in the {side} of an {what} rule: only where a packet came from is known"
            reader.report(found[side], message, "macs in the source of an ingress rule")
        if (entity.local or entity.not_local) and side != _PEER_OF.get(what):
            message = f"{LOCAL} in the {side} of an {what} rule, which is this host's own side"
            reader.report(found[side], message, f"{LOCAL} in the {_PEER_OF.get(what, 'source')}")
        if entity.not_local and action is not Action.DENY:
            # Whose networks are not known yet would be let through.
            message = f"notNets of the {side} has {LOCAL} in a rule that is no Deny"
            hint = f"deny others than {LOCAL} in a rule before it"
            reader.report(found[side], message, f"nets: [{LOCAL}], or action: Deny", hint)
    return rule if action is not None else None


LAST_ICMP_TYPE = 254
LAST_ICMP_CODE = 255


def _icmp(reader: Reader, node: Node | None, what: str) -> Icmp | None:
    """An ICMP match; an empty one restricts nothing, as in Calico."""
    if node is None:
        return None
    found = fields(reader, node, ICMP_SHAPE)
    icmp_type = integer(reader, found.get("type"), f"{what}.type", 0, LAST_ICMP_TYPE)
    code = integer(reader, found.get("code"), f"{what}.code", 0, LAST_ICMP_CODE)
    if "code" in found and "type" not in found:
        reader.report(found["code"], f"{what} has a code without a type", "a type as well")
    elif not found and isinstance(node, Mapping) and not list(node.pairs()):
        reader.warn(node, f"{what} is empty, so it restricts nothing", f"give it a type, or remove {what}")
    return None if icmp_type is None else Icmp(icmp_type, code)


def _annotations(reader: Reader, node: Node | None, *, denies: bool) -> Labels:
    if node is None:
        return ()
    given = fields(reader, node, RULE_METADATA_SHAPE).get("annotations")
    return annotations(reader, given, "annotations", "a rule", denies=denies, of_rule=True)


def _entity(reader: Reader, node: Node | None, namespace: str) -> EntityRule:
    if node is None:
        return _EVERYTHING
    found = fields(reader, node, ENTITY_SHAPE)
    nets, local = _nets(reader, found, "nets", strict_net)
    not_nets, not_local = _nets(reader, found, "notNets", _not_net)
    return EntityRule(
        nets,
        not_nets,
        limited_selector(reader, found, namespace),
        selector_text(reader, given(found, "notSelector"), "notSelector", may_be_global=True),
        _each(reader, found, "ports", PORTS_LIMIT, _port),
        _each(reader, found, "notPorts", PORTS_LIMIT, _port),
        _each(reader, found, "macs", MACS_LIMIT, _mac),
        local,
        not_local,
    )


def _nets(
    reader: Reader, found: dict[str, Node], name: str, decode: Callable[[Reader, Node, str], Cidr | None]
) -> tuple[tuple[Cidr, ...], bool]:
    """The prefixes of a list, and whether it has the word `local` beside them."""
    if name not in found:
        return (), False
    before = len(reader.problems)
    listed = items(reader, found[name], name, NETS_LIMIT)
    words = [node for node in listed if isinstance(node, Scalar) and node.text.lower() == LOCAL]
    for wrong in (node for node in words if node.text != LOCAL):
        reader.report(wrong, f"{name} has {quoted(wrong.text)}", "a prefix, or local", f"did you mean {quoted(LOCAL)}?")
    for again in words[1:]:
        reader.report(again, f"{name} has {LOCAL} twice", "each once")
    prefixes = [node for node in listed if node not in words] if words else listed
    of_list = each_once if len(reader.problems) == before else each
    return of_list(reader, prefixes, name, decode), bool(words)


def _each(
    reader: Reader, found: dict[str, Node], name: str, limit: int, decode: Callable[[Reader, Node, str], T | None]
) -> tuple[T, ...]:
    # Most sides have one of these lists, and there may be a hundred thousand sides.
    if name not in found:
        return ()
    before = len(reader.problems)
    nodes = items(reader, found[name], name, limit)
    return (each_once if len(reader.problems) == before else each)(reader, nodes, name, decode)


def _mac(reader: Reader, node: Node, what: str) -> Mac | None:
    value = text(reader, node, f"an item of {what}")
    mac = None if value is None else parse_mac(value)
    if value is not None and mac is None:
        reader.report(node, f"{what} has {quoted(value)}", "an Ethernet address such as 02:00:00:00:00:01")
    elif mac is not None and mac.is_group:
        reader.warn(node, f"{what} has {mac}, a group address, which no sender has", "write that of a card")
    return mac


def _not_net(reader: Reader, node: Node, what: str) -> Cidr | None:
    cidr = strict_net(reader, node, what)
    if cidr is not None and cidr.length == 0:
        reader.report(node, f"{what} has {cidr}, so the rule would match nothing", "a narrower prefix")
    return cidr


def limited_selector(reader: Reader, found: Dictionary[str, Node], namespace: str = "") -> SelectorText | None:
    """The selector of a policy or of a side, limited to the namespaces of `namespaceSelector`, or to its own.

    A side that has a notSelector alone is limited to its namespace too, as Calico limits it.
    """
    selected = selector_text(reader, given(found, "selector"), "selector")
    node = given(found, "namespaceSelector")
    namespaces = selector_text(reader, node, "namespaceSelector", may_be_global=True)
    if node is None or namespaces is None or not namespaces.text.strip(" \t"):
        excludes = given(found, "notSelector")
        asks = not _is_blank(selected) or (isinstance(excludes, Scalar) and bool(excludes.text.strip(" \t")))
        return of_namespace(selected, namespace) if namespace and asks else selected
    tree = parse(namespaces.text)
    if "global(" in namespaces.text and not isinstance(tree, Global):
        expected = "global() alone, or a selector without it"
        reader.report(node, "namespaceSelector has global() beside other conditions", expected)
        return selected
    try:
        within = canonical(of_namespaces(tree))
        parse(within)
    except SelectorError as error:
        reader.report(node, f"namespaceSelector does not fit: {error.message}", error.expected)
        return selected
    if selected is None or _is_blank(selected):
        return SelectorText(within, namespaces.position, ("", namespaces.text))
    return SelectorText(f"({selected.text}) && {within}", selected.position, (selected.text, namespaces.text))


def of_namespace(selected: SelectorText | None, namespace: str) -> SelectorText:
    """A selector limited to one namespace; what is in none never has the label."""
    within = canonical(Comparison(NAMESPACE_LABEL, Operator.EQUALS, namespace))
    if selected is None or _is_blank(selected):
        written = "" if selected is None else selected.text
        return SelectorText(within, NOWHERE if selected is None else selected.position, (written, ""))
    return SelectorText(f"({selected.text}) && {within}", selected.position, (selected.text, ""))


def _is_blank(selected: SelectorText | None) -> bool:
    return selected is None or not selected.text.strip(" \t")


def _port(reader: Reader, node: Node, what: str) -> PortRange | str | None:
    if isinstance(node, Scalar) and is_port_scalar(node):
        port = parse_port(node.text)
        if port is not None:
            return port
        first, dash, last = node.text.partition("-")
        hint = f"write {first}:{last}" if dash and first.isdigit() and last.isdigit() else ""
        if ENDPOINT_PORT_NAME.fits(node.text.lower()):
            hint = f"did you mean {quoted(node.text.lower())}?"
        named = any(character.isalpha() for character in node.text)
        reader.report(node, f"{what} has {quoted(node.text)}", _PORT_NAME_EXPECTED if named else _PORT_EXPECTED, hint)
    else:
        reader.report(node, f"{what} has {described(node)}", _PORT_EXPECTED)
    return None


LAST_PORT = 65_535
_PORT_EXPECTED = f"a port from 1 to {LAST_PORT}, a range such as 8000:8080, or the name of a HostEndpoint's port"
_PORT_NAME_EXPECTED = f"a number, a range, or the name of a HostEndpoint's port: {ENDPOINT_PORT_NAME.expected}"


@lru_cache(maxsize=512)
def parse_port(value: str) -> PortRange | str | None:
    """A port, a range (`first:last`) or a port name; None if the text is none of them."""
    first_text, colon, last_text = value.partition(":")
    first = _port_number(first_text)
    if first is not None:
        last = _port_number(last_text) if colon else first
        return PortRange(first, last) if last is not None and first <= last else None
    return value if ENDPOINT_PORT_NAME.fits(value) else None


def _port_number(value: str) -> int | None:
    if value.isascii() and value.isdigit() and len(value) <= len("65535") and value[0] != "0":
        number = int(value)
        return number if number <= LAST_PORT else None
    return None


def _check_rule(reader: Reader, rule: Rule, node: Node, found: dict[str, Node]) -> None:
    """Check the conditions between the fields of a rule."""
    _check_ports(reader, rule, node, found)
    if "icmp" in found and rule.other_protocols:
        reader.report(found["icmp"], "icmp with several protocols", "protocol: ICMP or ICMPv6", "write a rule for each")
    elif "icmp" in found and (rule.protocol is None or rule.protocol.number not in (ICMP.number, ICMPV6.number)):
        reader.report(found["icmp"], "icmp without an ICMP protocol", "protocol: ICMP or ICMPv6")
    if rule.ip_version is not None:
        for one in rule.protocols:
            _check_version(reader, found.get("protocol"), one, rule.ip_version)
        _check_version(reader, found.get("notProtocol"), rule.not_protocol, rule.ip_version)
    if rule.source is not _EVERYTHING or rule.destination is not _EVERYTHING:
        _check_families(reader, rule, node, found)


_FAMILY_OF = {ICMP.number: Family.V4, ICMPV6.number: Family.V6}
"""The IP version of a protocol, by name or by number."""


def _check_version(reader: Reader, node: Node | None, value: Protocol | None, version: Family) -> None:
    if (
        node is not None
        and value is not None
        and (value.family or _FAMILY_OF.get(value.number, version)) is not version
    ):
        named = value.name or f"protocol {value.number}"
        reader.report(
            node,
            f"{named} does not exist in ipVersion {version.value}",
            "ICMP and IGMP for 4, ICMPv6 for 6",
        )


def _check_families(reader: Reader, rule: Rule, node: Node, found: dict[str, Node]) -> None:
    """Check that no prefix is of an IP version that something else keeps the rule out of.

    A list may have prefixes of both, and each is for packets of its own. But a list of one IP version keeps the rule
    out of the other, so beside it, or `ipVersion`, the half of a list of both would mean nothing.
    """
    lists = [
        (side, nets, has_local)
        for side, entity in (("source", rule.source), ("destination", rule.destination))
        for nets, has_local in ((entity.nets, entity.local), (entity.not_nets, entity.not_local))
        if nets
    ]
    # An interface has networks of both.
    of_one = (nets[0].family for _, nets, both in lists if not both and len({cidr.family for cidr in nets}) == 1)
    only = next(of_one, None) if rule.ip_version is None else rule.ip_version
    for side, cidr in ((side, cidr) for side, nets, _ in lists for cidr in nets):
        if only is not None and cidr.family is not only:
            message = f"{side} has {cidr} in a rule that its ipVersion or another prefix limits to IPv{only.value}"
            expected = "prefixes of one IP version"
            reader.report(found.get(side, node), message, expected, "write a rule for each IP version")
            return


def _check_ports(reader: Reader, rule: Rule, node: Node, found: dict[str, Node]) -> None:
    for side, entity in (("source", rule.source), ("destination", rule.destination)):
        named = (*entity.ports, *entity.not_ports)
        if not named:
            continue
        if rule.protocol is None:
            numbers = [port for port in named if not isinstance(port, str)]
            if numbers and "protocol" not in found:
                message = f"{side} has port {numbers[0]} in a rule without a protocol"
                reader.report(found.get(side, node), message, "protocol: TCP, UDP or SCTP")
        for without in (one for one in rule.protocols if not one.has_ports):
            message = f"{side} has ports, which protocol {without} does not"
            reader.report(found.get(side, node), message, "protocol: TCP, UDP or SCTP")
