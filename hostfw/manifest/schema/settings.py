"""The settings as JSON Schema: for each Shape of their decoders a table, with what each field is for."""

from enum import StrEnum

from hostfw.manifest.kinds.failsafe import FAILSAFE_PORT_SHAPE, FAILSAFE_SHAPE, PROTOCOL_WORDS, TEXT_FORM, WORDS
from hostfw.manifest.kinds.rule import LAST_PORT
from hostfw.manifest.kinds.workload import WORKLOADS_SHAPE
from hostfw.manifest.scalars.name_forms import INTERFACE_PATTERN, SUBDOMAIN
from hostfw.manifest.schema.values import (
    BOOLEAN,
    NET_OR_ADDRESS,
    Fields,
    Json,
    any_of,
    formed,
    listed,
    name,
    ref,
    schema_of,
    whole,
    words,
)
from hostfw.manifest.settings import (
    HISTORY_BOUNDS,
    INTERVAL_BOUNDS,
    LOGGING_BOUNDS,
    LOGGING_SHAPE,
    METRICS_SHAPE,
    QUESTION_PORTS_LIMIT,
    SETTINGS_SHAPE,
    TEXTFILE,
    UNMANAGED_SHAPE,
)
from hostfw.model.api_versions import HOSTFW_V1
from hostfw.model.settings import (
    DenyAction,
    InvalidPackets,
    LockoutCheck,
    Loopback,
    NeighbourDiscovery,
    PublishedPorts,
    ReversePathFilter,
    Unmanaged,
    Unselected,
)


def settings_definitions() -> dict[str, Json]:
    """The settings and every mapping below them, by the name that references give it."""
    return {
        "settings": schema_of(SETTINGS_SHAPE, _SETTINGS),
        "failsafe": any_of(words(WORDS), {"type": "array", "maxItems": 0}, schema_of(FAILSAFE_SHAPE, _FAILSAFE)),
        "failsafePorts": any_of(
            listed(any_of(*_FAILSAFE_TEXTS, ref("failsafePort"))), _FAILSAFE_LINE, *_FAILSAFE_TEXTS
        ),
        "failsafePort": schema_of(FAILSAFE_PORT_SHAPE, _FAILSAFE_PORT, ["port"]),
        "unmanagedInterfaces": schema_of(UNMANAGED_SHAPE, _UNMANAGED),
        "logging": schema_of(LOGGING_SHAPE, _LOGGING),
        "metrics": schema_of(METRICS_SHAPE, _METRICS),
        "workloads": schema_of(WORKLOADS_SHAPE, _WORKLOADS),
    }


def _of(enum: type[StrEnum]) -> Json:
    return words(word.value for word in enum)


_SETTINGS: Fields = {
    "apiVersion": (words([HOSTFW_V1]), "The version of this file."),
    "kind": (words(["Settings"]), "What this file is."),
    "compatibility": (words(["calico"]), "calico: settings not given here are as in Calico."),
    "node": (name(SUBDOMAIN), "The name that HostEndpoints have for this host (default: its host name)."),
    "failsafe": (ref("failsafe"), "Ports that stay open whatever policy says: calico, none, or by direction."),
    "unmanagedInterfaces": (ref("unmanagedInterfaces"), "What an interface without HostEndpoint does."),
    "loopback": (_of(Loopback), "Whether a HostEndpoint * includes lo (default: exempt)."),
    "neighbourDiscovery": (
        _of(NeighbourDiscovery),
        "Whether IPv6 neighbour discovery, MLD and IGMP bypass policy (default: accept).",
    ),
    "invalidPackets": (_of(InvalidPackets), "What becomes of what connection tracking calls invalid (default: drop)."),
    "denyAction": (_of(DenyAction), "Whether a sender is told that it was denied (default: drop)."),
    "logging": (ref("logging"), "Where log records go, and how many."),
    "metrics": (ref("metrics"), "Where figures for Prometheus are written, and how often."),
    "learnAddresses": (
        BOOLEAN,
        "Addresses of its interfaces count as a HostEndpoint's expectedIPs.",
    ),
    "lockoutCheck": (
        _of(LockoutCheck),
        "What comes of a change that would cut off ssh, name servers or leases in use (default: refuse).",
    ),
    "publishedPorts": (
        _of(PublishedPorts),
        "Whether ingress policy decides who reaches a port that another program publishes by NAT (default: policy).",
    ),
    "workloads": (ref("workloads"), "Which interfaces workloads are behind: all else than their own policy is denied."),
    "multicastAnswers": (
        listed(whole(1, LAST_PORT), QUESTION_PORTS_LIMIT),
        "UDP ports: answers of neighbours to a question of this host to multicast or broadcast there are let in.",
    ),
    "reversePathFilter": (
        _of(ReversePathFilter),
        "Whether a route must lead back to the source of a new connection, by the same interface (default: disabled).",
    ),
    "historyLimit": (
        whole(*HISTORY_BOUNDS),
        "How many generations are kept to go back to, the accepted one among them (default: 10).",
    ),
    "packetMarks": (
        whole(3, 2**32 - 1),
        "Not used any more, and accepted where it is set: no verdict depends on a mark.",
    ),
}

