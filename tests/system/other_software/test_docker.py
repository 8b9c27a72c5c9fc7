"""Real Docker beside hostfw on one host: its published ports obey policy, and nothing of its tables is changed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hosts.host import Host, debian
from lab.hosts.image import Release
from lab.hosts.package import install_package
from lab.namespace import run
from tests.system.engines import DOCKER, needs, start_docker
from tests.system.street import HOST, HOST6, PEER, PEER6, Street, configure, connects, eventually, start_service

OTHER = "10.77.0.99"
"""Another address of the neighbour, which policy lets in to more."""
FIRST, LAST = 8000, 8019
TO_ALL, TO_OTHER = range(8000, 8006), range(8006, 8012)
"""Of the twenty published ports those that policy opens to all, and to one address."""
SETTINGS = "node: web\n"
POLICY = f"""\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: web-eth0, labels: {{role: web}}}}
spec: {{node: web, interfaceName: eth0}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: published}}
spec:
  selector: role == 'web'
  ingress:
    - {{action: Allow, protocol: TCP, destination: {{ports: ["{TO_ALL[0]}:{TO_ALL[-1]}"]}}}}
    - action: Allow
      protocol: TCP
      source: {{nets: [{OTHER}/32]}}
      destination: {{ports: ["{TO_OTHER[0]}:{TO_OTHER[-1]}"]}}
"""
_IMAGE = r"""
set -eu
mkdir -p /tmp/image/bin /tmp/image/www
cp /bin/busybox /tmp/image/bin/busybox
echo hello >/tmp/image/www/index.html
tar -C /tmp/image -c . | docker import - box >/dev/null
"""


@pytest.fixture
def docker_host(release: Release, street: Street, package: Path) -> Iterator[Host]:
    """A host with hostfw in force and a container that publishes twenty ports."""
    needs(release, DOCKER[release])
    run(street.peer, ["ip", "address", "add", f"{OTHER}/24", "dev", "eth0"])
    with debian(release, "web", [street.uplink()], extra=DOCKER[release]) as host:
        start_docker(host)
        host.run(["sh", "-c", _IMAGE], timeout_s=120)
        install_package(host, package)
        configure(host, POLICY)
        start_service(host)
        _publish(host, "web", f"{FIRST}-{LAST}:{FIRST}-{LAST}")
        yield host


def _publish(host: Host, name: str, ports: str, *options: str) -> None:
    """Run a container that answers at each of the ports."""
    serve = "; ".join(f"/bin/busybox httpd -p {port} -h /www" for port in range(FIRST, LAST + 1))
    argv = ["docker", "run", "--detach", "--name", name, "--publish", ports, *options]
    host.run([*argv, "box", "/bin/busybox", "sh", "-c", f"{serve}; exec /bin/busybox sleep 100000"], timeout_s=120)


def _expected(port: int, source: str) -> bool:
    return port in TO_ALL or (port in TO_OTHER and source == OTHER)


def _open(street: Street, source: str, to: str = HOST) -> set[int]:
    """The published ports that answer an address of the neighbour, all tried at the same time."""
    done = run(street.peer, ["python3", "-c", _KNOCK, to, source, str(FIRST), str(LAST)], timeout_s=30)
    return set(json.loads(done.stdout))


def _open_within(host: Host, to: str, process: str = "") -> set[int]:
    """Those that answer the host itself, or the network of one of its processes."""
    within = ["nsenter", "--target", process, "--net"] if process else []
    done = host.run([*within, "python3", "-c", _KNOCK, to, "", str(FIRST), str(LAST)], timeout_s=30)
    return set(json.loads(done.stdout))


_KNOCK = """
import json, select, socket, sys, time
host, source, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
waiting, found = {}, []
for port in range(first, last + 1):
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if source:
        one.bind((source, 0))
    one.setblocking(False)
    one.connect_ex((host, port))
    waiting[one] = port
