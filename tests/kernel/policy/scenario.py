"""Scenarios: a sentence about policy, the resources that it speaks of, and packets with the verdict each is to get.

A file of `scenarios/` is a list of mappings:

    - name: The first rule that matches decides.
      GlobalNetworkPolicy: {web: {ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]}}
      packets:
        - {in: eth0, tcp: 80, allow: "default/web ingress[0]"}
        - {in: eth0, tcp: 81, deny: end-of-tier default (ingress)}

A kind holds specs by name; `labels` and `annotations` among the fields of a spec are those of the metadata. Without a
HostEndpoint there is `eth0`, which governs eth0; `HostEndpoint: {}` is for none. `settings` are those of hostfw.yaml;
`unseen` names interfaces that come only once the generation is in force; `foreign` is what another table of the host
holds. `then` is a list of what follows: other resources, put into force over the first, and packets again.

A packet says its way (`in`, `out`, or both), its ends if they are not those of `WAYS` (`from`, `to`: a name of `PLACES`
or an address), and its protocol:

    tcp, udp, sctp: a destination port, or [source port, destination port]
    icmp: a name of `ICMP_NAMES`, a type, or [type, code]
    protocol: a number

then `allow` or `deny` with what decides, in the words of log records and counters. It goes over both families unless it
says `family`, or an address does. Further fields, none of which is needed:

    hopLimit, flags, broken, fragmented, hopByHop: as in `frames.Form`
    before: the destination before destination NAT (`to`, `port`, and `out` for another first route)
    kept: conntrack is to remember the packet
    about: `last`, for an ICMP error about the packet that was kept before it
    state: what conntrack makes of the packet if it is not new
    logs: the Log rules that it matches
    told: whether its sender hears of the denial
    lost: another table drops what hostfw allows
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

import yaml

from hostfw.model.api_versions import CALICO_V3, CLUSTER_POLICY_V1, HOSTFW_V1, KUBERNETES_V1, NETWORKING_V1
from hostfw.model.packets.packet import ConntrackState, Original, Packet
from hostfw.model.values import FAMILIES, ICMP, ICMPV6, SCTP, TCP, UDP, Family, parse_address
from tests.kernel.packets.frames import Form, Tcp

SCENARIOS = FilePath(__file__).parent / "scenarios"

PLACES = {
    "host": ("192.0.2.1", "2001:db8::1"),
    "host-eth1": ("198.51.100.1", "2001:db8:1::1"),
    "host-eth2": ("10.2.0.1", "fd00:2::1"),
    "host-link": ("192.0.2.1", "fe80::ff:fe00:1"),
    "loopback": ("127.0.0.1", "::1"),
    "client": ("192.0.2.10", "2001:db8::10"),
    "other": ("192.0.2.11", "2001:db8::11"),
    "stranger": ("203.0.113.9", "2001:db8:bad::9"),
    "server": ("198.51.100.20", "2001:db8:1::20"),
    "inner": ("10.2.0.20", "fd00:2::20"),
    "public": ("192.0.2.80", "2001:db8::80"),
}
"""Addresses of both families by name. The first three are those of the host's interfaces."""

INTERFACES = ("eth0", "eth1", "eth2", "eth3", "wg0")
ADDRESSES = (
    *((f"{address}/{length}", "eth0") for address, length in zip(PLACES["host"], (24, 64), strict=True)),
    *((f"{address}/{length}", "eth1") for address, length in zip(PLACES["host-eth1"], (24, 64), strict=True)),
    *((f"{address}/{length}", "eth2") for address, length in zip(PLACES["host-eth2"], (24, 64), strict=True)),
)
WAYS = {(True, False): ("client", "host"), (False, True): ("host", "server"), (True, True): ("client", "server")}
"""The default ends of a packet: one that comes in, goes out, or does both."""

_HELD = {parsed[1] for text, _ in ADDRESSES if (parsed := parse_address(text.split("/")[0]))}
"""The addresses of the host."""

