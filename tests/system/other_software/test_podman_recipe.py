"""The recipe of a Podman host on a whole host: policy by label within a network, between networks, and at ports."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hosts.host import Host
from lab.hosts.image import Release
from tests.system.engines import PODMAN, configure_podman, images
from tests.system.recipes import (
    OFFICE,
    STRANGER,
    answering,
    explained,
    follow,
    foreign_rules,
    knocking_from,
    opens,
    reaches,
    standing,
    workloads,
)
from tests.system.street import HOST, Street, eventually

_WEB, _DB, _BLOG = "10.89.0.2", "10.89.0.3", "10.89.1.2"
"""The addresses of the page, which Podman gives in the order of the starts."""
_AGAIN = ["--detach", "--name", "web", "--label", "app=web", "--network", "shop", "--publish", "8080:80", "nginx:1.27"]


@pytest.fixture(name="podman")
def _podman(release: Release, street: Street, package: Path) -> Iterator[Host]:
    with standing(release, street, package, PODMAN) as host:
        configure_podman(host)
        images(host, "podman", **{"nginx_1.27": 80, "postgres_17": 5432})
        yield host


def _process(host: Host, container: str) -> int:
    return int(host.run(["podman", "inspect", "--format", "{{.State.Pid}}", container]).stdout)


@pytest.mark.alike
def test_the_recipe_of_a_podman_host(podman: Host, street: Street) -> None:
    """Packets go as its table says and as `explain` says, and no denied one passes while containers come and go."""
    host = podman
    with answering(street.peer, (STRANGER, 443), (OFFICE, 443)):
        follow(host, "podman-host")
        names = ("web", "db", "blog")
        expected = {f"default/{name}": "governed" for name in names}
        assert eventually(lambda: workloads(host) == expected, 15, 0.3) is not None, workloads(host)
        assert eventually(lambda: opens(street, STRANGER, 8080), 15, 0.3) is not None
        given = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        found = [host.run(["podman", "inspect", "--format", given, name]).stdout.strip() for name in names]
        assert found == [_WEB, _DB, _BLOG]

        published = [(STRANGER, 8080, True), (STRANGER, 5432, False), (OFFICE, 8080, True), (OFFICE, 5432, True)]
        assert [opens(street, source, port) for source, port, _ in published] == [way[2] for way in published]
        asked = [(source, f"{HOST}:{port}", "--in", "eth0") for source, port, _ in published]
        assert [explained(host, *words) for words in asked] == [way[2] for way in published]

        sent = [
            ("web", _DB, 5432, True),
            ("web", STRANGER, 443, True),
            ("web", OFFICE, 443, False),
            ("web", HOST, 22, False),
            ("web", _BLOG, 80, False),
            ("db", STRANGER, 443, False),
            ("db", _WEB, 80, False),
            ("blog", _WEB, 80, False),
            ("blog", _DB, 5432, False),
            ("blog", STRANGER, 443, True),
        ]
        assert [reaches(host, one, to, port, "podman") for one, to, port, _ in sent] == [way[-1] for way in sent]
        of = {"web": _WEB, "db": _DB, "blog": _BLOG}
        assert [explained(host, of[one], f"{to}:{port}") for one, to, port, _ in sent] == [way[-1] for way in sent]
        assert _DB in host.run(["podman", "exec", "web", "/bin/busybox", "nslookup", "db"]).stdout
        ports = {item["port"] for item in _exposure(host) if item["target"]}
        assert {8080, 5432} <= ports

        with (
            street.knocking(host, 5432) as outside,
            knocking_from(host, _process(host, "blog"), 80, _WEB, _DB) as inside_80,
            knocking_from(host, _process(host, "blog"), 5432, _WEB, _DB) as inside_5432,
        ):
            host.run(["podman", "restart", "--time", "0", "db"], timeout_s=60)
            host.run(["podman", "rm", "--force", "--time", "0", "web"], timeout_s=60)
            host.run(["systemctl", "restart", "podman.socket"])
            host.run(["podman", "network", "create", "other"])
            host.run(["podman", "run", *_AGAIN], timeout_s=60)
            host.run(["podman", "network", "rm", "other"])
            host.run(["systemctl", "restart", "hostfw-workloads@podman"])
            assert eventually(lambda: opens(street, STRANGER, 8080), 15, 0.3) is not None
        assert (outside.through, inside_80, inside_5432) == ((), [], [])
        assert outside.sent > 100

        theirs = foreign_rules(host)
        assert theirs
        host.run(["systemctl", "restart", "hostfw"])
        host.run(["hostfwctl", "apply"])
        assert foreign_rules(host) == theirs
        host.run(["hostfwctl", "disable", "--remove-rules"])
        assert foreign_rules(host) == theirs
        assert reaches(host, "db", STRANGER, 443, "podman")


def _exposure(host: Host) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(host.run(["hostfwctl", "exposure", "-o", "json"]).stdout)["items"]
    return found
