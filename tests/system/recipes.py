"""Recipes of the documentation on whole hosts with real engines: what a page shows is written and typed, and tried."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.hosts.host import Host, debian
from lab.hosts.image import Release
from lab.hosts.package import install_package
from lab.namespace import Namespace, process, run
from tests.system.engines import needs
from tests.system.street import HOST, PEER, PEER6, Street
from tests.unit.project.recipes import PAGES

_COUNTED = re.compile(r'"(?:packets|bytes|handle)": \d+')
STRANGER, OFFICE = "198.51.100.9", "10.20.0.5"
"""Addresses of the neighbour."""
_BLOCK = re.compile(
    r"^```(?:(?:yaml|ini)\n# (?P<path>/\S+)\n(?P<text>.*?)|\n(?P<commands>.*?))^```$", re.MULTILINE | re.DOTALL
)


def follow(host: Host, page: str) -> None:
    """Do what a page says up to what there is to know: write its files, and type its commands at the console."""
    for block in _BLOCK.finditer((PAGES / f"{page}.md").read_text().partition("\n## ")[0]):
        if block["path"]:
            host.write(block["path"], block["text"])
            continue
        for line in block["commands"].splitlines():
            typed = f"{line} --console" if line == "hostfwctl confirm" else line
            host.run(["sh", "-c", typed], timeout_s=180)


@contextmanager
def answering(peer: Namespace, *ends: tuple[str, int]) -> Iterator[None]:
    """Somebody who accepts connections at addresses of the neighbour, for the length of the block."""
    script = (
        "import selectors, socket, sys\nchosen = selectors.DefaultSelector()\n"
        "for end in sys.argv[1:]:\n    address, port = end.rsplit('/', 1)\n"
        "    chosen.register(socket.create_server((address, int(port))), selectors.EVENT_READ)\n"
        "print('ready', flush=True)\n"
        "while True:\n    for key, _ in chosen.select():\n        key.fileobj.accept()[0].close()\n"
    )
    argv = [sys.executable, "-c", script, *(f"{address}/{port}" for address, port in ends)]
    with process(peer, argv) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        yield


@contextmanager
def standing(release: Release, street: Street, package: Path, extra: Sequence[str]) -> Iterator[Host]:
    """A host with an engine and hostfw, which are not configured yet, and the neighbour at its addresses."""
    needs(release, tuple(extra))
    for address in (STRANGER, OFFICE):
        run(street.peer, ["ip", "address", "add", f"{address}/32", "dev", "lo"])
    with debian(release, "web", [street.uplink()], extra=tuple(extra)) as host:
        host.run(["ip", "route", "add", "default", "via", PEER])
        host.run(["ip", "route", "add", "default", "via", PEER6])
        install_package(host, package)
        yield host


@contextmanager
def first_connection(peer: Namespace, end: tuple[str, int]) -> Iterator[Callable[[], bool]]:
    """A question: True once somebody has connected to an address of the neighbour since the block began."""
    script = "import socket, sys; socket.create_server((sys.argv[1], int(sys.argv[2]))).accept()"
    with process(peer, [sys.executable, "-c", script, end[0], str(end[1])]) as started:
        yield lambda: started.poll() == 0


def reaches(host: Host, container: str, address: str, port: int, engine: str = "docker") -> bool:
    """True if a container gets a TCP connection."""
    asked = [engine, "exec", container, "/bin/busybox", "nc", "-w", "2", address, str(port)]
    return host.run(asked, check=False).returncode == 0


def opens(street: Street, source: str, port: int, host: str = HOST) -> bool:
    """True if the neighbour gets a connection from one of its addresses."""
    script = (
        "import socket, sys\nsocket.create_connection((sys.argv[2], int(sys.argv[3])), 1.5, (sys.argv[1], 0)).close()\n"
    )
    return run(street.peer, [sys.executable, "-c", script, source, host, str(port)], check=False).returncode == 0


def workloads(host: Host) -> dict[str, str]:
    """The states of all workloads that hostfw knows, by namespace and name."""
    items = json.loads(host.run(["hostfwctl", "workloads", "-o", "json"]).stdout)["items"]
    return {f"{one['namespace']}/{one['name']}": one["state"] for one in items}


def explained(host: Host, *question: str) -> bool:
    """True if `explain` says that a packet is allowed."""
    said = host.run(["hostfwctl", "explain", *question], check=False)
    assert said.stdout.startswith(("allowed", "denied")), said.stdout + said.stderr
    return said.stdout.startswith("allowed")


@contextmanager
def knocking_from(host: Host, process_id: int, port: int, *addresses: str) -> Iterator[list[tuple[str, float]]]:
    """Knock from the network of a process of the host; what got through is there at the end."""
    host.copy_in(Path(__file__).with_name("knocker.py"), "/root/knocker.py")
    argv = ["nsenter", "--target", str(process_id), "--net", "python3", "/root/knocker.py", str(port), *addresses]
    through: list[tuple[str, float]] = []
    with host.process([*argv, "every=0.005"], stdin=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "knocking\n"
        yield through
        output, messages = started.communicate("", 20)
    assert started.returncode == 0, messages
    told = json.loads(output)
    assert told["sent"] > 50
    through += [(kind, at) for kind, at in told["through"]]


def foreign_rules(host: Host) -> str:
    """The rules of all other programs, without what they count: those of iptables in its own words as well."""
    told = json.loads(host.run(["nft", "--stateless", "--json", "list", "ruleset"]).stdout)["nftables"]
    items = [(kind, fields) for item in told for kind, fields in item.items() if kind != "metainfo"]
    theirs = [(kind, fields) for kind, fields in items if "hostfw" not in (fields.get("table"), fields.get("name"))]
    of_nft = [_COUNTED.sub("", json.dumps({kind: fields})) for kind, fields in theirs]
    saved = "".join(host.run(["sh", "-c", f"{word} || true"]).stdout for word in ("iptables-save", "ip6tables-save"))
    of_iptables = [line.partition(" [")[0] for line in saved.splitlines() if not line.startswith("#")]
    return "\n".join([*sorted(of_nft), *of_iptables])