_FAILSAFE: Fields = {
    "inbound": (ref("failsafePorts"), "Ports of this host."),
    "outbound": (ref("failsafePorts"), "Ports of others."),
}
_FAILSAFE_TEXTS = (formed(TEXT_FORM), whole(1, LAST_PORT))
_ONE = f"(?:{str(_FAILSAFE_TEXTS[0]['pattern'])[1:-1]})"
_FAILSAFE_LINE = formed(rf"\s*(?:(?:none|{_ONE}(?:\s*,\s*{_ONE})*)\s*)?")
_FAILSAFE_PORT: Fields = {
    "protocol": (
        any_of(words(PROTOCOL_WORDS), {"type": "integer", "enum": [int(w) for w in PROTOCOL_WORDS if w.isdigit()]}),
        "tcp (the default), udp or sctp.",
    ),
    "port": (whole(1, LAST_PORT), "The port."),
    "net": (NET_OR_ADDRESS, "Only with peers in this prefix."),
}

_WORKLOADS: Fields = {
    "interfaces": (listed(formed(INTERFACE_PATTERN.pattern)), "Names, or beginnings with * behind them, such as ve-*."),
    "bridges": (
        listed(formed(INTERFACE_PATTERN.pattern)),
        "Bridges whose ports are workloads, as names or beginnings with * behind them, such as br-*.",
    ),
    "toHost": (ref("failsafePorts"), "What workloads may use of this host (default: DNS and DHCP)."),
    "unselected": (
        _of(Unselected),
        "What a workload may do where no policy selects it (default: byOrchestrator, containers all, others nothing).",
    ),
}

_UNMANAGED: Fields = {
    "ingress": (_of(Unmanaged), "For what comes in (default: deny)."),
    "egress": (_of(Unmanaged), "For what goes out (default: allow)."),
}

_LOGGING: Fields = {
    "group": (whole(*LOGGING_BOUNDS["group"]), "The NFLOG group."),
    "snaplenBytes": (whole(*LOGGING_BOUNDS["snaplenBytes"]), "How much of a packet goes into a record."),
    "ratePerSecond": (whole(*LOGGING_BOUNDS["ratePerSecond"]), "How many packets a second of one source are logged."),
    "burstPackets": (whole(*LOGGING_BOUNDS["burstPackets"]), "How many of them at once."),
    "sharedRatePerSecond": (
        whole(*LOGGING_BOUNDS["sharedRatePerSecond"]),
        "How many a second of all, for each direction and reason.",
    ),
    "sharedBurstPackets": (whole(*LOGGING_BOUNDS["sharedBurstPackets"]), "How many of them at once."),
}

_METRICS: Fields = {
    "textfile": (formed(TEXTFILE), "The file that node_exporter is to read (default: none is written)."),
    "intervalSeconds": (whole(*INTERVAL_BOUNDS), "How often it is written (default: 30)."),
}