end = time.monotonic() + 2
while waiting and time.monotonic() < end:
    _, ready, _ = select.select([], list(waiting), [], 0.2)
    for one in ready:
        port = waiting.pop(one)
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            found.append(port)
print(json.dumps(sorted(found)))
"""


def _theirs(host: Host) -> str:
    """Docker's rules: all tables but ours."""
    saved = host.run(["iptables-save"]).stdout + host.run(["ip6tables-save"], check=False).stdout
    return "\n".join(line.partition(" [")[0] for line in saved.splitlines() if not line.startswith("#"))


def test_ports_that_docker_publishes_obey_policy(docker_host: Host, street: Street) -> None:
    """Twenty ports from in and out of policy: packets, `explain` and policy agree, whatever Docker does meanwhile."""
    host = docker_host
    assert eventually(lambda: bool(_open(street, OTHER)), 20, 0.5) is not None
    theirs = _theirs(host)

    for source in (PEER, OTHER):
        wanted = {port for port in range(FIRST, LAST + 1) if _expected(port, source)}
        assert _open(street, source) == wanted
        said = {
            port
            for port in (TO_ALL[0], TO_OTHER[0], LAST)
            if host.run(
                ["hostfwctl", "explain", source, f"{HOST}:{port}", "--in", "eth0"], check=False
            ).stdout.startswith("allowed")
        }
        assert said == {port for port in (TO_ALL[0], TO_OTHER[0], LAST) if _expected(port, source)}
    host.run(["hostfwctl", "apply"], check=False)
    assert _theirs(host) == theirs
    found = json.loads(host.run(["hostfwctl", "doctor", "-o", "json"], check=False).stdout)["items"]
    assert [item for item in found if item["check"] == "published-port" and item["weight"] == "problem"] == []
    assert len({item["message"] for item in found if item["check"] == "published-port"}) >= LAST - FIRST + 1


@pytest.mark.alike
def test_no_packet_gets_in_while_docker_comes_and_goes(docker_host: Host, street: Street) -> None:
    """A neighbour knocks at a port that policy closes while Docker restarts and makes networks and containers."""
    host = docker_host
    assert eventually(lambda: connects(street.peer, TO_ALL[0]), 20, 0.5) is not None

    with street.knocking(host, LAST) as knocking:
        host.run(["systemctl", "restart", "docker"], timeout_s=120)
        host.run(["docker", "start", "web"], timeout_s=60)
        host.run(["docker", "network", "create", "shop"], timeout_s=60)
        _publish(host, "again", f"8100-8103:{FIRST}-{FIRST + 3}", "--network", "shop")
        host.run(["docker", "rm", "--force", "again"], timeout_s=60)
        host.run(["docker", "network", "rm", "shop"], timeout_s=60)

    assert knocking.sent > 100
    assert knocking.through == ()
    assert eventually(lambda: connects(street.peer, TO_ALL[0]), 20, 0.5) is not None


OTHER6 = "fd77::99"
TO_ANYBODY = range(FIRST, FIRST + 9)
"""The ports that the container's own policy opens to all; it opens the others to one container alone."""
GOVERNED = (
    POLICY
    + f"""\
    - action: Allow
      protocol: TCP
      source: {{nets: ["{OTHER6}/128"]}}
      destination: {{ports: ["{TO_OTHER[0]}:{TO_OTHER[-1]}"]}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: web, namespace: default}}
spec:
  selector: app == 'web'
  ingress:
    - {{action: Allow, protocol: TCP, source: {{selector: app == 'client'}}}}
    - {{action: Allow, protocol: TCP, destination: {{ports: ["{TO_ANYBODY[0]}:{TO_ANYBODY[-1]}"]}}}}
"""
)
_WITH_IPV6 = {"ipv6": True, "fixed-cidr-v6": "fd00:d::/64", "ip6tables": True, "experimental": True}
_ASKED = (8000, 8007, 8010)
"""The ports about which explain is asked: at the edges of what policy tells apart."""


