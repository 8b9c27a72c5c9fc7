"""Instances of Incus: its REST API on a Unix socket, and its events by a WebSocket there.

Addresses are those of the instance's configuration and of the leases of its networks, never those that the instance
reports.
"""

import base64
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

from hostfw.workloads.engine_socket import EngineError, EngineSocket, Object, TooLargeError, at, object_at, text_at
from hostfw.workloads.values import (
    DEFAULT_NAMESPACE,
    Workload,
    image_label,
    labels_of,
    mac_of,
    namespace_of,
    networks_of,
    shown,
)
from hostfw.workloads.watch import Events, Reading

SOCKET = "/var/lib/incus/unix.socket"
_USER = "user."
_FRAMES_BYTES = 64 * 1024
_MOST_INSTANCES = 16_384


class IncusReader:
    """The instances of all projects that run."""

    name = "incus"

    def __init__(self, path: str | None = None) -> None:
        self._path = path or SOCKET

    @contextmanager
    def listen(self) -> Iterator[Events]:
        """Hear of instances that start, end or change."""
        with EngineSocket(self._path) as engine:
            key = base64.b64encode(os.urandom(16)).decode()
            upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
            headers = {**upgrade, "Sec-WebSocket-Key": key}
            yield _Frames(engine.stream("/1.0/events?type=lifecycle&all-projects=true", headers))

    def read(self) -> Reading:
        """A workload for each network card of a running instance."""
        found: list[Workload] = []
        remarks: list[str] = []
        with EngineSocket(self._path) as engine:
            urls = at(engine.ask("/1.0/instances?all-projects=true"), "metadata")
            leases: dict[tuple[str, str], Mapping[str, list[object]]] = {}
            for url in urls[:_MOST_INSTANCES] if isinstance(urls, list) else ():
                if not isinstance(url, str) or not url.startswith("/1.0/instances/"):
                    continue
                path = f"{url}{'&' if '?' in url else '?'}recursion=1"
                try:
                    instance = object_at(engine.ask(path), "metadata")
                except TooLargeError:
                    remarks.append(f"instance {shown(url)}: its description is too large: left out")
                    continue
                except EngineError:
                    # It may have ended meanwhile, which the next event says.
                    continue
                if text_at(instance, "status") == "Running":
                    found += _workloads(engine, instance, leases, remarks)
        # No event tells of a lease.
        return Reading(tuple(found), tuple(remarks), unfinished=not all(one.networks for one in found))


def _workloads(
    engine: EngineSocket,
    instance: Object,
    leases: dict[tuple[str, str], Mapping[str, list[object]]],
    remarks: list[str],
) -> Iterator[Workload]:
    name, project = text_at(instance, "name"), text_at(instance, "project") or DEFAULT_NAMESPACE
    config = object_at(instance, "expanded_config")
    labels = {key.removeprefix(_USER): value for key, value in config.items() if key.startswith(_USER)}
    own = {
        "name": name,
        "engine": "incus",
        "image": image_label("_".join(text_at(config, f"image.{key}") for key in ("os", "release")).strip("_")),
    }
    number = 0
    for device, card in sorted(object_at(instance, "state", "network").items()):
        # What Incus gave it: the instance itself may have set another one since.
        mac = mac_of(text_at(config, f"volatile.{device}.hwaddr") or at(card, "hwaddr"))
        interface = text_at(card, "host_name")
        if not interface:
            continue
        configured = object_at(instance, "expanded_devices", device)
        network = text_at(configured, "network")
        fixed = (text_at(configured, "ipv4.address"), text_at(configured, "ipv6.address"))
        if network and (project, network) not in leases:
            leases[project, network] = _leases(engine, project, network)
        given = leases.get((project, network), {}).get(mac, [])
        one = Workload(
            identity=f"{project}/{name}",
            wanted_name=name if number == 0 else f"{name}.{device}",
            namespace=namespace_of(project),
            orchestrator="incus",
            interface=interface,
            networks=networks_of((*fixed, *given)),
            labels=labels_of(labels, {**own, "network": network}),
            mac=mac,
        )
        if not one.networks:
            remarks.append(f"instance {shown(name)}: Incus gave {shown(interface)} no address so far")
        number += 1
        yield one


def _leases(engine: EngineSocket, project: str, network: str) -> Mapping[str, list[object]]:
    """The addresses that a network has given, by Ethernet address."""
    found: dict[str, list[object]] = {}
    try:
        answer = engine.ask(f"/1.0/networks/{quote(network, safe='')}/leases?project={quote(project, safe='')}")
    except EngineError:
        return found
    leases = at(answer, "metadata")
    for lease in leases if isinstance(leases, list) else ():
        found.setdefault(mac_of(at(lease, "hwaddr")), []).append(at(lease, "address"))
    found.pop("", None)
    return found


class _Frames:
    """The frames of a WebSocket (RFC 6455): none is looked at, but each ping is answered."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""
        return self._socket.fileno()

    def take(self) -> None:
        """Take what has arrived. Raises EngineError once the engine has gone."""
        data = self._socket.recv(_FRAMES_BYTES)
        if not data:
            raise EngineError("it ended the connection")
        if data[0] & 0x0F == 9:
            # A pong without content, masked as all that a client sends.
            self._socket.sendall(b"\x8a\x80\0\0\0\0")
