"""Reader of the files of firewalld, without a firewalld that runs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import PurePath

from hostfw.importer.firewalld.chains import Chains, go_to
from hostfw.importer.firewalld.expressions import ACCEPT, DROP, IPSET, REJECT, address, interface, match, meta
from hostfw.importer.firewalld.ipsets import IpSet
from hostfw.importer.firewalld.xml import Element, root_of
from hostfw.importer.nft.reader import readings_of
from hostfw.importer.nft.text import Json
from hostfw.importer.reading import Reading
from hostfw.importer.rule_set import Hook
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.sources import Source

CONF = "etc/firewalld/firewalld.conf"
DIRECT = "etc/firewalld/direct.xml"
_ROOTS = {"zones": "zone", "policies": "policy", "services": "service", "ipsets": "ipset"}
_PLACES = ("usr/lib/firewalld", "etc/firewalld")
"""Where files are, the later in place of the earlier of the same name."""
_CONNECTIONS = "etc/NetworkManager/system-connections"
_SCRIPTS = "etc/sysconfig/network-scripts"
FILES = (
    CONF,
    DIRECT,
    *(f"{place}/{folder}/*.xml" for place in _PLACES for folder in _ROOTS),
    f"{_CONNECTIONS}/*.nmconnection",
    f"{_SCRIPTS}/ifcfg-*",
)
"""The files that are read, as patterns below the root of a host."""
_OURS = Position("firewalld", 0, 0)
_SETTING = re.compile(r"\s*(?P<name>[A-Za-z0-9_]+)\s*=\s*(?P<value>\S*)")
_ZONE = re.compile(r"""^(?:zone|ZONE) *= *["']?(?P<zone>[^\s"']+)""", re.MULTILINE)
_INTERFACE = re.compile(r"""^(?:interface-name|DEVICE) *= *["']?(?P<name>[^\s"']+)""", re.MULTILINE)
_IN_ZONES = frozenset({"interface", "source", "forward", "icmp-block-inversion"})
_SIDES = ("ingress-zone", "egress-zone")
_IN_POLICIES = frozenset({"ingress-zone", "egress-zone", "icmp-block-inversion"})
_TARGETS: Mapping[str, tuple[Json, ...]] = {
    "": (REJECT,),
    "default": (REJECT,),
    "%%REJECT%%": (REJECT,),
    "REJECT": (REJECT,),
    "DROP": (DROP,),
    "ACCEPT": (ACCEPT,),
    "CONTINUE": (),
}
_6TO4 = (
    ("::", 96), ("::ffff:0.0.0.0", 96), ("2002::", 24), ("2002:a00::", 24), ("2002:7f00::", 24), ("2002:ac10::", 28),
    ("2002:c0a8::", 32), ("2002:a9fe::", 32), ("2002:e000::", 19),
)  # fmt: skip
"""Addresses of IPv6 that hold one of IPv4 which is not routed (RFC 3964), to which firewalld sends nothing."""
_ICMP: Json = match(meta("l4proto"), {"set": ["icmp", "ipv6-icmp"]})
_SHORT = {Hook.INPUT: "IN", Hook.OUTPUT: "OUT", Hook.FORWARD: "FWD"}


@dataclass(slots=True)
class _Files:
    """The files as elements by kind and name, and the settings."""

    elements: dict[str, dict[str, Element]] = field(default_factory=lambda: {folder: {} for folder in _ROOTS})
    settings: dict[str, tuple[Position, str]] = field(default_factory=dict)
    bound: dict[str, list[tuple[Position, str]]] = field(default_factory=dict)
    unnamed: list[tuple[Position, str]] = field(default_factory=list)
    direct: Element | None = None
    problems: list[Problem] = field(default_factory=list)


def read_firewalld(files: Mapping[str, Source]) -> tuple[Reading, ...]:
    """The rules of both families, from files by their names below the root of a host. Problems refuse the whole."""
    read = _read(files)
    default = read.settings.get("DefaultZone", (_OURS, "public"))[1]
    zones = read.elements["zones"]
    if default not in zones and not read.problems:
        position = read.settings.get("DefaultZone", (Position(CONF, 1, 1), ""))[0]
        read.problems.append(Problem(position, f"there is no zone {default}", "a zone that a file describes"))
    chains = Chains(read.elements["services"], {name: IpSet(one) for name, one in read.elements["ipsets"].items()})
    chains.listing.problems += read.problems
    for position, zone in read.unnamed:
        if zone != default:
            chains.note(
                position,
                f"this connection is of zone {zone}, and of an interface that it does not name: it gets what zone "
                f"{default} has; name it (interface-name), or write a HostEndpoint for it",
            )
    if not chains.listing.problems:
        _rules(chains, read, default)
    return readings_of(chains.finish(), _OURS)


def _read(files: Mapping[str, Source]) -> _Files:
    found = _Files()
    for name, source in files.items():
        path = PurePath(name)
        if name == CONF:
            for number, line in enumerate(source.text.split("\n"), 1):
                setting = _SETTING.match(line)
                if setting is not None:
                    found.settings[setting["name"]] = (Position(source.path, number, 1), setting["value"])
        elif name.startswith((_CONNECTIONS, _SCRIPTS)):
            zone, named = _ZONE.search(source.text), _INTERFACE.search(source.text)
            if zone is not None:
                at = Position(source.path, source.text.count("\n", 0, zone.start()) + 1, 1)
                if named is None:
                    found.unnamed.append((at, zone["zone"]))
                else:
                    found.bound.setdefault(zone["zone"], []).append((at, named["name"]))
        elif name == DIRECT:
            root = root_of(source, "direct")
            if isinstance(root, Problem):
                found.problems.append(root)
            else:
                found.direct = root
    for place in _PLACES:
        for name, source in files.items():
            path = PurePath(name)
            folder = path.parent.name
            if str(path.parent.parent) != place or folder not in _ROOTS:
                continue
            root = root_of(source, _ROOTS[folder])
            if isinstance(root, Problem):
                found.problems.append(root)
            else:
                found.elements[folder][path.stem] = root
    return found


def _rules(chains: Chains, read: _Files, default: str) -> None:
    """Make the chains that firewalld makes, from its hooks on."""
    for hook in Hook:
        chains.base(f"filter_{hook}", hook)
    for hook, key in ((Hook.INPUT, "iifname"), (Hook.FORWARD, "iifname"), (Hook.OUTPUT, "oifname")):
        base = f"filter_{hook}"
        followed = match({"ct": {"key": "state"}}, {"set": ["established", "related"]})
        chains.add(base, _OURS, "established and related", followed, ACCEPT)
        chains.add(base, _OURS, "lo", match(meta(key), "lo"), ACCEPT)
        if hook is not Hook.OUTPUT:
            chains.add(base, _OURS, "invalid", match({"ct": {"key": "state"}}, "invalid"), DROP)
        position, wanted = read.settings.get("RFC3964_IPv4", (_OURS, "yes"))
        if hook is not Hook.INPUT and wanted.lower() in ("yes", "true"):
            addresses: list[Json] = [{"prefix": {"addr": one, "len": length}} for one, length in _6TO4]
            left: Json = {"payload": {"protocol": "ip6", "field": "daddr"}}
            chains.add(base, position, "RFC3964_IPv4=yes", match(left, {"set": addresses}), REJECT)
    for hook in (Hook.INPUT, Hook.FORWARD):
        chains.add(f"filter_{hook}", _OURS, "zones", go_to("jump", f"filter_{hook}_ZONES"))
        chains.add(f"filter_{hook}", _OURS, "reject", REJECT)
    for suffix in ("pre", "post"):
        chains.add("filter_OUTPUT", _OURS, "policies", go_to("jump", f"filter_OUTPUT_POLICIES_{suffix}"))
    active = _active_zones(chains, read, default)
    _dispatch_zones(chains, active, default)
    for name, zone in read.elements["zones"].items():
        if name in active:
            _zone(chains, name, zone, active[name])
        elif zone.position.path.find("/etc/") >= 0 or zone.position.path.startswith("etc/"):
            chains.note(zone.position, f"zone {name} has no interface and no source, and is not in force: left out")
    for name, policy in sorted(read.elements["policies"].items()):
        _policy(chains, name, policy, active)
        if default in {one.get("name") for side in _SIDES for one in policy.all(side)}:
            chains.note(
                policy.position,
                f"policy {name} is of the default zone {default}: it is said of the interfaces and sources that the "
                "zone names, and not of those that come into it by default",
            )
    for child in read.direct.children if read.direct is not None else ():
        text = f"{child.as_text} of table {child.get('table')}" if child.get("table") else child.as_text
        chains.note(child.position, f"a direct rule goes around zones, into tables of its own: left out ({text})")


class _Zone:
    """The interfaces and sources by which packets come into a zone."""

    def __init__(self, zone: Element, bound: list[tuple[Position, str]]) -> None:
        """Read them from the zone, and from connections of NetworkManager."""
        self.interfaces = [(one.position, one.get("name")) for one in zone.all("interface")] + bound
        self.sources = [
            (one.position, one.get("address") or one.get("mac") or f"{IPSET}{one.get('ipset')}")
            for one in zone.all("source")
        ]


def _active_zones(chains: Chains, read: _Files, default: str) -> dict[str, _Zone]:
    """The zones that packets come into; the default zone is always among them."""
    found: dict[str, _Zone] = {}
    for name, zone in sorted(read.elements["zones"].items()):
        where = _Zone(zone, read.bound.get(name, []))
        if where.interfaces or where.sources or name == default:
            found[name] = where
    for name, places in read.bound.items():
        if name not in read.elements["zones"]:
            chains.note(places[0][0], f"there is no zone {name}, of which NetworkManager speaks: left out")
    return found


def _dispatch_zones(chains: Chains, active: Mapping[str, _Zone], default: str) -> None:
    """Sources come before interfaces, whole names before beginnings, and the default zone last."""
    sources = sorted((name, source, position) for name, zone in active.items() for position, source in zone.sources)
    interfaces = sorted(
        (name.endswith("+"), zone, name, position) for zone, of in active.items() for position, name in of.interfaces
    )
    for hook in (Hook.INPUT, Hook.FORWARD):
        chain = f"filter_{hook}_ZONES"
        for zone, source, position in sources:
            go = go_to("goto", f"filter_{_SHORT[hook]}_{zone}")
            chains.add(chain, position, f"source {source} of zone {zone}", address("saddr", source), go)
        for _, zone, name, position in interfaces:
            go = go_to("goto", f"filter_{_SHORT[hook]}_{zone}")
            chains.add(chain, position, f"interface {name} of zone {zone}", interface("iifname", name), go)
        go = go_to("goto", f"filter_{_SHORT[hook]}_{default}")
        chains.add(chain, _OURS, f"the default zone {default}", go)


def _zone(chains: Chains, name: str, zone: Element, where: _Zone) -> None:
    target = zone.get("target")
    if target not in _TARGETS or set(zone.attributes) - {"target", "version"}:
        chains.note(zone.position, f"an attribute of zone {name} is not known here, and left out ({zone.attributes})")
    inverted = any(zone.all("icmp-block-inversion"))
    for hook in (Hook.INPUT, Hook.FORWARD):
        chain = f"filter_{_SHORT[hook]}_{name}"
        before, after = (go_to("jump", f"filter_{hook}_POLICIES_{suffix}") for suffix in ("pre", "post"))
        chains.add(chain, _OURS, "policies", before)
        chains.body(chain)
        chains.add(chain, _OURS, "policies", after)
        if hook is Hook.INPUT and target in ("", "default"):
            answer = REJECT if inverted else ACCEPT
            chains.add(chain, zone.position, f"zone {name}: ICMP", _ICMP, answer)
        elif hook is Hook.INPUT and target == "ACCEPT" and inverted:
            chains.add(chain, zone.position, f"zone {name}: ICMP", _ICMP, REJECT)
        says = "reject" if target in ("", "default") else target
        chains.add(chain, zone.position, f"zone {name}: target {says}", *_TARGETS.get(target, (REJECT,)))
    chains.content(zone, f"zone {name}", f"filter_IN_{name}", _IN_ZONES)
    chain = f"filter_FWD_{name}"
    for element in zone.all("forward"):
        text = f"zone {name}: {element.as_text}"
        for _, one in where.interfaces:
            chains.add(f"{chain}_allow", element.position, text, interface("oifname", one), ACCEPT)
        for _, source in where.sources:
            chains.add(f"{chain}_allow", element.position, text, address("daddr", source), ACCEPT)


def _policy(chains: Chains, name: str, policy: Element, active: Mapping[str, _Zone]) -> None:
    """A policy between zones, if there are packets that come into it."""
    into = [one.get("name") for one in policy.all("ingress-zone")]
    out = [one.get("name") for one in policy.all("egress-zone")]
    hook = Hook.INPUT if "HOST" in out else Hook.OUTPUT if "HOST" in into else Hook.FORWARD
    target, priority = policy.get("target") or "CONTINUE", policy.get("priority") or "-1"
    if target not in _TARGETS or not priority.lstrip("-").isdecimal() or set(policy.attributes) - _ATTRIBUTES:
        chains.note(policy.position, f"an attribute of policy {name} is not known here: left out ({policy.attributes})")
        return
    ingress, egress = (
        list(_fragments(into, "iifname", "saddr", active)),
        list(_fragments(out, "oifname", "daddr", active)),
    )
    if not ingress or not egress:
        if "etc/" in policy.position.path:
            chains.note(policy.position, f"policy {name} is of zones that are not in force: left out")
        return
    chain = f"filter_{_SHORT[hook]}_policy_{name}"
    suffix = "pre" if int(priority) < 0 else "post"
    for first, second in product(ingress, egress):
        go = go_to("jump", chain)
        where = f"filter_{hook}_POLICIES_{suffix}"
        chains.add_by_priority(where, int(priority), policy.position, f"policy {name}", *first, *second, go)
    chains.body(chain)
    if _TARGETS[target]:
        chains.add(chain, policy.position, f"policy {name}: target {target}", *_TARGETS[target])
    chains.content(policy, f"policy {name}", chain, _IN_POLICIES)


_ATTRIBUTES = frozenset({"target", "priority", "version"})


def _fragments(names: list[str], key: str, side: str, active: Mapping[str, _Zone]) -> Iterator[list[Json]]:
    """The ways into a policy by the zones of one side; nothing to ask for of `ANY` and `HOST`."""
    if "ANY" in names or "HOST" in names:
        yield []
        return
    for name in names:
        if name in active:
            yield from ([interface(key, one)] for _, one in active[name].interfaces)
            yield from ([address(side, source)] for _, source in active[name].sources)