@pytest.fixture
def governed_host(release: Release, street: Street, package: Path) -> Iterator[Host]:
    """A host whose containers obey policy by label as well: `web`, which publishes, `client` and `plain`."""
    needs(release, DOCKER[release])
    run(street.peer, ["ip", "address", "add", f"{OTHER}/24", "dev", "eth0"])
    run(street.peer, ["ip", "address", "add", f"{OTHER6}/64", "dev", "eth0", "nodad"])
    with debian(release, "web", [street.uplink()], extra=DOCKER[release]) as host:
        start_docker(host, **_WITH_IPV6)
        host.run(["sh", "-c", _IMAGE], timeout_s=120)
        install_package(host, package)
        configure(host, GOVERNED)
        host.write("/etc/hostfw/hostfw.yaml", "node: web\nworkloads: {bridges: [docker0]}\n")
        host.run(["systemctl", "enable", "--now", "hostfw-workloads@docker"])
        start_service(host)
        _publish(host, "web", f"{FIRST}-{LAST}:{FIRST}-{LAST}", "--label", "app=web")
        for name in ("client", "plain"):
            argv = ["docker", "run", "--detach", "--name", name, "--label", f"app={name}", "box"]
            host.run([*argv, "/bin/busybox", "sleep", "100000"], timeout_s=60)
        yield host


def _docker_says(host: Host, name: str, form: str) -> str:
    return host.run(["docker", "inspect", "--format", form, name]).stdout.strip()


_ADDRESS, _ADDRESS6 = "{{.NetworkSettings.IPAddress}}", "{{.NetworkSettings.GlobalIPv6Address}}"


def _said(host: Host, source: str, to: str, *where: str) -> set[int]:
    """The ports of those asked about that explain says are open."""
    target = f"[{to}]" if ":" in to else to
    found = set()
    for port in _ASKED:
        done = host.run(["hostfwctl", "explain", source, f"{target}:{port}", *where], check=False)
        assert done.stdout.startswith(("allowed", "denied")), done.stdout + done.stderr
        found |= {port} if done.stdout.startswith("allowed") else set()
    return found


@pytest.mark.alike
def test_published_ports_of_governed_containers_are_as_both_policies_say(governed_host: Host, street: Street) -> None:
    """From outside, from the host, and from containers of the same network, by both IP versions.

    A container asks its host where Docker has its userland proxy, which policy for the host itself denies. Without the
    proxy it goes straight to the other container.
    """
    host, every = governed_host, set(range(FIRST, LAST + 1))
    for has_proxy in (True, False):
        if not has_proxy:
            start_docker(host, **_WITH_IPV6, **{"userland-proxy": False})
            host.run(["docker", "start", "web", "client", "plain"], timeout_s=60)
        assert eventually(lambda: _open(street, PEER) == set(TO_ALL), 20, 0.5) is not None
        assert (
            eventually(lambda: host.run(["hostfwctl", "workloads"]).stdout.count("governed") == 3, 10, 0.2) is not None
        )
        theirs = _theirs(host)
        for family, own, ends in ((_ADDRESS, HOST, (PEER, OTHER)), (_ADDRESS6, HOST6, (PEER6, OTHER6))):
            outside = {ends[0]: set(TO_ALL), ends[1]: {*TO_ALL, *TO_OTHER} & {*TO_ANYBODY}}
            for source, wanted in outside.items():
                assert _open(street, source, own) == wanted, (has_proxy, source)
                assert _said(host, source, own, "--in", "eth0") == wanted.intersection(_ASKED), (has_proxy, source)
            assert _open_within(host, own) == set(TO_ANYBODY), (has_proxy, own)
            assert _said(host, own, own) == set(TO_ANYBODY).intersection(_ASKED), (has_proxy, own)
            for name, straight in (("client", every), ("plain", set(TO_ANYBODY))):
                process, address = _docker_says(host, name, "{{.State.Pid}}"), _docker_says(host, name, family)
                web = _docker_says(host, "web", family)
                assert _open_within(host, web, process) == straight, (has_proxy, name, web)
                assert _said(host, address, web) == straight.intersection(_ASKED), (has_proxy, name, web)
                wanted = set() if has_proxy else straight
                assert _open_within(host, own, process) == wanted, (has_proxy, name, own)
                assert _said(host, address, own) == wanted.intersection(_ASKED), (has_proxy, name, own)
        assert _theirs(host) == theirs
