"""Containers of Docker, and of Podman by its compatible socket: the Engine API, `/containers/json` and `/events`.

A container's interface is found without the engine: the host's end of its veth leads to the network namespace of its
process. Of several, the bridge tells which network it is of.
"""

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from json import dumps
from urllib.parse import quote, urlencode

from hostfw.host.workloads.interfaces import HostInterface, HostInterfaces, host_addresses
from hostfw.workloads.engine_socket import (
    MOST_BYTES,
    EngineError,
    EngineSocket,
    Object,
    TooLargeError,
    at,
    object_at,
    parsed,
    text_at,
)
from hostfw.workloads.values import (
    DEFAULT_NAMESPACE,
    Network,
    Workload,
    image_label,
    labels_of,
    mac_of,
    namespace_of,
    networks_of,
    shown,
)
from hostfw.workloads.watch import Events, Reading

SOCKETS = {"docker": "/run/docker.sock", "podman": "/run/podman/podman.sock"}
_PROJECTS = ("com.docker.compose.project", "io.podman.compose.project")
"""Labels with the project of a container, by Compose and by podman-compose."""
_EVENTS = {
    "container": ("start", "die", "died", "destroy", "remove", "rename", "update", "stop", "cleanup"),
    "network": ("connect", "disconnect"),
}
_ID = re.compile(rb"[0-9a-f]{64}")
_ITS_ID = re.compile(rb'\{\s*"Id"\s*:\s*"([0-9a-f]{64})"')
_ID_BYTES = 64
_EVENT_BYTES = 64 * 1024
_HOST, _NONE, _OF_CONTAINER = "host", "none", "container:"


@dataclass(frozen=True, slots=True)
class _Known:
    """A running container that was looked at: its process, whose network it has, and the labels of its image."""

    process: int
    mode: str
    of_image: Mapping[str, object] | None


class Docker:
    """The containers of an engine with Docker's API."""

    def __init__(self, name: str, path: str | None = None) -> None:
        """Of Docker or Podman, at the socket that they are usually at."""
        self.name = name
        self._path = SOCKETS[name] if path is None else path
        self._known: dict[str, _Known] = {}
        self._images: dict[str, Mapping[str, object] | None] = {}

    @contextmanager
    def listen(self) -> Iterator[Events]:
        """Hear of containers that start, end, get another name or network."""
        events = [event for events in _EVENTS.values() for event in events]
        filters = dumps({"type": list(_EVENTS), "event": events})
        self._known.clear()
        with EngineSocket(self._path) as engine:
            yield _EngineEvents(engine.stream(f"/events?{urlencode({'filters': filters})}"), self._forget)

    def _forget(self, identities: frozenset[str]) -> None:
        """Look again at the containers that an event names, or at all if it names none."""
        for identity in identities or tuple(self._known):
            self._known.pop(identity, None)

    def read(self) -> Reading:
        """The running containers, an interface each for a workload."""
        remarks: list[str] = []
        containers: dict[str, Object] = {}
        with EngineSocket(self._path) as engine:
            for item in engine.items("/containers/json"):
                found = _ITS_ID.match(item)
                if len(item) >= MOST_BYTES:
                    short = found[1][:12].decode() if found else "?"
                    remarks.append(f"container {short}: its description has over {MOST_BYTES // 1024} KiB: left out")
                    continue
                container = parsed(item)
                containers[text_at(container, "Id")] = container
            networks = {
                text_at(one, "Id"): one
                for one in (parsed(item) for item in engine.items("/networks") if len(item) < MOST_BYTES)
            }
            for identity, container in containers.items():
                if identity not in self._known and _shares(_mode(container)) is None:
                    self._look_at(engine, identity, container, remarks)
        self._known = {identity: one for identity, one in self._known.items() if identity in containers}
        in_use = {text_at(one, "ImageID") for one in containers.values()}
        self._images = {image: labels for image, labels in self._images.items() if image in in_use}
        return self._reading(containers, networks, remarks)

    def _look_at(self, engine: EngineSocket, identity: str, container: Object, remarks: list[str]) -> None:
        """Ask for what the list of containers does not say."""
        name = shown(_name(container))
        try:
            found = engine.ask(f"/containers/{quote(identity, safe='')}/json")
        except TooLargeError:
            remarks.append(f"container {name}: its description has over {MOST_BYTES // 1024} KiB: left out")
            return
        except EngineError:
            # It may have ended meanwhile, which the next event says.
            return
        process = at(found, "State", "Pid")
        if isinstance(process, int) and process > 0:
            image = text_at(container, "ImageID") or text_at(found, "Image")
            mode = _mode(container) or _mode(found)
            self._known[identity] = _Known(process, mode, self._labels_of_image(engine, image))

    def _labels_of_image(self, engine: EngineSocket, image: str) -> Mapping[str, object] | None:
        """The labels that containers have from an image; None where it does not say."""
        if image not in self._images:
            try:
                self._images[image] = object_at(engine.ask(f"/images/{quote(image, safe='')}/json"), "Config", "Labels")
            except EngineError:
                self._images[image] = None
        return self._images[image]

    def _reading(self, containers: Mapping[str, Object], networks: Mapping[str, Object], remarks: list[str]) -> Reading:
        interfaces = HostInterfaces()
        leading = interfaces.leading_to([one.process for one in self._known.values()])
        found: list[Workload] = []
        unfinished = False
        for identity, container in containers.items():
            name = shown(_name(container))
            known = self._known.get(identity)
            shared = _shares(_mode(container) or (known.mode if known else ""))
            if shared is not None:
                remarks.append(f"container {name}: {shared}")
                continue
            if known is None:
                continue
            if known.of_image is None:
                remarks.append(f"container {name}: the labels of its image are unknown, so none of its labels counts")
            mine = leading[known.process]
            attached = {key: value for key, value in _attached(container).items() if networks_of(_addresses(value))}
            for network, endpoint in attached.items():
                interface = _interface(network, endpoint, mine, attached, networks, interfaces)
                if interface is None:
                    remarks.append(
                        f"container {name}: no interface of this host is its own in network {shown(network)}"
                    )
                    unfinished |= not mine
                    continue
                found.append(self._workload(container, known, network, endpoint, interface))
            if not attached and known.mode != _NONE:
                remarks.append(f"container {name}: the engine gave it no address")
        return Reading(tuple(found), tuple(remarks), unfinished)

    def _workload(
        self, container: Object, known: _Known, network: str, endpoint: Object, interface: HostInterface
    ) -> Workload:
        labels = object_at(container, "Labels")
        given = (
            {}
            if known.of_image is None
            else {key: value for key, value in labels.items() if known.of_image.get(key) != value}
        )
        name = _name(container)
        project = next((value for key in _PROJECTS if isinstance(value := given.get(key), str)), DEFAULT_NAMESPACE)
        own = {"name": name, "image": image_label(text_at(container, "Image")), "engine": self.name, "network": network}
        return Workload(
            identity=text_at(container, "Id"),
            wanted_name=name if network == _first_network(container) else f"{name}.{network}",
            namespace=namespace_of(project),
            orchestrator=self.name,
            interface=interface.name,
            networks=networks_of(_addresses(endpoint)),
            labels=labels_of(given, own),
            mac=mac_of(at(endpoint, "MacAddress")),
        )


