"""Readers of workloads beside the real engines, on whole hosts: what they write is what runs, and policy follows it."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import pytest
import yaml

from lab.hosts.host import Host, debian
from lab.hosts.image import Release
from lab.hosts.package import install_package
from lab.namespace import run
from tests.system.engines import DOCKER, INCUS, LIBVIRT, MACHINES, PODMAN, configure_podman, needs, start_docker
from tests.system.street import HOST, PEER, Street, connects, eventually, start_service

_PATIENCE_S = 15.0
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
    needs(release, DOCKER[release])
    with debian(release, "web", [street.uplink()], extra=DOCKER[release]) as host:
        start_docker(host, **{"ipv6": True, "fixed-cidr-v6": "fd00:d::/64", "live-restore": True})
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


def _is_said(host: Host, reader: str, sentence: str) -> bool:
    return sentence in host.journal("-u", f"hostfw-workloads@{reader}")


def _run(host: Host, name: str, *options: str, image: str = "box", engine: str = "docker") -> None:
    argv = [engine, "run", "--detach", "--name", name, *options, image, "/bin/busybox", "sleep", "9999"]
    host.run(argv, timeout_s=60)


def _is_right(
    host: Host,
    found: Mapping[str, dict[str, object]],
    name: str,
    container: str,
    network: str,
    engine: str = "docker",
) -> None:
    """Hold what is written against what the engine says, and against the interface within the container."""
    spec = found[name]["spec"]
    assert isinstance(spec, dict)
    said_of_it = json.loads(host.run([engine, "inspect", container]).stdout)[0]
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


@pytest.fixture(name="podman")
def _podman(release: Release, street: Street, package: Path) -> Iterator[Host]:
    """A host with Podman, hostfw, and the reader that follows it."""
    needs(release, PODMAN)
    with debian(release, "web", [street.uplink()], extra=PODMAN) as host:
        configure_podman(host)
        host.run(["sh", "-c", _IMAGES.replace("docker", "podman")], timeout_s=120)
        _run(host, "trial", engine="podman")
        host.run(["podman", "rm", "--force", "--time", "0", "trial"])
        install_package(host, package)
        host.run(["systemctl", "enable", "--now", "podman.socket", "hostfw-workloads@podman"])
        yield host


def test_a_reader_writes_what_podman_runs(podman: Host) -> None:
    """By its socket that is compatible with Docker's; its service ends when nobody asks, and begins again."""
    host = podman
    _run(host, "shop_web_1", "--label", "app=web", "--label", "io.podman.compose.project=shop", engine="podman")
    found = _comes(host, "shop/shop-web-1")
    _is_right(host, found, "shop/shop-web-1", "shop_web_1", "podman", "podman")
    assert found["shop/shop-web-1"]["metadata"]["labels"] == {  # type: ignore[index]
        "app": "web",
        "engine": "podman",
        "image": "box_latest",
        "io.podman.compose.project": "shop",
        "name": "shop_web_1",
        "network": "podman",
    }
    subnets = ["--subnet", "10.89.5.0/24", "--ipv6", "--subnet", "fd00:5::/64"]
    host.run(["podman", "network", "create", *subnets, "backend"])
    host.run(["podman", "network", "connect", "backend", "shop_web_1"])
    _run(host, "db", "--network", "backend", image="labelled", engine="podman")
    found = _comes(host, "shop/shop-web-1", "shop/shop-web-1.backend", "default/db")
    _is_right(host, found, "shop/shop-web-1.backend", "shop_web_1", "backend", "podman")
    _is_right(host, found, "default/db", "db", "backend", "podman")
    assert "app" not in found["default/db"]["metadata"]["labels"]  # type: ignore[index]
    _run(host, "side", "--network", "container:db", engine="podman")
    _run(host, "none", "--network", "none", engine="podman")
    _run(host, "host", "--network", "host", engine="podman")
    for sentence in ('container "side": has the network of another container', 'container "host": has the network of'):
        assert eventually(partial(_is_said, host, "podman", sentence), 10) is not None
    _comes(host, "shop/shop-web-1", "shop/shop-web-1.backend", "default/db")
    host.run(["podman", "rm", "--force", "--time", "0", "side", "none", "host"])

    host.run(["podman", "stop", "--time", "0", "shop_web_1"])
    before = _comes(host, "default/db")
    host.run(["systemctl", "kill", "--signal=KILL", "podman"])
    sleep(2)
    assert _files(host) == before
    host.run(["podman", "start", "shop_web_1"])
    found = _comes(host, "shop/shop-web-1", "shop/shop-web-1.backend", "default/db")
    _is_right(host, found, "shop/shop-web-1", "shop_web_1", "podman", "podman")
    host.run(["podman", "rm", "--all", "--force", "--time", "0"])
    _comes(host)


