"""Recipes with real engines on whole hosts: what a page shows is written and typed in its order, and packets obey."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.hosts.host import Host, debian
from lab.hosts.image import Release
from lab.hosts.package import install_package
from lab.namespace import Namespace, process, run
from tests.system.engines import DOCKER, LIBVIRT, images, needs, start_docker
from tests.system.street import HOST, PEER, PEER6, Street, eventually
from tests.unit.project.recipes import PAGES

STRANGER, OFFICE = "198.51.100.9", "10.20.0.5"
"""Addresses of the neighbour."""
_BLOCK = re.compile(r"^```(?:yaml\n# (?P<path>/\S+)\n(?P<text>.*?)|\n(?P<commands>.*?))^```$", re.MULTILINE | re.DOTALL)


def follow(host: Host, page: str) -> None:
    """Do what a page says, from its top to its end: files are written and commands typed, at the console."""
    for block in _BLOCK.finditer((PAGES / f"{page}.md").read_text()):
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
def _first_connection(peer: Namespace, end: tuple[str, int]) -> Iterator[Callable[[], bool]]:
    """A question: True once somebody has connected to an address of the neighbour since the block began."""
    script = "import socket, sys; socket.create_server((sys.argv[1], int(sys.argv[2]))).accept()"
    with process(peer, [sys.executable, "-c", script, end[0], str(end[1])]) as started:
        yield lambda: started.poll() == 0


def reaches(host: Host, container: str, address: str, port: int, engine: str = "docker") -> bool:
    """True if a container gets a TCP connection."""
    asked = [engine, "exec", container, "/bin/busybox", "nc", "-w", "2", address, str(port)]
    return host.run(asked, check=False).returncode == 0


def _opens(street: Street, source: str, port: int, host: str = HOST) -> bool:
    """True if the neighbour gets a connection from one of its addresses."""
    script = (
        "import socket, sys\nsocket.create_connection((sys.argv[2], int(sys.argv[3])), 1.5, (sys.argv[1], 0)).close()\n"
    )
    return run(street.peer, [sys.executable, "-c", script, source, host, str(port)], check=False).returncode == 0


def _workloads(host: Host) -> dict[str, str]:
    """The states of all workloads that hostfw knows, by namespace and name."""
    items = json.loads(host.run(["hostfwctl", "workloads", "-o", "json"]).stdout)["items"]
    return {f"{one['namespace']}/{one['name']}": one["state"] for one in items}


def _explained(host: Host, *question: str) -> bool:
    said = host.run(["hostfwctl", "explain", *question], check=False)
    assert said.stdout.startswith(("allowed", "denied")), said.stdout + said.stderr
    return said.stdout.startswith("allowed")


@contextmanager
def _knocking_from(host: Host, process_id: int, port: int, *addresses: str) -> Iterator[list[tuple[str, float]]]:
    """Knock from the network of a process of the host; what got through is there at the end."""
    host.copy_in(Path(__file__).parents[1] / "knocker.py", "/root/knocker.py")
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


# ------------------------------------------------------------------------------------------------------------ Docker


@pytest.fixture(name="docker")
def _docker(release: Release, street: Street, package: Path) -> Iterator[Host]:
    with standing(release, street, package, DOCKER[release]) as host:
        start_docker(host)
        images(host, "docker", **{"nginx_1.27": 80, "postgres_17": 5432})
        yield host


def _container(host: Host, service: str) -> str:
    """The id of the container of a service of Compose."""
    argv = ["docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.service={service}"]
    return host.run(argv).stdout.strip()


def _docker_says(host: Host, container: str, form: str) -> str:
    return host.run(["docker", "inspect", "--format", form, container]).stdout.strip()


def _address(host: Host, container: str) -> str:
    return _docker_says(host, container, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")


def _rules(host: Host) -> str:
    saved = host.run(["iptables-save"]).stdout + host.run(["ip6tables-save"], check=False).stdout
    return "\n".join(line.partition(" [")[0] for line in saved.splitlines() if not line.startswith("#"))


_SHOP = ["docker-compose", "--file", "/srv/shop/docker-compose.yml"]


def test_the_recipe_of_a_docker_host(docker: Host, street: Street) -> None:
    """Packets go as its table says and as `explain` says, and no denied one passes while projects come and go."""
    host = docker
    with answering(street.peer, (STRANGER, 443), (OFFICE, 443)):
        follow(host, "docker-host")
        web, db, blog = (_container(host, service) for service in ("web", "db", "blog"))
        assert eventually(lambda: list(_workloads(host).values()) == ["governed"] * 3, 15, 0.3) is not None
        assert eventually(lambda: _opens(street, STRANGER, 8080), 15, 0.3) is not None
        addresses = {name: _address(host, one) for name, one in (("web", web), ("db", db), ("blog", blog))}

        published = [(STRANGER, 8080, True), (STRANGER, 5432, False), (OFFICE, 8080, True), (OFFICE, 5432, True)]
        assert [_opens(street, source, port) for source, port, _ in published] == [way[2] for way in published]
        asked = [("explain", source, f"{HOST}:{port}", "--in", "eth0") for source, port, _ in published]
        assert [_explained(host, *words[1:]) for words in asked] == [way[2] for way in published]

        sent = [
            (web, "web", addresses["db"], 5432, True),
            (web, "web", STRANGER, 443, True),
            (web, "web", OFFICE, 443, False),
            (web, "web", HOST, 22, False),
            (web, "web", addresses["blog"], 80, False),
            (db, "db", STRANGER, 443, False),
            (db, "db", addresses["web"], 80, False),
            (blog, "blog", addresses["web"], 80, False),
            (blog, "blog", addresses["db"], 5432, False),
        ]
        assert [reaches(host, one, to, port) for one, _, to, port, _ in sent] == [way[-1] for way in sent]
        questions = [(addresses[name], f"{to}:{port}") for _, name, to, port, _ in sent]
        assert [_explained(host, *question) for question in questions] == [way[-1] for way in sent]
        assert "db" in host.run(["docker", "exec", web, "/bin/busybox", "nslookup", "db"]).stdout

        blog_process = int(_docker_says(host, blog, "{{.State.Pid}}"))
        with (
            street.knocking(host, 5432) as outside,
            _knocking_from(host, blog_process, 80, addresses["web"], addresses["db"]) as inside_80,
            _knocking_from(host, blog_process, 5432, addresses["web"], addresses["db"]) as inside_5432,
        ):
            host.run(["docker", "restart", "--time", "0", web], timeout_s=60)
            host.run([*_SHOP, "down", "--timeout", "0"], timeout_s=120)
            host.run(["docker", "network", "create", "other"], timeout_s=60)
            host.run([*_SHOP, "up", "--detach"], timeout_s=120)
            host.run(["docker", "network", "rm", "other"], timeout_s=60)
            assert eventually(lambda: _opens(street, STRANGER, 8080), 15, 0.3) is not None
        assert (outside.through, inside_80, inside_5432) == ((), [], [])
        assert outside.sent > 100

        theirs = _rules(host)
        host.run(["systemctl", "restart", "hostfw"])
        host.run(["hostfwctl", "apply"])
        assert _rules(host) == theirs
        host.run(["hostfwctl", "disable", "--remove-rules"])
        assert _rules(host) == theirs
        assert reaches(host, _container(host, "db"), STRANGER, 443)


# ----------------------------------------------------------------------------------------------------------- libvirt

_NETWORK = f"""\
<network><name>default</name><forward mode="nat"/><bridge name="virbr0"/>
<dns><host ip="{STRANGER}"><hostname>boot.example</hostname></host></dns>
<ip address="192.168.122.1" netmask="255.255.255.0"><dhcp>
  <range start="192.168.122.100" end="192.168.122.254"/>
  <host mac="52:54:00:aa:00:01" ip="192.168.122.50"/>
  <bootp file="http://boot.example/boot"/>