def _name(container: Object) -> str:
    """The name of a container, without the '/' that the API puts before it."""
    names = at(container, "Names")
    first = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    return first.lstrip("/") or text_at(container, "Id")[:12]


def _mode(container: Object) -> str:
    return text_at(container, "HostConfig", "NetworkMode")


def _shares(mode: str) -> str | None:
    """The sentence about a container that has no network of its own; None for the others."""
    if mode == _HOST:
        return "has the network of the host, and is governed as the host is"
    return "has the network of another container, whose labels count" if mode.startswith(_OF_CONTAINER) else None


def _attached(container: Object) -> Mapping[str, Object]:
    """The networks of a container by their names."""
    networks = object_at(container, "NetworkSettings", "Networks")
    return {name: value for name, value in networks.items() if isinstance(value, dict)}


def _addresses(endpoint: Object) -> tuple[object, object]:
    return at(endpoint, "IPAddress"), at(endpoint, "GlobalIPv6Address")


def _first_network(container: Object) -> str:
    """The network that a container was made with, whose interface has the name of the container alone."""
    names = _attached(container)
    usual = (_mode(container), "bridge", "podman", *sorted(names))
    return next((name for name in usual if name in names), "")


def _interface(
    network: str,
    endpoint: Object,
    mine: Sequence[HostInterface],
    attached: Mapping[str, Object],
    networks: Mapping[str, Object],
    interfaces: HostInterfaces,
) -> HostInterface | None:
    """The interface of a container in one of its networks; None where that is not certain."""
    if len(mine) == len(attached) == 1:
        return mine[0]
    identity = text_at(endpoint, "NetworkID")
    known = networks.get(identity) or next((one for one in networks.values() if text_at(one, "Name") == network), {})
    named = text_at(known, "Options", "com.docker.network.bridge.name") or f"br-{identity[:12]}"
    bridge = interfaces.by_name.get(named)
    ports = [one for one in mine if bridge is not None and one.master == bridge.index]
    if not ports:
        subnets = _subnets(endpoint)
        addresses = host_addresses()
        # Its bridge has an address in the same subnet.
        ports = [
            one
            for one in mine
            if any(
                own.version == subnet.version and own.network_address in subnet
                for own in addresses.get(one.master, ())
                for subnet in subnets
            )
        ]
    return ports[0] if len(ports) == 1 else None


def _subnets(endpoint: Object) -> list[Network]:
    """The subnets that an endpoint is in: of Podman before 5 no name or id leads from it to its network."""
    lengths = at(endpoint, "IPPrefixLen"), at(endpoint, "GlobalIPv6PrefixLen")
    pairs = zip(_addresses(endpoint), lengths, strict=True)
    texts = networks_of(f"{address}/{length}" for address, length in pairs if address and isinstance(length, int))
    return [ip_network(text) for text in texts]


class _EngineEvents:
    """The stream of `/events`: what is in it is not looked at, but for the ids of containers."""

    def __init__(self, sock: socket.socket, forget: Callable[[frozenset[str]], None]) -> None:
        self._socket = sock
        self._forget = forget
        self._rest = b""

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""
        return self._socket.fileno()

    def take(self) -> None:
        """Take what has arrived. Raises EngineError once the engine has gone."""
        data = self._socket.recv(_EVENT_BYTES)
        if not data:
            raise EngineError("it ended the connection")
        whole = self._rest + data
        # An id may be cut by the end of what has arrived.
        self._rest = whole[-(_ID_BYTES - 1) :]
        self._forget(frozenset(one.decode() for one in _ID.findall(whole)))