ICMP_NAMES = {
    "echo": ((8, 0), (128, 0)),
    "reply": ((0, 0), (129, 0)),
    "unreachable": ((3, 3), (1, 4)),
    "too-big": ((3, 4), (2, 0)),
    "time-exceeded": ((11, 0), (3, 0)),
    "timestamp": ((13, 0), (128, 1)),
}
_KINDS = (
    "GlobalNetworkPolicy",
    "StagedGlobalNetworkPolicy",
    "NetworkPolicy",
    "StagedNetworkPolicy",
    "KubernetesNetworkPolicy",
    "ClusterNetworkPolicy",
    "HostEndpoint",
    "WorkloadEndpoint",
    "GlobalNetworkSet",
    "NetworkSet",
    "Namespace",
    "Tier",
    "Profile",
    "InterfaceGroup",
)
_ENDPOINT = {"eth0": {"node": "host", "interfaceName": "eth0"}}
_STAGE = {*_KINDS, "settings", "unseen", "foreign", "packets"}
_PORTS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
_FORMS = {"flags", "broken", "fragmented", "hopByHop", "about"}
_PACKET = {"in", "out", "from", "to", *_PORTS, "icmp", "protocol", "hopLimit", "family", "before"}
_EXPECTED = {"allow", "deny", "state", "logs", "told", "kept", "lost"}


@dataclass(frozen=True, slots=True)
class Trial:
    """A packet, and what is to become of it. `quotes_last` is of an ICMP error about the packet kept before it."""

    packet: Packet
    form: Form
    kept: bool
    quotes_last: bool
    allowed: bool
    by: str
    logs: tuple[str, ...]
    told: bool | None
    lost: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """Files of a configuration by name, interfaces that are not seen as it is put into force, and what is tried then.

    `foreign` is the content of a table of somebody else.
    """

    files: Mapping[str, str]
    unseen: frozenset[str]
    foreign: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A sentence and its proof."""

    group: str
    name: str
    stages: tuple[Stage, ...]


def scenarios(directory: FilePath = SCENARIOS) -> tuple[Scenario, ...]:
    """Every scenario, in the order of the files' names and then of the files."""
    return tuple(scenario for path in sorted(directory.glob("*.yaml")) for scenario in _read(path))


def _read(path: FilePath) -> Iterator[Scenario]:
    for fields in yaml.safe_load(path.read_text()):
        name = fields["name"]
        assert fields.keys() <= {"name", "then", *_STAGE}, f"{path.name}: {name}: unknown field"
        try:
            stages = (_stage(fields), *(_stage(stage) for stage in fields.get("then", ())))
        except (AssertionError, KeyError, ValueError) as error:
            raise ValueError(f"{path.name}: {name}: {error!r}") from error
        yield Scenario(path.stem, name, stages)


def _stage(fields: Mapping[str, object]) -> Stage:
    files = {}
    settings = fields.get("settings")
    if settings is not None:
        files["hostfw.yaml"] = yaml.safe_dump(settings)
    resources = {"HostEndpoint": _ENDPOINT} | {kind: fields[kind] for kind in _KINDS if kind in fields}
    documents = [_document(kind, name, spec) for kind, specs in resources.items() for name, spec in _items(specs)]
    files["resources.yaml"] = yaml.safe_dump_all(documents)
    lines = _list(fields.get("packets", []))
    unseen = frozenset(map(str, _list(fields.get("unseen", []))))
    return Stage(files, unseen, str(fields.get("foreign", "")), tuple(_trials(lines)))


def _document(kind: str, name: str, fields: object) -> dict[str, object]:
    spec = dict(_items(fields or {}))
    metadata: dict[str, object] = {"name": name}
    for field in ("namespace", "labels", "annotations"):
        if field in spec:
            metadata[field] = spec.pop(field)
    versions = {
        "InterfaceGroup": HOSTFW_V1,
        "Namespace": KUBERNETES_V1,
        "KubernetesNetworkPolicy": NETWORKING_V1,
        "ClusterNetworkPolicy": CLUSTER_POLICY_V1,
    }
    written = kind.removeprefix("Kubernetes")
    return {"apiVersion": versions.get(kind, CALICO_V3), "kind": written, "metadata": metadata, "spec": spec}


def _trials(lines: Sequence[object]) -> Iterator[Trial]:
    """All packets of one family in order, then all of the other: a conversation stays together."""
    packets = [dict(_items(line)) for line in lines]
    for family in FAMILIES:
        for fields in packets:
            if family in _families(fields):
                yield _trial(fields, family)


