"""The fields of resources as JSON Schema: for each Shape of their decoders a table, with what each field is for."""

from hostfw.manifest.kinds.endpoint import (
    ENDPOINT_PORT_SHAPE,
    ENDPOINT_SHAPE,
    GROUP_SHAPE,
    LAST_LINK_GROUP,
    LEARNED,
    MATCH_SHAPE,
    NETWORK_SET_SHAPE,
)
from hostfw.manifest.kinds.feed import (
    FEED_SHAPE,
    HOSTNAME,
    LARGEST_SIZE,
    LONGEST_HOSTNAME,
    MAX_SIZE,
    MOST_HOSTNAMES,
    PERCENT,
    SHA256,
    TIMEOUT,
    URL,
)
from hostfw.manifest.kinds.metadata import METADATA_SHAPE, NAMESPACED_METADATA_SHAPE
from hostfw.manifest.kinds.namespace import NAMESPACE_SHAPE
from hostfw.manifest.kinds.nft_rules import HOOKS, LONGEST_RULE, MOST_RULES, NFT_RULES_SHAPE
from hostfw.manifest.kinds.policy import (
    DEFAULT_ACTIONS,
    HINTS,
    NAMESPACED_POLICY_SHAPE,
    POLICY_SHAPE,
    PROFILE_SHAPE,
    STAGED_ACTIONS,
    STAGED_NAMESPACED_POLICY_SHAPE,
    STAGED_POLICY_SHAPE,
    TIER_SHAPE,
    TYPES,
)
from hostfw.manifest.kinds.rule import (
    ACTIONS,
    ENTITY_SHAPE,
    ICMP_SHAPE,
    LAST_ICMP_CODE,
    LAST_ICMP_TYPE,
    LAST_PORT,
    MACS_LIMIT,
    NETS_LIMIT,
    PORTS_LIMIT,
    RULE_METADATA_SHAPE,
    RULE_SHAPE,
    RULES_LIMIT,
)
from hostfw.manifest.kinds.source_limit import RATE_PATTERN, SOURCE_LIMIT_SHAPE
from hostfw.manifest.kinds.workload import WORKLOAD_PORT_SHAPE, WORKLOAD_SHAPE
from hostfw.manifest.scalars.name_forms import (
    ENDPOINT_PORT_NAME,
    INTERFACE_NAME,
    LABEL_VALUE,
    NAMESPACE_NAME,
    NODE_NAME,
    ONE_INTERFACE_NAME,
    SUBDOMAIN,
    TIER_NAME,
)
from hostfw.manifest.scalars.scalars import VERSIONS
from hostfw.manifest.schema.values import (
    ADDRESS,
    ANNOTATIONS,
    BOOLEAN,
    LABELS,
    MAC,
    NET_OR_ADDRESS,
    NET_OR_LOCAL,
    NUMBER,
    PORT,
    PORT_NAME,
    PROTOCOL,
    PROTOCOL_LIST,
    SELECTOR,
    SELECTOR_WITH_GLOBAL,
    SET_NET,
    STRING,
    Fields,
    Json,
    any_of,
    formed,
    if_given,
    listed,
    name,
    ref,
    schema_of,
    whole,
    words,
)
from hostfw.model.kinds.source_limit import MOST_CONNECTIONS


