"""Recipes with real engines on whole hosts: what a page shows is written and typed in its order, and packets obey."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hosts.host import Host
from lab.hosts.image import Release
from tests.system.engines import DOCKER, LIBVIRT, images, start_docker
from tests.system.recipes import (
    OFFICE,
    STRANGER,
    answering,
    explained,
    first_connection,
    follow,
    foreign_rules,
    knocking_from,
    opens,
    reaches,
    standing,
    workloads,
)
from tests.system.street import HOST, Street, eventually

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


_SHOP = ["docker-compose", "--file", "/srv/shop/docker-compose.yml"]


def test_the_recipe_of_a_docker_host(docker: Host, street: Street) -> None:
    """Packets go as its table says and as `explain` says, and no denied one passes while projects come and go."""
    host = docker
    with answering(street.peer, (STRANGER, 443), (OFFICE, 443)):
        follow(host, "docker-host")
        web, db, blog = (_container(host, service) for service in ("web", "db", "blog"))
        assert eventually(lambda: list(workloads(host).values()) == ["governed"] * 3, 15, 0.3) is not None
        assert eventually(lambda: opens(street, STRANGER, 8080), 15, 0.3) is not None
        addresses = {name: _address(host, one) for name, one in (("web", web), ("db", db), ("blog", blog))}

        published = [(STRANGER, 8080, True), (STRANGER, 5432, False), (OFFICE, 8080, True), (OFFICE, 5432, True)]
        assert [opens(street, source, port) for source, port, _ in published] == [way[2] for way in published]
        asked = [("explain", source, f"{HOST}:{port}", "--in", "eth0") for source, port, _ in published]
        assert [explained(host, *words[1:]) for words in asked] == [way[2] for way in published]

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
        assert [explained(host, *question) for question in questions] == [way[-1] for way in sent]
        assert "db" in host.run(["docker", "exec", web, "/bin/busybox", "nslookup", "db"]).stdout

        blog_process = int(_docker_says(host, blog, "{{.State.Pid}}"))
        with (
            street.knocking(host, 5432) as outside,
            knocking_from(host, blog_process, 80, addresses["web"], addresses["db"]) as inside_80,
            knocking_from(host, blog_process, 5432, addresses["web"], addresses["db"]) as inside_5432,
        ):
            host.run(["docker", "restart", "--time", "0", web], timeout_s=60)
            host.run([*_SHOP, "down", "--timeout", "0"], timeout_s=120)
            host.run(["docker", "network", "create", "other"], timeout_s=60)
            host.run([*_SHOP, "up", "--detach"], timeout_s=120)
            host.run(["docker", "network", "rm", "other"], timeout_s=60)
            assert eventually(lambda: opens(street, STRANGER, 8080), 15, 0.3) is not None
        assert (outside.through, inside_80, inside_5432) == ((), [], [])
        assert outside.sent > 100

        theirs = foreign_rules(host)
        host.run(["systemctl", "restart", "hostfw"])
        host.run(["hostfwctl", "apply"])
        assert foreign_rules(host) == theirs
        host.run(["hostfwctl", "disable", "--remove-rules"])
        assert foreign_rules(host) == theirs
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
    theirs = foreign_rules(host)
    with first_connection(street.peer, (STRANGER, 80)) as has_come:
        follow(host, "libvirt-guests")
        assert (
            eventually(lambda: workloads(host) == {"shop/web": "governed", "shop/db": "governed"}, 15, 0.3) is not None
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
        assert explained(host, guest, f"{STRANGER}:80") is allowed
    assert not explained(host, db, "192.168.122.50:22")
    assert foreign_rules(host) == theirs
    assert "virbr0" in host.run(["hostfwctl", "status"]).stdout
    host.run(["virsh", "destroy", "web"])
    assert eventually(lambda: list(workloads(host)) == ["shop/db"], 15, 0.3) is not None