def _families(fields: Mapping[str, object]) -> tuple[Family, ...]:
    if "family" in fields:
        return (Family(int(str(fields["family"]))),)
    literal = [parsed[0] for end in ("from", "to") if (parsed := parse_address(str(fields.get(end, "")))) is not None]
    return (literal[0],) if literal else FAMILIES


def _trial(fields: Mapping[str, object], family: Family) -> Trial:
    assert fields.keys() <= _PACKET | _FORMS | _EXPECTED, f"unknown field of {fields}"
    assert ("allow" in fields) is not ("deny" in fields), f"{fields} is neither to be allowed nor denied"
    told = fields.get("told")
    return Trial(
        packet=_packet(fields, family),
        form=Form(
            tcp=Tcp[str(fields.get("flags", "syn")).upper().replace("-", "_")],
            wrong_checksum=bool(fields.get("broken", False)),
            fragmented=bool(fields.get("fragmented", False)),
            hop_by_hop=bool(fields.get("hopByHop", False)),
        ),
        kept=bool(fields.get("kept", False)),
        quotes_last=fields.get("about") == "last",
        allowed="allow" in fields,
        by=str(fields.get("allow", fields.get("deny"))),
        logs=tuple(map(str, _list(fields.get("logs", [])))),
        told=None if told is None else bool(told),
        lost=bool(fields.get("lost", False)),
    )


def _packet(fields: Mapping[str, object], family: Family) -> Packet:
    way_in, way_out = fields.get("in"), fields.get("out")
    ends = WAYS[way_in is not None, way_out is not None]
    source, destination = (
        _address(str(fields.get(end, by)), family) for end, by in zip(("from", "to"), ends, strict=True)
    )
    packet = Packet(
        family,
        0,
        source,
        destination,
        hop_limit=int(str(fields.get("hopLimit", 64))),
        in_interface=None if way_in is None else str(way_in),
        out_interface=None if way_out is None else str(way_out),
        state=ConntrackState(str(fields.get("state", "new"))),
    )
    packet = _of_protocol(packet, fields)
    if "before" not in fields:
        return packet
    before = dict(_items(fields["before"]))
    port = before.get("port", packet.destination_port)
    address = _address(str(before.get("to", ends[1])), family)
    return replace(
        packet,
        original=Original(
            address,
            None if port is None else int(str(port)),
            None if "out" not in before else str(before["out"]),
            own=address in _HELD,
        ),
    )


def _of_protocol(packet: Packet, fields: Mapping[str, object]) -> Packet:
    for name, protocol in _PORTS.items():
        if name in fields:
            source, destination = _pair(fields[name], first=40000)
            return replace(packet, protocol=protocol.number, source_port=source, destination_port=destination)
    if "icmp" not in fields:
        return replace(packet, protocol=int(str(fields["protocol"])))
    given = fields["icmp"]
    if isinstance(given, str):
        kind, code = ICMP_NAMES[given][FAMILIES.index(packet.family)]
    else:
        kind, code = _pair(given, second=0)
    number = (ICMP if packet.family is Family.V4 else ICMPV6).number
    return replace(packet, protocol=number, icmp_type=kind, icmp_code=code)


def _pair(given: object, *, first: int | None = None, second: int | None = None) -> tuple[int, int]:
    """A list of two numbers, or one number beside the default that there is for the other."""
    numbers = given if isinstance(given, list) else [number for number in (first, given, second) if number is not None]
    one, other = map(int, numbers)
    return one, other


def _address(name: str, family: Family) -> int:
    text = PLACES[name][FAMILIES.index(family)] if name in PLACES else name
    parsed = parse_address(text)
    assert parsed is not None, f"{name} is not an address and none of {', '.join(PLACES)}"
    return parsed[1]


def _items(mapping: object) -> Iterator[tuple[str, object]]:
    assert isinstance(mapping, dict), f"{mapping!r} is no mapping"
    yield from mapping.items()


def _list(value: object) -> Sequence[object]:
    assert isinstance(value, list), f"{value!r} is no list"
    return value
