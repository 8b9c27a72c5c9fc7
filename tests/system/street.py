"""Shared by the system tier: the host, its policy, and the neighbour who knocks."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from time import monotonic, sleep

from hostfw.journal.message_ids import MessageId
from lab.hosts.host import Host
from lab.hosts.wire import Uplink, Wire, hardware_address
from lab.namespace import LabError, Namespace, process, run

HOST, HOST6 = "10.77.0.2", "fd77::2"
PEER, PEER6 = "10.77.0.1", "fd77::1"
OPEN, CLOSED = 5555, 4444
"""TCP ports of the host that the policy of `POLICY` allows and denies. Something listens at both."""

SETTINGS = "node: web\n"


def letting_in(*ports: int) -> str:
    """The HostEndpoint of the host's eth0, and a policy that lets these TCP ports in."""
    return f"""\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: web-eth0, labels: {{role: web}}}}
spec: {{node: web, interfaceName: eth0}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  selector: role == 'web'
  types: [Ingress]
  ingress:
    - {{action: Allow, protocol: TCP, destination: {{ports: {list(ports)}}}}}
"""


POLICY = letting_in(OPEN, 22)

# Before any other unit that the boot starts, so that there is somebody to be reached whenever a packet may get in.
_SOCKET = """\
[Unit]
DefaultDependencies=no
Before=sysinit.target network-pre.target
[Socket]
Listen{kind}=[::]:{port}
BindIPv6Only=both
FreeBind=yes
Backlog=4096
Service=knocked-{port}.service
[Install]
WantedBy=sysinit.target
"""
_KNOCKED = """\
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -c 'touch /var/tmp/knocked-{port}; exec sleep infinity'
"""


@dataclass(slots=True)
class Knocking:
    """The neighbour's attempts at one port: how many there were, and which got through and when (monotonic)."""

    sent: int = 0
    through: tuple[tuple[str, float], ...] = ()

    def of(self, *kinds: str) -> tuple[float, ...]:
        """The times at which packets of these kinds got through (`tcp 10.77.0.2`, or only `tcp`)."""
        return tuple(at for kind, at in self.through if kind.startswith(kinds))


@dataclass(frozen=True, slots=True)
class Street:
    """A wire and the neighbour on it."""

    wire: Wire
    peer: Namespace

    def uplink(self, interface: str = "eth0") -> Uplink:
        """The uplink at which a host has the addresses of the tests."""
        return Uplink(self.wire, interface, (ip_interface(f"{HOST}/24"), ip_interface(f"{HOST6}/64")))

    def find(self, host: Host) -> None:
        """Let the neighbour know beforehand where a host is: that must not decide which packet is its first."""
        link = hardware_address(host.name, "eth0")
        for address in (HOST, HOST6):
            run(self.peer, ["ip", "neighbour", "replace", address, "lladdr", link, "dev", "eth0", "nud", "permanent"])

    @contextmanager
    def knocking(self, host: Host, port: int = CLOSED, every_s: float | None = None) -> Iterator[Knocking]:
        """Knock at a port for the length of the block; what came of it is there at its end."""
        self.find(host)
        argv = [sys.executable, str(Path(__file__).with_name("knocker.py")), str(port), HOST, HOST6]
        argv += [] if every_s is None else [f"every={every_s}"]
        found = Knocking()
        with process(self.peer, argv, stdin=subprocess.PIPE) as started:
            assert started.stdout is not None
            assert started.stdout.readline() == "knocking\n"
            yield found
            output, messages = started.communicate("", 20)
        assert started.returncode == 0, messages
        told = json.loads(output)
        found.sent, found.through = told["sent"], tuple((kind, at) for kind, at in told["through"])


def listen(host: Host) -> None:
    """Have systemd itself listen: there is nobody who could be too late."""
    for kind, port in (("Stream", OPEN), ("Stream", CLOSED), ("Datagram", CLOSED)):
        name = f"listen-{kind.lower()}-{port}.socket"
        host.write(f"/etc/systemd/system/{name}", _SOCKET.format(kind=kind, port=port))
        host.write(f"/etc/systemd/system/knocked-{port}.service", _KNOCKED.format(port=port))
        host.run(["systemctl", "enable", "--quiet", name])


def configure(host: Host, policy: str = POLICY) -> None:
    """Write the configuration."""
    host.write("/etc/hostfw/hostfw.yaml", SETTINGS)
    host.write("/etc/hostfw/policy.yaml", policy)


def start_service(host: Host) -> None:
    """Start what a boot would have started, and say what the journal knows if that fails."""
    started = host.run(["systemctl", "start", "hostfw-boot", "hostfw"], check=False)
    if started.returncode != 0:
        raise LabError(f"{started.stderr}{host.journal('-u', 'hostfw', '-u', 'hostfw-boot', '-n', '40')}")


def reload(host: Host) -> None:
    """`systemctl reload hostfw`, which must succeed."""
    done = host.run(["systemctl", "reload", "hostfw"], check=False)
    if done.returncode != 0:
        raise LabError(f"{done.stderr}{host.journal('--boot', '-u', 'hostfw', '-n', '40')}")


def was_reached(host: Host, port: int = CLOSED) -> bool:
    """True if a packet has reached who listens at a port, since the host was made."""
    return host.run(["test", "-e", f"/var/tmp/knocked-{port}"], check=False).returncode == 0


def entries(host: Host, kind: MessageId) -> list[tuple[float, str]]:
    """The journal's entries of one kind: time (monotonic) and message, oldest first."""
    text = host.run(["journalctl", "--no-pager", "--quiet", "-o", "json", f"MESSAGE_ID={kind}"]).stdout
    found = [json.loads(line) for line in text.splitlines()]
    return [(int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6, str(entry["MESSAGE"])) for entry in found]


def rules(host: Host) -> str:
    """All that our tables hold, an object a line, but for counts, handles and what sets have learnt from packets."""
    told = json.loads(host.run(["nft", "--stateless", "--json", "list", "ruleset"]).stdout)["nftables"]
    items = [(kind, fields) for item in told for kind, fields in item.items()]
    ours = [(kind, fields) for kind, fields in items if "hostfw" in (fields.get("table"), fields.get("name"))]
    # Objects in the order of their names, rules of a chain in theirs.
    ours.sort(key=lambda item: (item[0], item[1]["family"], item[1].get("chain") or item[1]["name"]))
    return "\n".join(json.dumps({kind: _lasting(fields)}) for kind, fields in ours)


def _lasting(fields: dict[str, object]) -> dict[str, object]:
    """The part of an object that stays until somebody changes it."""
    hidden = {"handle", "packets", "bytes"}
    if str(fields.get("name", "")).startswith("log/"):
        # Who has been logged of late; nft has no word in JSON for sets that packets fill.
        hidden.add("elem")
    return {name: value for name, value in fields.items() if name not in hidden}


def connects(peer: Namespace, port: int, address: str = HOST, timeout_s: float = 1) -> bool:
    """True if the neighbour gets a TCP connection."""
    script = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()"
    argv = [sys.executable, "-c", script, address, str(port), str(timeout_s)]
    return run(peer, argv, check=False).returncode == 0


def eventually(holds: Callable[[], bool], within_s: float, every_s: float = 0.02) -> float | None:
    """The seconds until something held; None if it did not in time."""
    began = monotonic()
    while not holds():
        if monotonic() - began > within_s:
            return None
        sleep(every_s)
    return monotonic() - began
