"""A workload as a reader found it, and the forms that names and labels have in a WorkloadEndpoint.

Names, labels and addresses come from programs that take almost any text. What has another form is made to fit where
that is certain to be read back by a person (names), and left out where a policy could mistake it (labels).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from json import dumps

Network = IPv4Network | IPv6Network

DEFAULT_NAMESPACE = "default"
MOST_LABELS = 100
"""Most labels of a workload; of more, those count that come first in the order of their keys."""
MOST_NETWORKS = 256
_LONGEST_NAME = 63
_SHORT_ID = 8
_LABEL_WORD = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_DOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*\Z")
_INTERFACE = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,15}\Z")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}\Z")
_NO_MAC = "00:00:00:00:00:00"
_RESERVED_DOMAINS = ("projectcalico.org", "kubernetes.io", "k8s.io", "hostfw.io")
_RESERVED_PREFIXES = ("pcns.", "pcsa.")
"""Labels by which Calico and Kubernetes know namespaces and orchestrators, and none that a container chooses."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One interface of a workload. `identity` is what its engine knows it by, and `wanted_name` what people call it.

    `networks` are the addresses that its engine or this host gave it, never those that it has chosen itself.
    """

    identity: str
    wanted_name: str
    namespace: str
    orchestrator: str
    interface: str
    networks: tuple[str, ...]
    labels: tuple[tuple[str, str], ...] = ()
    mac: str = ""
    name: str = ""
    """The name that it is written under, given by `named`."""


def named(workloads: Iterable[Workload]) -> tuple[Workload, ...]:
    """Give each its name: what it is called if that is valid, else the nearest; of equal ones all but one have an id.

    Who is called exactly so keeps the name, so that nobody takes it from them by one that is only similar.
    """
    found: dict[tuple[str, str], Workload] = {}
    exact_first = sorted(workloads, key=lambda one: (name_of(one.wanted_name) != one.wanted_name, one.identity))
    for one in exact_first:
        name = name_of(one.wanted_name) or name_of(f"{one.orchestrator}-{one.identity}"[:_LONGEST_NAME])
        for candidate in _candidates(name, one.identity):
            if (one.namespace, candidate) not in found:
                found[one.namespace, candidate] = replace(one, name=candidate)
                break
    return tuple(found[key] for key in sorted(found))


def _candidates(name: str, identity: str) -> Iterator[str]:
    yield name
    short = re.sub(r"[^a-z0-9]", "", identity.lower())
    for length in (_SHORT_ID, 2 * _SHORT_ID, 4 * _SHORT_ID):
        yield f"{name[: _LONGEST_NAME - length - 1].rstrip('.-')}-{short[:length]}".rstrip("-")


def name_of(text: str) -> str:
    """The nearest name of a resource to a text: small letters, digits, '-' and '.'; "" if nothing is left."""
    parts = re.sub(r"[^a-z0-9.]+", "-", text.lower()[: 4 * _LONGEST_NAME]).split(".")
    return ".".join(filter(None, (part.strip("-") for part in parts)))[:_LONGEST_NAME].rstrip("-.")


def namespace_of(text: str) -> str:
    """The nearest name of a namespace to a text, `default` if nothing is left."""
    return name_of(text.replace(".", "-")) or DEFAULT_NAMESPACE


def labels_of(given: Mapping[str, object], own: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The labels of a workload: those of its engine that can be labels, and the reader's own, which win.

    A key that is none is left out, and so is a value of over 63 characters or with one that is not printable ASCII.
    In other values, what no label has becomes '_'.
    """
    found = {}
    for key, value in given.items():
        cleaned = label_value(value) if is_label_key(key) else None
        if cleaned is not None:
            found[key] = cleaned
    kept = dict(sorted(found.items())[:MOST_LABELS])
    for key, value in own.items():
        cleaned = label_value(value)
        kept.pop(key, None)
        if cleaned:
            kept[key] = cleaned
    return tuple(sorted(kept.items()))