_GUEST = """\
<domain type="qemu"><name>db_1</name><memory unit="MiB">64</memory><vcpu>1</vcpu>
<metadata><hostfw:workload xmlns:hostfw="https://hostfw.io/libvirt/1" namespace="shop">
  <hostfw:label key="app" value="db"/>
</hostfw:workload></metadata>
<os><type arch="x86_64" machine="pc">hvm</type></os>
<devices>
  <emulator>/usr/bin/qemu-system-x86_64</emulator>
  <interface type="network">
    <source network="default"/><mac address="52:54:00:aa:00:01"/><model type="e1000"/>
  </interface>
</devices></domain>
"""
_ENTRY = '<host mac="52:54:00:aa:00:01" name="db" ip="192.168.122.50"/>'


@pytest.fixture(name="libvirt")
def _libvirt(release: Release, street: Street, package: Path) -> Iterator[Host]:
    """A host with libvirt and QEMU, its default network, hostfw, and the reader that follows guests."""
    needs(release, LIBVIRT)
    with debian(release, "web", [street.uplink()], extra=LIBVIRT) as host:
        started = host.run(["virsh", "net-start", "default"], check=False)
        if started.returncode != 0 and "already active" not in started.stderr:
            pytest.skip(f"libvirt does not start its network here: {started.stderr}")
        install_package(host, package)
        host.run(["systemctl", "enable", "--now", "hostfw-workloads@libvirt"])
        yield host


def test_a_guest_of_libvirt_is_known_once_libvirt_gave_it_an_address(libvirt: Host) -> None:
    """By an entry of the network and by a lease: its firmware asks for one, as it looks for a server to start from."""
    host = libvirt
    host.write("/root/guest.xml", _GUEST)
    host.run(["virsh", "net-update", "default", "add", "ip-dhcp-host", _ENTRY, "--live"])
    host.run(["virsh", "create", "/root/guest.xml"])
    found = _comes(host, "shop/db-1")
    assert found["shop/db-1"]["metadata"]["labels"] == {  # type: ignore[index]
        "app": "db",
        "engine": "libvirt",
        "name": "db_1",
        "network": "default",
    }
    expected = {
        "orchestrator": "libvirt",
        "interfaceName": "vnet0",
        "mac": "52:54:00:aa:00:01",
        "ipNetworks": ["192.168.122.50"],
    }
    assert found["shop/db-1"]["spec"] == expected
    leases = "/var/lib/libvirt/dnsmasq/virbr0.status"
    assert eventually(lambda: "192.168.122." in host.read(leases), 40, 0.5) is not None
    # dnsmasq knows the entry, so that the lease is for the same address.
    assert _comes(host, "shop/db-1")["shop/db-1"]["spec"] == expected

    host.run(["virsh", "net-update", "default", "delete", "ip-dhcp-host", _ENTRY, "--live"])
    sleep(1)
    assert _comes(host, "shop/db-1")["shop/db-1"]["spec"] == expected
    host.run(["virsh", "destroy", "db_1"])
    _comes(host)