def definitions() -> dict[str, Json]:
    """Every mapping below a resource, by the name that references give it."""
    return {
        "annotations": ANNOTATIONS,
        "labels": LABELS,
        "rules": listed(ref("rule"), RULES_LIMIT),
        "rule": schema_of(RULE_SHAPE, _RULE, ["action"], allOf=[_ICMP_NEEDS_A_PROTOCOL, _PORTS_NEED_A_PROTOCOL]),
        "ruleMetadata": schema_of(RULE_METADATA_SHAPE, {"annotations": (ref("annotations"), "Free texts by key.")}),
        "icmp": schema_of(ICMP_SHAPE, _ICMP, allOf=[if_given("code", "integer", {"required": ["type"]})]),
        "entity": schema_of(ENTITY_SHAPE, _ENTITY),
        "sourceLimit": {**schema_of(SOURCE_LIMIT_SHAPE, _SOURCE_LIMIT), "minProperties": 1},
        "policySpec": schema_of(POLICY_SHAPE, _POLICY, allOf=_CLASS_RULES),
        "stagedPolicySpec": schema_of(STAGED_POLICY_SHAPE, _STAGED_POLICY, allOf=_CLASS_RULES),
        "networkPolicySpec": schema_of(NAMESPACED_POLICY_SHAPE, _network_policy(_POLICY)),
        "stagedNetworkPolicySpec": schema_of(STAGED_NAMESPACED_POLICY_SHAPE, _network_policy(_STAGED_POLICY)),
        "tierSpec": schema_of(TIER_SHAPE, _TIER),
        "profileSpec": schema_of(PROFILE_SHAPE, _PROFILE),
        "endpointSpec": schema_of(ENDPOINT_SHAPE, _ENDPOINT, anyOf=_NAMES_AN_INTERFACE),
        "endpointPort": schema_of(ENDPOINT_PORT_SHAPE, _ENDPOINT_PORT, ["name", "protocol", "port"]),
        "workloadSpec": schema_of(WORKLOAD_SHAPE, _WORKLOAD, ["interfaceName"], anyOf=_HAS_AN_ADDRESS),
        "workloadPort": schema_of(WORKLOAD_PORT_SHAPE, _ENDPOINT_PORT, ["name", "protocol", "port"]),
        "networkSetSpec": schema_of(NETWORK_SET_SHAPE, _NETWORK_SET),
        "namespaceSpec": schema_of(NAMESPACE_SHAPE, {}),
        "feedSpec": schema_of(FEED_SHAPE, _FEED, oneOf=_FILE_OR_EXTERNAL),
        "groupSpec": schema_of(GROUP_SHAPE, _GROUP, ["match"]),
        "nftRulesSpec": schema_of(NFT_RULES_SHAPE, _NFT_RULES, ["hook", "rules"]),
        "interfaceMatch": schema_of(MATCH_SHAPE, _MATCH, minProperties=1),
    }


def metadata(form: Json, *, namespaced: bool = False) -> Json:
    """The metadata of a resource whose name has a form, with or without a namespace."""
    if not namespaced:
        return schema_of(METADATA_SHAPE, {**_METADATA, "name": (form, "The name, once within the kind.")}, ["name"])
    fields: Fields = {
        **_METADATA,
        "name": (form, "The name, once within the kind and namespace."),
        "namespace": (name(NAMESPACE_NAME, or_empty=True), "The namespace that it belongs to (default: default)."),
    }
    return schema_of(NAMESPACED_METADATA_SHAPE, fields, ["name"])


# ------------------------------------------------------------------------------------------------------------ rules


_IP_VERSION = {"type": "integer", "enum": sorted(map(int, VERSIONS))}
_RULE: Fields = {
    "action": (words(ACTIONS), "Allow and Deny decide; Log logs and goes on; Pass goes on with the next tier."),
    "ipVersion": (_IP_VERSION, "Only this version of IP."),
    "protocol": (any_of(PROTOCOL, PROTOCOL_LIST), "Only this protocol, by name or number, or any of a list."),
    "notProtocol": (PROTOCOL, "Any protocol but this."),
    "icmp": (ref("icmp"), "Only this ICMP type, and code; needs protocol ICMP or ICMPv6."),
    "notICMP": (ref("icmp"), "Anything but this ICMP type, and code."),
    "ipsec": (BOOLEAN, "Only what came through IPsec (true), or did not (false); ingress."),
    "limitPerSource": (ref("sourceLimit"), "What an Allow lets in of each source; it denies the rest. Ingress."),
    "source": (ref("entity"), "Where a packet comes from. All that is given must hold."),
    "destination": (ref("entity"), "Where a packet goes to. All that is given must hold."),
    "metadata": (ref("ruleMetadata"), "Annotations of the rule."),
}