</dhcp></ip></network>
"""
_GUEST = """\
<domain type="qemu"><name>{name}</name><memory unit="MiB">64</memory><vcpu>1</vcpu>
<os><type arch="x86_64" machine="pc">hvm</type></os>
<devices>
  <emulator>/usr/bin/qemu-system-x86_64</emulator>
  <interface type="network"><source network="default"/><mac address="{mac}"/><model type="e1000"/></interface>
</devices></domain>
"""


@pytest.fixture(name="libvirt")
def _libvirt(release: Release, street: Street, package: Path) -> Iterator[Host]:
    """Guests that are defined and off; their firmware asks for a lease, for a name, and then for a file by http."""
    with standing(release, street, package, LIBVIRT) as host:
        host.write("/root/network.xml", _NETWORK)
        for name, mac in (("web", "52:54:00:aa:00:01"), ("db", "52:54:00:aa:00:02")):
            host.write(f"/root/{name}.xml", _GUEST.format(name=name, mac=mac))
            host.run(["virsh", "define", f"/root/{name}.xml"])
        host.run(["sh", "-c", "virsh net-destroy default; virsh net-undefine default; true"])
        for verb, what in (("net-define", "/root/network.xml"), ("net-start", "default")):
            started = host.run(["virsh", verb, what], check=False)
            if started.returncode != 0:
                pytest.skip(f"libvirt does not start its network here: {started.stderr}")
        yield host


@pytest.mark.alike
def test_the_recipe_of_guests_of_libvirt(libvirt: Host, street: Street) -> None:
    """Guests get leases and names from the host, with an entry in the network or without, and no more than policy.

    Both look for a file on the Internet, where policy lets one of them.
    """
    host = libvirt
    theirs = _rules(host)
    with _first_connection(street.peer, (STRANGER, 80)) as has_come:
        follow(host, "libvirt-guests")
        assert (
            eventually(lambda: _workloads(host) == {"shop/web": "governed", "shop/db": "governed"}, 15, 0.3) is not None
        )
        leases = "/var/lib/libvirt/dnsmasq/virbr0.status"
        assert eventually(lambda: host.read(leases).count('"ip-address"') == 2, 90, 0.5) is not None
        denied = "end-of-tier default (egress)"
        assert eventually(lambda: f"{STRANGER}:80" in host.run(["hostfwctl", "drops"]).stdout, 60, 0.5) is not None
        drops = host.run(["hostfwctl", "drops"]).stdout
        assert eventually(has_come, 60, 0.5) is not None
    of_tcp = [line for line in drops.splitlines() if f"{STRANGER}:80" in line]
    items = json.loads(host.run(["hostfwctl", "workloads", "-o", "json"]).stdout)["items"]
    ((db,),) = (one["ipNetworks"] for one in items if one["name"] == "db")
    assert all(f" {db}:" in line and denied in line for line in of_tcp), drops
    for guest, allowed in (("192.168.122.50", True), (db, False)):
        assert _explained(host, guest, f"{STRANGER}:80") is allowed
    assert not _explained(host, db, "192.168.122.50:22")
    assert _rules(host) == theirs
    assert "virbr0" in host.run(["hostfwctl", "status"]).stdout
    host.run(["virsh", "destroy", "web"])
    assert eventually(lambda: list(_workloads(host)) == ["shop/db"], 15, 0.3) is not None