_FILTER = '<filter name="known"><rule action="accept" direction="inout" priority="500"><all/></rule></filter>'
_HOOK = Path(__file__).parents[3] / "examples/libvirt-hook/qemu"
_FILTERED = """\
<filterref filter="known"><parameter name="IP" value="192.168.122.50"/></filterref>
"""
_GOVERNED = 'workloads: {bridges: ["virbr0"]}\n'


def test_the_hook_of_libvirt_names_a_guest_while_it_runs(libvirt: Host) -> None:
    """The example as it is, run by libvirt with its own XML: behind its bridge the guest is known by its port."""
    host = libvirt
    host.run(["systemctl", "disable", "--now", "hostfw-workloads@libvirt"])
    host.run(["mkdir", "-p", "/etc/libvirt/hooks"])
    host.write("/etc/libvirt/hooks/qemu", _HOOK.read_text(), 0o755)
    host.run(["systemctl", "restart", "libvirtd"])
    host.write("/root/filter.xml", _FILTER)
    host.run(["virsh", "nwfilter-define", "/root/filter.xml"])
    host.write("/root/guest.xml", _GUEST.replace('<model type="e1000"/>', f'<model type="e1000"/>{_FILTERED}'))
    host.write("/etc/hostfw/hostfw.yaml", _GOVERNED)
    host.run(["hostfwctl", "apply", "--accept-loss"])
    host.run(["systemctl", "start", "hostfw"])
    host.run(["virsh", "create", "/root/guest.xml"])
    _comes(host, "vms/db-1-0")
    listed = host.run(["hostfwctl", "workloads"]).stdout
    assert re.search(r"^vms/db-1-0 +vnet0 +192\.168\.122\.50 .*governed$", listed, re.MULTILINE), listed
    host.run(["virsh", "destroy", "db_1"])
    _comes(host)


_IMAGE_OF_INCUS = r"""
set -eu
incus admin init --minimal
cd /tmp
for folder in bin sbin proc sys dev tmp run etc root; do mkdir -p image/rootfs/$folder; done
cp /bin/busybox image/rootfs/bin/busybox
cat >image/rootfs/sbin/init <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b ip link set eth0 up
$b udhcpc -i eth0 -s /lease -b -t 60 -T 1
$b httpd -p 80 -h /
exec $b sleep 9999
END
cat >image/rootfs/lease <<'END'
#!/bin/busybox sh
b=/bin/busybox
case $1 in
bound|renew)
    $b ip address replace $ip/$mask dev $interface
    $b ip route replace default via ${router%% *}
    echo "nameserver $dns" >/etc/resolv.conf
esac
END
chmod +x image/rootfs/sbin/init image/rootfs/lease
printf 'architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  os: Box\n  release: one\n' >image/metadata.yaml
tar -C image -czf box.tar.gz metadata.yaml rootfs
incus image import box.tar.gz --alias box
"""


