"""Readers of workloads beside the real engines, on whole hosts: what they write is what runs."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic, sleep

import pytest
import yaml

from lab.hosts.host import Host, debian
from lab.hosts.image import Release, root_image
from lab.hosts.package import install_package
from lab.namespace import LabError
from tests.system.street import Street

_PATIENCE_S = 15.0
_DOCKER = {
    Release.BOOKWORM: ("docker.io", "iptables", "busybox-static"),
    Release.TRIXIE: ("docker.io", "docker-cli", "iptables", "busybox-static"),
}
_IMAGES = r"""
set -eu
mkdir -p /tmp/image/bin
cp /bin/busybox /tmp/image/bin/busybox
tar -C /tmp/image -c . | docker import - box >/dev/null
tar -C /tmp/image -c . | docker import --change 'LABEL app=web vendor=acme' - labelled >/dev/null
"""
_CREATE_WITH_BIG_LABEL = """
import http.client, json, socket
class Engine(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/docker.sock")
engine = Engine("localhost")
body = {"Image": "box", "Cmd": ["/bin/busybox", "sleep", "9999"], "Labels": {"big": "x" * 10_000_000}}
engine.request("POST", "/containers/create?name=big", json.dumps(body), {"Content-Type": "application/json"})
identity = json.load(engine.getresponse())["Id"]
engine.request("POST", f"/containers/{identity}/start")
assert engine.getresponse().status == 204
"""


@pytest.fixture(name="docker")
def _docker(release: Release, street: Street, package: Path) -> Iterator[Host]:
    """A host with Docker, hostfw, and the reader that follows it."""
    try:
        root_image(release, _DOCKER[release])
    except LabError as reason:
        pytest.skip(str(reason))
    with debian(release, "web", [street.uplink()], extra=_DOCKER[release]) as host:
        # Its disk is an overlay already, on which there can be no other.
        settings = {"storage-driver": "vfs", "ipv6": True, "fixed-cidr-v6": "fd00:d::/64", "live-restore": True}
        host.write("/etc/docker/daemon.json", json.dumps(settings))
        if host.run(["systemctl", "restart", "docker"], check=False, timeout_s=120).returncode != 0:
            pytest.skip(f"dockerd does not start here: {host.journal('-u', 'docker', '-n', '5')}")
        host.run(["sh", "-c", _IMAGES], timeout_s=120)
        install_package(host, package)
        host.run(["systemctl", "enable", "--now", "hostfw-workloads@docker"])
        yield host


def _files(host: Host) -> dict[str, dict[str, object]]:
    """The WorkloadEndpoints that are written now, by their namespaces and names."""
    text = host.run(
        ["sh", "-c", "for f in /run/hostfw/workloads/*.yaml; do echo ---; cat $f; done"], check=False
    ).stdout
    documents = [one for one in yaml.safe_load_all(text) if one is not None]
    return {f"{one['metadata']['namespace']}/{one['metadata']['name']}": one for one in documents}


def _comes(host: Host, *names: str) -> dict[str, dict[str, object]]:
    """Wait until workloads of these names are written, and no others."""
    deadline = monotonic() + _PATIENCE_S
    while (found := _files(host)).keys() != set(names):
        assert monotonic() < deadline, (sorted(found), host.journal("-u", "hostfw-workloads@docker", "-n", "20"))
        sleep(0.05)
    return found


def _run(host: Host, name: str, *options: str, image: str = "box") -> None:
    host.run(
        ["docker", "run", "--detach", "--name", name, *options, image, "/bin/busybox", "sleep", "9999"], timeout_s=60
    )


def _is_right(host: Host, found: Mapping[str, dict[str, object]], name: str, container: str, network: str) -> None:
    """Hold what is written against what Docker says, and against the interface within the container."""
    spec = found[name]["spec"]
    assert isinstance(spec, dict)
    said_of_it = json.loads(host.run(["docker", "inspect", container]).stdout)[0]
    endpoint = said_of_it["NetworkSettings"]["Networks"][network]
    assert spec["ipNetworks"] == [one for one in (endpoint["IPAddress"], endpoint["GlobalIPv6Address"]) if one]
    peer = host.read(f"/sys/class/net/{spec['interfaceName']}/iflink").strip()
    inside = host.run(["nsenter", "-t", str(said_of_it["State"]["Pid"]), "-n", "ip", "-j", "address"]).stdout
    (link,) = [one for one in json.loads(inside) if one["ifindex"] == int(peer)]
    assert spec["mac"] == link["address"] == endpoint["MacAddress"]
    assert spec["ipNetworks"][0] in {one["local"] for one in link["addr_info"]}


def test_a_reader_writes_what_docker_runs(docker: Host) -> None:
    """Whatever happens to a container: its file is right, for IPv4 and IPv6."""
    host = docker
    assert host.run(["systemctl", "is-active", "hostfw-workloads@docker"]).stdout.strip() == "active"

    _run(host, "shop_web_1", "--label", "app=web", "--label", "note=a b", "--label", "com.docker.compose.project=shop")
    found = _comes(host, "shop/shop-web-1")
    _is_right(host, found, "shop/shop-web-1", "shop_web_1", "bridge")
    assert found["shop/shop-web-1"]["metadata"]["labels"] == {  # type: ignore[index]
        "app": "web",
        "com.docker.compose.project": "shop",
        "engine": "docker",
        "image": "box",
        "name": "shop_web_1",
        "network": "bridge",
        "note": "a_b",
    }

    host.run(["docker", "network", "create", "--ipv6", "--subnet", "fd00:e::/64", "backend"], timeout_s=60)
    host.run(["docker", "network", "connect", "backend", "shop_web_1"])
    found = _comes(host, "shop/shop-web-1", "shop/shop-web-1.backend")
    _is_right(host, found, "shop/shop-web-1.backend", "shop_web_1", "backend")
    _is_right(host, found, "shop/shop-web-1", "shop_web_1", "bridge")
    host.run(["docker", "rename", "shop_web_1", "front"])
    _comes(host, "shop/front", "shop/front.backend")
    host.run(["docker", "network", "disconnect", "backend", "front"])
    _comes(host, "shop/front")

    host.run(["docker", "restart", "--time", "0", "front"], timeout_s=60)
    _is_right(host, _comes(host, "shop/front"), "shop/front", "front", "bridge")
    _run(host, "db", "--network", "backend", image="labelled")
    found = _comes(host, "shop/front", "default/db")
    _is_right(host, found, "default/db", "db", "backend")
    assert found["default/db"]["metadata"]["labels"] == {  # type: ignore[index]
        "engine": "docker",
        "image": "labelled",
        "name": "db",
        "network": "backend",
    }
    host.run(["docker", "stop", "--time", "0", "front"], timeout_s=60)
    _comes(host, "default/db")
    host.run(["docker", "start", "front"], timeout_s=60)
    _is_right(host, _comes(host, "shop/front", "default/db"), "shop/front", "front", "bridge")
    host.run(["docker", "rm", "--force", "front", "db"], timeout_s=60)
    _comes(host)


@pytest.mark.alike
def test_an_engine_in_trouble_opens_and_closes_nothing(docker: Host) -> None:
    """It hangs, restarts, ends, and has a label of ten megabytes; the journal tells."""
    host = docker
    _run(host, "web")
    host.run(["python3", "-c", _CREATE_WITH_BIG_LABEL])
    _run(host, "db")
    _comes(host, "default/web", "default/db")
    assert "its description has over 1024 KiB" in host.journal("-u", "hostfw-workloads@docker")

    before = _files(host)
    host.run(["systemctl", "kill", "--signal=STOP", "docker"])
    sleep(8)
    assert _files(host) == before
    host.run(["systemctl", "kill", "--signal=CONT", "docker"])
    host.run(["docker", "rm", "--force", "db"], timeout_s=60)
    _comes(host, "default/web")
    # Its containers go on meanwhile.
    host.run(["systemctl", "restart", "docker"], timeout_s=120)
    _comes(host, "default/web")
    host.run(["systemctl", "reload", "hostfw-workloads@docker"])
    host.run(["docker", "rm", "--force", "web", "big"], timeout_s=60)
    _comes(host)
    _run(host, "again")
    _comes(host, "default/again")
    host.run(["systemctl", "stop", "docker.socket", "docker", "hostfw-workloads@docker"], timeout_s=120)
    _comes(host)