_SOURCE_LIMIT: Fields = {
    "newConnections": (
        {"type": "string", "pattern": RATE_PATTERN},
        "So many new connections at once, and then one more each time that its share has passed: 6/minute.",
    ),
    "maxConnections": (whole(1, MOST_CONNECTIONS), "So many connections at a time: 20."),
}

_ICMP: Fields = {
    "type": (whole(0, LAST_ICMP_TYPE), "The type, such as 8 for an echo request (128 in ICMPv6)."),
    "code": (whole(0, LAST_ICMP_CODE), "The code; needs a type."),
}

_NETS = (
    "Any of these prefixes; of both IP versions only where every list is. `local` is the networks of the interface "
    "that a packet comes in on (source of ingress) or goes out on (destination of egress)."
)
_ENTITY: Fields = {
    "nets": (
        listed(NET_OR_LOCAL, NETS_LIMIT),
        _NETS,
    ),
    "notNets": (listed(NET_OR_LOCAL, NETS_LIMIT), "None of these prefixes; with `local` in a Deny alone."),
    "selector": (SELECTOR, "The addresses of the HostEndpoints, workloads, network sets and Feeds that are selected."),
    "notSelector": (SELECTOR_WITH_GLOBAL, "No address of what is selected."),
    "namespaceSelector": (SELECTOR_WITH_GLOBAL, "Only what is in these namespaces, or in none: global()."),
    "ports": (listed(PORT, PORTS_LIMIT), "Any of these: numbers, ranges such as 8000:8080, or names of ports."),
    "notPorts": (listed(PORT, PORTS_LIMIT), "None of these ports."),
    "macs": (listed(MAC, MACS_LIMIT), "Any of these Ethernet addresses of neighbours; in the source of ingress rules."),
}

_ICMP_NEEDS_A_PROTOCOL = if_given(
    "icmp",
    "object",
    {"required": ["protocol"], "properties": {"protocol": {"enum": ["ICMP", "ICMPv6", 1, 58, "1", "58"]}}},
)
_NAMES_ONLY = {"properties": {field: {"items": PORT_NAME} for field in ("ports", "notPorts")}}
_PORTS_NEED_A_PROTOCOL: Json = {
    "if": {"not": {"required": ["protocol"]}},
    "then": {"properties": {"source": _NAMES_ONLY, "destination": _NAMES_ONLY}},
}

# --------------------------------------------------------------------------------------------------------- policies


_POLICY: Fields = {
    "tier": (name(TIER_NAME, or_empty=True), "The tier that the policy is evaluated in (default: default)."),
    "order": (NUMBER, "Lower ones come first in the tier; those without one come last."),
    "selector": (SELECTOR, "The HostEndpoints and workloads that the policy applies to, by labels (default: all)."),
    "namespaceSelector": (SELECTOR_WITH_GLOBAL, "Only workloads in these namespaces, or only HostEndpoints: global()."),
    "types": (
        {**listed(words(TYPES)), "uniqueItems": True},
        "The directions that it restricts (default: those that it has rules for, else Ingress).",
    ),
    "ingress": (ref("rules"), "What comes in, rule by rule; the first that matches decides."),
    "egress": (ref("rules"), "What goes out, rule by rule; the first that matches decides."),
    "applyOnForward": (BOOLEAN, "Also for what the host forwards."),
    "doNotTrack": (BOOLEAN, "Before connection tracking, which allowed packets skip; needs applyOnForward."),
    "preDNAT": (BOOLEAN, "Before destination NAT; needs applyOnForward, and has ingress rules only."),
    "performanceHints": ({**listed(words(HINTS)), "uniqueItems": True}, "Hints for Calico, without effect here."),
}
_STAGED_POLICY: Fields = {
    **_POLICY,
    "stagedAction": (
        words((*STAGED_ACTIONS, "")),
        "What is proposed (default: Set). Delete and Ignore have no effect.",
    ),
}


