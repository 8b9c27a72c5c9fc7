"""Container engines and hypervisors on the hosts of tests: their packages, and images made of busybox alone."""

import json

import pytest

from lab.hosts.host import Host
from lab.hosts.image import Release, root_image
from lab.namespace import LabError

DOCKER = {
    Release.BOOKWORM: ("docker.io", "docker-compose", "iptables", "busybox-static"),
    Release.TRIXIE: ("docker.io", "docker-cli", "docker-compose", "iptables", "busybox-static"),
}
PODMAN = ("podman", "netavark", "aardvark-dns", "iptables", "crun", "conmon", "busybox-static")
LIBVIRT = (
    *("libvirt-daemon-system", "libvirt-clients", "libvirt-daemon-driver-qemu", "libvirt-daemon-config-network"),
    *("qemu-system-x86", "dnsmasq-base", "iptables"),
)
INCUS = ("incus", "iptables", "dnsmasq-base", "busybox-static")
MACHINES = ("systemd-container", "busybox-static")
_TREE = r"""
set -eu
mkdir -p /tmp/image/bin /tmp/image/www
cp /bin/busybox /tmp/image/bin/busybox
for name in sh nc ip nslookup wget; do ln -sf busybox /tmp/image/bin/$name; done
echo hello >/tmp/image/www/index.html
"""

_STORAGE_OF_PODMAN = """\
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
"""


def needs(release: Release, packages: tuple[str, ...]) -> None:
    """Make the root image with these packages; skips the test where that cannot be."""
    try:
        root_image(release, packages)
    except LabError as reason:
        pytest.skip(str(reason))


def configure_podman(host: Host) -> None:
    """Have Podman run where its disk is an overlay already and its control groups are not all its own."""
    host.write("/etc/containers/storage.conf", _STORAGE_OF_PODMAN)
    host.write("/etc/containers/containers.conf", '[containers]\npids_limit = 0\ncgroups = "disabled"\n')


def start_docker(host: Host, **settings: object) -> None:
    """Start dockerd with these settings; skips the test where it cannot run."""
    # Its disk is an overlay already, on which there can be no other.
    host.write("/etc/docker/daemon.json", json.dumps({"storage-driver": "vfs", **settings}))
    if host.run(["systemctl", "restart", "docker"], check=False, timeout_s=120).returncode != 0:
        pytest.skip(f"dockerd does not start here: {host.journal('-u', 'docker', '-n', '5')}")


def images(host: Host, engine: str, **ports: int) -> None:
    """Make an image by each of these names, with `_` for `:`, that answers http at a port of its own."""
    host.run(["sh", "-c", _TREE])
    for name, port in ports.items():
        command = ["/bin/busybox", "httpd", "-f", "-p", str(port), "-h", "/www"]
        change = f"CMD {json.dumps(command)}"
        script = f"tar -C /tmp/image -c . | {engine} import --change '{change}' - {name.replace('_', ':')}"
        host.run(["sh", "-c", script], timeout_s=120)