def is_label_key(key: str) -> bool:
    """True for what can be the key of a label, and is not by its form one that tells namespaces and orchestrators."""
    if len(key) > 317 or key.startswith(_RESERVED_PREFIXES):
        return False
    domain, slash, name = key.rpartition("/")
    if slash and (len(domain) > 253 or _DOMAIN.match(domain) is None):
        return False
    reserved = any(domain == one or domain.endswith(f".{one}") for one in _RESERVED_DOMAINS)
    return not reserved and _LABEL_WORD.match(name) is not None


def label_value(value: object) -> str | None:
    """The value of a label that is nearest to a value; None for what is too long or not printable ASCII."""
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or not value.isascii() or not value.isprintable():
        return None
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", value).strip("_.-")


def image_label(image: str) -> str:
    """The name of an image for a label: without its registry, and a digest for nothing; `debian_12` of `debian:12`."""
    name = image.partition("@")[0].rpartition("/")[2]
    return "" if name.startswith("sha256:") else name[:_LONGEST_NAME]


def network_of(text: object) -> str | None:
    """An address or prefix that a workload may have, as text; None for everything else."""
    if not isinstance(text, str) or len(text) > 64:
        return None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    first = network.network_address
    if network.prefixlen == 0 or first.is_multicast or first.is_loopback or first.is_unspecified or first.is_link_local:
        return None
    return str(first) if network.prefixlen == network.max_prefixlen else str(network)


def networks_of(texts: Iterable[object]) -> tuple[str, ...]:
    """The addresses and prefixes among texts, each once, in their order."""
    found = (network_of(text) for text in texts)
    return tuple(dict.fromkeys(one for one in found if one is not None))[:MOST_NETWORKS]


def without(network: Network, addresses: Iterable[Network]) -> tuple[Network, ...]:
    """The parts of a network that do not have these addresses."""
    parts: list[Network] = [network]
    for address in addresses:
        parts = [
            piece
            for part in parts
            for piece in (
                part.address_exclude(address)  # type: ignore[arg-type]  # both are of one version
                if part.version == address.version and address.network_address in part
                else (part,)
            )
        ]
    return tuple(sorted(parts, key=lambda one: (int(one.network_address), one.prefixlen)))


def mac_of(text: object) -> str:
    """The Ethernet address of one network card, in small letters; "" for everything else."""
    lower = text.lower() if isinstance(text, str) else ""
    is_of_a_card = _MAC.match(lower) is not None and int(lower[1], 16) % 2 == 0 and lower != _NO_MAC
    return lower if is_of_a_card else ""


def is_interface(name: str) -> bool:
    """True for what can be written as the name of an interface."""
    return _INTERFACE.match(name) is not None


def shown(text: str) -> str:
    """A text of somebody else for a message: quoted, on one line, and short."""
    return dumps(text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}...")


def manifest(workload: Workload, reader: str) -> str:
    """The WorkloadEndpoint of a workload that has its name, as YAML."""
    lines: Sequence[str] = (
        first_line(reader),
        "apiVersion: projectcalico.org/v3",
        "kind: WorkloadEndpoint",
        "metadata:",
        f"  name: {dumps(workload.name)}",
        f"  namespace: {dumps(workload.namespace)}",
        "  labels:" if workload.labels else "  labels: {}",
        *(f"    {dumps(key)}: {dumps(value)}" for key, value in workload.labels),
        "spec:",
        *((f"  orchestrator: {dumps(workload.orchestrator)}",) if workload.orchestrator else ()),
        f"  interfaceName: {dumps(workload.interface)}",
        *((f"  mac: {dumps(workload.mac)}",) if workload.mac else ()),
        f"  ipNetworks: {dumps(list(workload.networks))}",
    )
    return "\n".join(lines) + "\n"


def first_line(reader: str) -> str:
    """The comment by which a reader knows the files that it wrote."""
    return f"# hostfw-workloads@{reader}.service writes this file, and replaces or removes it."