def _network_policy(fields: Fields) -> Fields:
    """The fields of a policy that belongs to a namespace."""
    known = NAMESPACED_POLICY_SHAPE.known | {"stagedAction"}
    selector: Fields = {"selector": (SELECTOR, "The workloads of its namespace that it applies to (default: all).")}
    return {name: field for name, field in ({**fields, **selector}).items() if name in known}


_CLASS_RULES = [
    {
        "if": {"required": [field], "properties": {field: {"const": True}}},
        "then": {"required": ["applyOnForward"], "properties": {"applyOnForward": {"const": True}}},
    }
    for field in ("doNotTrack", "preDNAT")
]

_TIER: Fields = {
    "order": (NUMBER, "Lower ones come first; default has 1000000."),
    "defaultAction": (words(DEFAULT_ACTIONS), "What becomes of what no policy of the tier decides (default: Deny)."),
}

_PROFILE: Fields = {
    "labelsToApply": (ref("labels"), "Labels for the HostEndpoints that list the profile; their own win."),
    "ingress": (ref("rules"), "What comes in, after all tiers."),
    "egress": (ref("rules"), "What goes out, after all tiers."),
}

# ------------------------------------------------------------------------------------------- endpoints and addresses


_LEARNED = {**listed(words(LEARNED)), "uniqueItems": True}
_ENDPOINT: Fields = {
    "node": (
        name(NODE_NAME),
        "The host that has it; others know its addresses and labels. Left out or *, it is of every host that reads it.",
    ),
    "interfaceName": (name(INTERFACE_NAME, or_empty=True), "The interface, or * for every one without its own."),
    "interfaceGroup": (name(SUBDOMAIN, or_empty=True), "Every interface of this InterfaceGroup."),
    "expectedIPs": (
        listed(ADDRESS),
        "Its addresses, for the rules whose selectors select it. Without interfaceName, the interfaces that have one.",
    ),
    "profiles": (listed(name(SUBDOMAIN)), "Profiles, in the order in which they are evaluated after all tiers."),
    "ports": (listed(ref("endpointPort")), "Names for ports, which rules use in place of numbers."),
    "learned": (
        _LEARNED,
        "Extension: addresses that came this way count as well, for expectedIPs alone and for learnAddresses.",
    ),
}
_NAMES_AN_INTERFACE = [{"required": [field]} for field in ("interfaceName", "interfaceGroup", "expectedIPs")]

_HAS_AN_ADDRESS = [
    {"required": ["ipNetworks"], "properties": {"ipNetworks": {"type": "array", "minItems": 1}}},
    {"required": ["mac"], "properties": {"mac": {"type": "string"}}},
]

_ENDPOINT_PORT: Fields = {
    "name": (name(ENDPOINT_PORT_NAME), "The name that rules use."),
    "protocol": (PROTOCOL, "TCP, UDP or SCTP."),
    "port": (whole(1, LAST_PORT), "The number."),
}

_WORKLOAD: Fields = {
    "node": (name(NODE_NAME, or_empty=True), "The host that it runs on. Left out or *, the host that reads it."),
    "orchestrator": (name(LABEL_VALUE, or_empty=True), "The program that runs it; a label as well."),
    "interfaceName": (
        name(ONE_INTERFACE_NAME),
        "The interface of the host that it is behind, of those in workloads.",
    ),
    "mac": (MAC, "Its Ethernet address: it may send from this one alone."),
    "ipNetworks": (
        listed(NET_OR_ADDRESS),
        (
            "Its addresses, or prefixes of them: it may send from these alone, and rules find it by them. With mac, "
            "behind a bridge, it may have none yet."
        ),
    ),
    "profiles": (listed(name(SUBDOMAIN)), "Profiles, in the order in which they are evaluated after all tiers."),
    "ports": (listed(ref("workloadPort")), "Names for its ports, which rules use in place of numbers."),
}

_NETWORK_SET: Fields = {"nets": (listed(SET_NET), "Prefixes, addresses, and ranges of both ends, which may overlap.")}