_POLICY_OF_INSTANCES = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: uplink}}
spec: {interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: uplink}
spec: {selector: role == 'uplink', types: [Ingress, Egress], egress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec:
  selector: app == 'web'
  types: [Ingress, Egress]
  egress: [{action: Allow}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: default}
spec:
  selector: app == 'db'
  types: [Ingress, Egress]
  ingress: [{action: Allow, protocol: TCP, source: {selector: app == 'web'}, destination: {ports: [80]}}]
"""


def test_instances_of_incus_obey_policy_by_the_addresses_that_incus_gave_them(
    release: Release, street: Street, package: Path
) -> None:
    """Behind their bridge, with leases and names. Privileged, since the hosts of tests have no other users."""
    if release is Release.BOOKWORM:
        pytest.skip("Debian 12 has no package of Incus")
    needs(release, INCUS)
    with debian(release, "web", [street.uplink()], extra=INCUS) as host:
        made = host.run(["sh", "-c", _IMAGE_OF_INCUS], check=False, timeout_s=120)
        if made.returncode != 0:
            pytest.skip(f"Incus does not run here: {made.stderr}")
        install_package(host, package)
        host.write("/etc/hostfw/hostfw.yaml", "node: web\nworkloads: {bridges: [incusbr0]}\n")
        host.write("/etc/hostfw/policy.yaml", _POLICY_OF_INSTANCES)
        start_service(host)
        host.run(["systemctl", "enable", "--now", "hostfw-workloads@incus"])
        network = json.loads(host.run(["incus", "query", "/1.0/networks/incusbr0"]).stdout)
        address = network["config"]["ipv4.address"].rpartition(".")[0] + ".50"
        options = ["-c", "user.app=db", "-c", "security.privileged=true", "-d", f"eth0,ipv4.address={address}"]
        host.run(["incus", "launch", "box", "db-1", *options], timeout_s=120)

        found = _comes(host, "default/db-1")["default/db-1"]
        assert found["metadata"]["labels"] == {  # type: ignore[index]
            "app": "db",
            "engine": "incus",
            "image": "Box_one",
            "name": "db-1",
            "network": "incusbr0",
        }
        spec = found["spec"]
        assert isinstance(spec, dict)
        assert spec["ipNetworks"][0] == address
        state = json.loads(host.run(["incus", "query", "/1.0/instances/db-1/state"]).stdout)
        assert (spec["interfaceName"], spec["mac"]) == tuple(
            state["network"]["eth0"][key] for key in ("host_name", "hwaddr")
        )

        host.run(
            ["incus", "launch", "box", "web-1", "-c", "user.app=web", "-c", "security.privileged=true"], timeout_s=120
        )
        _comes(host, "default/db-1", "default/web-1")
        assert eventually(partial(_has_lease, host), 30, 0.3) is not None
        web = next(one for one in _files(host)["default/web-1"]["spec"]["ipNetworks"] if "." in one)  # type: ignore[index]
        assert eventually(partial(_opens, host, "web-1", address, 80), 15, 0.3) is not None
        assert not _opens(host, "web-1", address, 81)
        assert not _opens(host, "db-1", web, 80)
        assert not _opens(host, "web-1", HOST, 22)
        assert _opens(host, "web-1", PEER, 5999)
        assert not _opens(host, "db-1", PEER, 5999)
        assert address in host.run(["incus", "exec", "web-1", "--", "/bin/busybox", "nslookup", "db-1.incus"]).stdout
        for end, to, verdict in ((web, f"{address}:80", "allowed"), (address, f"{web}:80", "denied")):
            explained = host.run(["hostfwctl", "explain", end, to], check=False)
            assert explained.stdout.startswith(verdict), explained.stdout + explained.stderr
        host.run(["incus", "delete", "--force", "db-1", "web-1"], timeout_s=60)
        _comes(host)


def _has_lease(host: Host) -> bool:
    """True once an instance with an address that nobody chose has one."""
    spec = _files(host)["default/web-1"]["spec"]
    assert isinstance(spec, dict)
    return any("." in one for one in spec["ipNetworks"])


def _opens(host: Host, instance: str, address: str, port: int) -> bool:
    """True if an instance gets a connection; of a port without a server, if it hears so."""
    asked = ["incus", "exec", instance, "--", "/bin/busybox", "nc", "-w", "2", address, str(port)]
    done = host.run(asked, check=False)
    return done.returncode == 0 or "refused" in done.stderr


_MACHINE, _MACHINES_NET = "10.0.3.2", "10.0.3.0/28"
_POLICY_OF_MACHINES = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: uplink}}
spec: {interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: app == 'web'
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
"""
_ROOT_OF_A_MACHINE = """
set -eu
root=/var/lib/machines/web
for folder in bin usr/bin sbin etc proc sys dev run tmp root; do mkdir -p $root/$folder; done
cp /bin/busybox $root/bin/busybox
cp /bin/busybox $root/usr/bin/busybox
echo ID=box >$root/etc/os-release
echo hello >$root/index.html
"""
_IN_A_MACHINE = (
    f"b=/bin/busybox; $b ip address add {_MACHINE}/28 dev host0; $b ip link set host0 up; "
    "$b ip route add default via 10.0.3.1; $b httpd -p 80 -h /; $b httpd -p 81 -h /; exec $b sleep 9999"
)


@pytest.fixture(name="machines")
def _machines(release: Release, street: Street, package: Path) -> Iterator[Host]:
    """A host with systemd-machined, hostfw in force, and the reader that follows machines."""
    needs(release, MACHINES)
    run(street.peer, ["ip", "route", "add", _MACHINES_NET, "via", HOST])
    with debian(release, "web", [street.uplink()], extra=MACHINES) as host:
        host.run(["sh", "-c", _ROOT_OF_A_MACHINE])
        host.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        # It would give each machine a network of its choice as well.
        host.run(["ln", "-s", "/dev/null", "/etc/systemd/network/80-container-ve.network"])
        host.run(["systemctl", "restart", "systemd-networkd"])
        install_package(host, package)
        host.write("/etc/hostfw/hostfw.yaml", 'node: web\nworkloads: {interfaces: ["ve-*"]}\n')
        host.write("/etc/hostfw/policy.yaml", _POLICY_OF_MACHINES)
        start_service(host)
        host.run(["systemctl", "enable", "--now", "hostfw-workloads@machines"])
        yield host


def test_a_machine_of_nspawn_is_known_and_policy_follows_it(machines: Host, street: Street, package: Path) -> None:
    """From its start to its end, with packets: closed until it is named, and as policy says from then on.

    An upgrade has the reader begin anew, and leaves its files.
    """
    host = machines
    nspawn = ["systemd-nspawn", "--quiet", "--register=yes", "--network-veth", "--machine=web", "-D"]
    command = [*nspawn, "/var/lib/machines/web", "/bin/busybox", "sh", "-c", _IN_A_MACHINE]
    host.run(["systemd-run", "--quiet", "--unit=web", *command])
    has_link = ["ip", "link", "show", "ve-web"]
    assert eventually(lambda: host.run(has_link, check=False).returncode == 0, 10) is not None
    host.run(["ip", "address", "add", "10.0.3.1/28", "dev", "ve-web"])
    host.run(["ip", "link", "set", "ve-web", "up"])
    _comes(host, "default/web")
    assert not connects(street.peer, 80, _MACHINE)

    host.run(["ip", "link", "set", "ve-web", "alias", "hostfw: ns=shop,app=web"])
    found = _comes(host, "shop/web")
    assert found["shop/web"]["spec"] == {
        "orchestrator": "machined",
        "interfaceName": "ve-web",
        "ipNetworks": ["10.0.3.0", "10.0.3.2/31", "10.0.3.4/30", "10.0.3.8/29"],
    }
    assert eventually(lambda: connects(street.peer, 80, _MACHINE), 10) is not None
    assert not connects(street.peer, 81, _MACHINE)
    for port, verdict in ((80, "allowed"), (81, "denied")):
        explained = host.run(["hostfwctl", "explain", PEER, f"{_MACHINE}:{port}", "--in", "eth0"], check=False)
        assert explained.stdout.startswith(verdict), explained.stdout + explained.stderr
    (item,) = json.loads(host.run(["hostfwctl", "workloads", "-o", "json"]).stdout)["items"]
    assert (item["namespace"], item["name"], item["state"], item["policies"]) == (
        "shop",
        "web",
        "governed",
        ["shop/web"],
    )
    described = host.run(["hostfwctl", "describe", "workload", "shop/web"]).stdout
    assert "ve-web" in described
    assert "shop/web" in host.run(["hostfwctl", "get", "wep"]).stdout

    status = ["stat", "--format=%i %z", "/run/hostfw/workloads/machines.shop.web.yaml"]
    written = host.run(status).stdout
    install_package(host, package)
    assert host.run(status).stdout == written

    host.run(["machinectl", "terminate", "web"])
    _comes(host)