_FEED: Fields = {
    "path": ({**STRING, "minLength": 1}, "The file, one address a line: absolute, or from the folder of this one."),
    "url": (formed(URL), "Or where `hostfwctl feed update` downloads the list: https, http or file."),
    "hostnames": (
        {**listed({**formed(HOSTNAME), "maxLength": LONGEST_HOSTNAME}, MOST_HOSTNAMES), "minItems": 1},
        "Or names of hosts, whose addresses `hostfwctl feed update` asks the resolver for.",
    ),
    "sha256": (
        any_of(formed(SHA256), formed(URL)),
        "The digest that the download must have, or the URL of a file that begins with it.",
    ),
    "maxSize": (formed(MAX_SIZE), "Most bytes of a download, such as 16Mi (32Mi)."),
    "maxShrink": (formed(PERCENT), "How much of it may vanish at once, such as 50% (the default)."),
    "external": ({"type": "boolean"}, "True: no file; other programs fill the set in the kernel."),
    "of": (name(SUBDOMAIN), "The GlobalNetworkSet or Feed that the members belong to: its labels count."),
    "size": (whole(1, LARGEST_SIZE), "Most addresses of a family in an external set, and most prefixes (65536)."),
    "timeout": (
        formed(TIMEOUT),
        "How long a member of an external set stays without a time of its own (for ever).",
    ),
}
_NOT_OF_FILES: Json = {"external": {"const": False}, "of": False, "size": False, "timeout": False}
_NOT_OF_URLS: Json = {"sha256": False, "maxSize": False}
_FILE_OR_EXTERNAL = [
    {
        "required": ["path"],
        "properties": {**_NOT_OF_FILES, **_NOT_OF_URLS, "url": False, "hostnames": False},
    },
    {"required": ["url"], "properties": {**_NOT_OF_FILES, "path": False, "hostnames": False}},
    {
        "required": ["hostnames"],
        "properties": {**_NOT_OF_FILES, **_NOT_OF_URLS, "path": False, "url": False, "maxShrink": False},
    },
    {
        "required": ["external"],
        "properties": {
            "external": {"const": True},
            **_NOT_OF_URLS,
            **dict.fromkeys(("path", "url", "hostnames", "maxShrink"), False),
        },
    },
]

_WORD = formed(r"[^/ \t\n]+")
_GROUP: Fields = {
    "match": ({**listed(ref("interfaceMatch")), "minItems": 1}, "An interface is in the group if any entry holds ..."),
    "except": (listed(ref("interfaceMatch")), "... and none of these."),
}
_MATCH: Fields = {
    "name": (_WORD, "The name or an alternative name; * stands for any characters."),
    "kind": (_WORD, "The kind of link, such as vlan, bridge or wireguard."),
    "linkGroup": (any_of(whole(0, LAST_LINK_GROUP), {**STRING, "minLength": 1}), "A number, or a name of iproute2."),
    "master": (_WORD, "The bridge, bond or VRF that it belongs to."),
    "addressIn": (listed(NET_OR_ADDRESS), "It has an address in any of these prefixes."),
    "defaultRoute": (BOOLEAN, "Whether a default route goes out on it."),
    "learned": (_LEARNED, "Addresses and default routes that came this way count as well (default: none of them)."),
}

_NFT_RULE = {**STRING, "minLength": 1, "maxLength": LONGEST_RULE}
_NFT_RULES: Fields = {
    "hook": (words(HOOKS), "Where packets meet the rules, before any policy."),
    "order": (NUMBER, "Lower comes first; without one the rules come last, by name."),
    "ipVersion": (_IP_VERSION, "Only this version of IP (default: both)."),
    "rules": ({**listed(_NFT_RULE, MOST_RULES), "minItems": 1}, "Rules as nft writes them, each on one line."),
}

_METADATA: Fields = {
    "labels": (ref("labels"), "What selectors select by."),
    "annotations": (ref("annotations"), "Free texts by key."),
}
