"""Readers of workloads against engines that behave badly, with real interfaces: the host's ends of veths.

What real engines say is in tests/system. Here one hangs, goes away, or passes on what somebody wrote into a label.
"""

import json
import os
import select
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM
from subprocess import Popen
from time import monotonic, sleep

import pytest

from hostfw.host.workloads.reader import FOLDER, WorkloadReader
from hostfw.workloads.engine_socket import EngineError
from hostfw.workloads.machines import MachinesReader
from lab.fakes.fake_bus import fake_bus, leases
from lab.fakes.fake_engine import FakeEngine, fake_engine
from lab.namespace import Namespace, inside, namespace, process, run

_PATIENCE_S = 12.0
_ROOT = Path(__file__).parents[3]


@dataclass(slots=True)
class Street:
    """A host, and containers behind veths of it. `processes` has one of each container."""

    host: Namespace
    folder: Path
    socket: Path
    stack: ExitStack
    processes: dict[str, int] = field(default_factory=dict)

    def container(self, name: str) -> str:
        """The interface of a new container."""
        inner = self.stack.enter_context(namespace(name))
        self.processes[name] = self.stack.enter_context(process(inner, ["sleep", "1000"])).pid
        run(self.host, ["ip", "link", "add", f"veth-{name}", "type", "veth", "peer", "eth0", "netns", inner.path])
        return f"veth-{name}"

    def running(self) -> Mapping[str, str]:
        """The interfaces of the workloads that hostfw reads, by their names."""
        found = WorkloadReader(self.folder.parent).read()
        assert found.problems == ()
        return {one.metadata.full_name: one.interface_name for one in found.workloads}

    def comes(self, expected: Mapping[str, str]) -> None:
        """Wait until these workloads run, and no others."""
        deadline = monotonic() + _PATIENCE_S
        while self.running() != expected:
            assert monotonic() < deadline, self.running()
            sleep(0.02)

    @contextmanager
    def reader(self, name: str = "docker", *more: str) -> Iterator["Popen[str]"]:
        """The process of a reader."""
        argv = [sys.executable, "-m", "hostfw.workloads", name, "--folder", str(self.folder), *more]
        argv += ["--socket", str(self.socket)] if name == "docker" else []
        with process(self.host, argv, environment={**os.environ, "PYTHONPATH": str(_ROOT)}) as started:
            yield started


@pytest.fixture(name="street")
def _street(tmp_path: Path) -> Iterator[Street]:
    with ExitStack() as stack:
        yield Street(stack.enter_context(namespace("host")), tmp_path / FOLDER, tmp_path / "socket", stack)


def _identity(number: int) -> str:
    return f"{number:064x}"


def _container(number: int, name: str, **more: object) -> dict[str, object]:
    """A container as `/containers/json` lists it."""
    network = {"IPAddress": f"10.0.0.{number}", "GlobalIPv6Address": f"fd00::{number}", "NetworkID": "n" * 64}
    return {
        "Id": _identity(number),
        "Names": [f"/{name}"],
        "Image": "box",
        "ImageID": "sha256:1",
        "Labels": {"app": name},
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"bridge": network}},
        **more,
    }


def _tell(engine: FakeEngine, street: Street, containers: list[dict[str, object]]) -> None:
    """Have an engine say that these containers run, and then that something happened to all."""
    engine.answers["/containers/json"] = json.dumps(containers).encode()
    engine.answers["/networks"] = b"[]"
    engine.answers["/images/sha256%3A1/json"] = b'{"Config":{"Labels":{"of-image":"yes"}}}'
    for one in containers:
        name = str(one["Names"][0]).lstrip("/") if isinstance(one["Names"], list) else ""
        state = {"State": {"Pid": street.processes.get(name, 0)}}
        engine.answers[f"/containers/{one['Id']}/json"] = json.dumps(state).encode()
    engine.tell(b'{"status":"start"}')


def _said(reader: "Popen[str]") -> str:
    """End a reader; gives what it said."""
    reader.send_signal(SIGTERM)
    _, said = reader.communicate(timeout=10)
    return said


def test_a_container_is_known_by_the_interface_that_leads_to_it(street: Street) -> None:
    """With its labels and addresses; the labels of its image do not count; SIGTERM takes it all back."""
    veth = street.container("web")
    with fake_engine(street.socket, {}) as engine, street.reader() as reader:
        _tell(engine, street, [_container(1, "web", Labels={"app": "web", "of-image": "yes"})])
        street.comes({"default/web": veth})

        (one,) = WorkloadReader(street.folder.parent).read().workloads
        assert dict(one.metadata.labels) == {
            "app": "web",
            "name": "web",
            "image": "box",
            "engine": "docker",
            "network": "bridge",
        }
        assert [str(cidr) for cidr in one.networks] == ["10.0.0.1/32", "fd00::1/128"]
        assert one.orchestrator == "docker"
        assert _said(reader) == ""
    assert street.running() == {}


def test_garbage_is_said_and_hides_nothing(street: Street) -> None:
    """Labels of ten megabytes, control characters, what is not text, and what is no container."""
    names = {name: street.container(name) for name in ("web", "big", "odd", "mad")}
    with fake_engine(street.socket, {}) as engine, street.reader() as reader:
        containers = [
            _container(1, "big", Labels={"app": "x" * 10_000_000}),
            _container(
                2, "odd", Labels={"a\nb": "c", "ctl": "a\x1b[31mb", "odd": "\ud800", "n": 7, "app": "odd", "": ""}
            ),
            _container(3, "mad", Labels="none", Image=None, ImageID=[], HostConfig=0),
            _container(4, "gone\n- x: y\x00"),
            _container(5, "none", NetworkSettings={"Networks": {"a": None, "b": {"IPAddress": "nonsense"}}}),
            {"Id": 7, "Names": {}},
            _container(6, "web"),
        ]
        _tell(engine, street, containers)
        street.comes({f"default/{name}": names[name] for name in ("web", "odd", "mad")})

        odd = next(one for one in WorkloadReader(street.folder.parent).read().workloads if one.metadata.name == "odd")
        assert dict(odd.metadata.labels).keys() == {"app", "name", "image", "engine", "network"}
        status = Path(f"/proc/{reader.pid}/status").read_text()
        assert int(status.partition("VmHWM:")[2].split()[0]) < 100 * 1024
        said = _said(reader)
    assert f"container {_identity(1)[:12]}: its description has over 1024 KiB" in said
    assert "\x1b" not in said
    assert all(line.startswith("<") for line in said.splitlines())


def test_what_was_said_holds_while_the_engine_is_away_and_the_interface_is_there(street: Street) -> None:
    """An engine that hangs opens and closes nothing; a container that ends meanwhile is removed all the same."""
    web, db = street.container("web"), street.container("db")
    with street.reader() as reader:
        sleep(0.5)
        assert street.running() == {}
        with fake_engine(street.socket, {}) as engine:
            _tell(engine, street, [_container(1, "web"), _container(2, "db")])
            street.comes({"default/web": web, "default/db": db})
        run(street.host, ["ip", "link", "delete", db])
        street.comes({"default/web": web})
        run(street.host, ["ip", "link", "add", db, "type", "bridge"])
        run(street.host, ["ip", "link", "set", web, "name", "renamed"])
        street.comes({"default/web": "renamed"})
        with fake_engine(street.socket, {}) as engine:
            engine.hanging = True
            sleep(1)
            assert street.running() == {"default/web": "renamed"}
        with fake_engine(street.socket, {}) as engine:
            _tell(engine, street, [])
            street.comes({})
        said = _said(reader)
    assert f"docker: its socket {street.socket} is not there" in said
    assert "docker: it answers again" in said


def test_an_event_is_followed_at_once(street: Street) -> None:
    """A new container, a new name, and one that has another process now."""
    first, second = street.container("web"), street.container("again")
    with fake_engine(street.socket, {}) as engine, street.reader():
        _tell(engine, street, [])
        sleep(1.2)
        began = monotonic()
        _tell(engine, street, [_container(1, "web")])
        street.comes({"default/web": first})
        assert monotonic() - began < 0.5
        _tell(engine, street, [_container(1, "again")])
        street.comes({"default/again": second})


def test_what_an_engine_says_after_its_event_is_read_as_well(street: Street) -> None:
    """Docker 20.10 lists the network of a container a little later than it tells that there is one."""
    web = street.container("web")
    with fake_engine(street.socket, {}) as engine, street.reader():
        _tell(engine, street, [])
        sleep(1.2)
        engine.tell(b'{"status":"start"}')
        sleep(0.1)
        engine.answers["/containers/json"] = json.dumps([_container(1, "web")]).encode()
        engine.answers[f"/containers/{_identity(1)}/json"] = json.dumps(
            {"State": {"Pid": street.processes["web"]}}
        ).encode()
        street.comes({"default/web": web})


def test_a_reader_that_is_killed_takes_over_what_it_wrote(street: Street) -> None:
    """The files stay meanwhile, as the rules do without hostfw's service."""
    web, db = street.container("web"), street.container("db")
    with fake_engine(street.socket, {}) as engine:
        _tell(engine, street, [_container(1, "web"), _container(2, "db")])
        with street.reader() as reader:
            street.comes({"default/web": web, "default/db": db})
            reader.send_signal(SIGKILL)
            reader.wait()
        assert street.running() == {"default/web": web, "default/db": db}
        _tell(engine, street, [_container(2, "db")])
        with street.reader():
            street.comes({"default/db": db})


def test_containers_without_a_network_of_their_own_are_nobody(street: Street) -> None:
    """That of the host, that of another container, and one whose process is in the host's namespace."""
    web = street.container("web")
    street.processes["host"] = street.processes["web"]
    with (
        fake_engine(street.socket, {}) as engine,
        street.reader() as reader,
        process(street.host, ["sleep", "99"]) as own,
    ):
        street.processes["own"] = own.pid
        containers = [
            _container(1, "web"),
            _container(2, "host", HostConfig={"NetworkMode": "host"}),
            _container(3, "side", HostConfig={"NetworkMode": f"container:{_identity(1)}"}),
            _container(4, "own"),
        ]
        _tell(engine, street, containers)
        street.comes({"default/web": web})
        said = _said(reader)
    assert "is governed as the host is" in said
    assert "has the network of another container" in said
    assert "no interface of this host is its own" in said


def _addressed(street: Street, name: str, *addresses: str) -> str:
    """The interface of a new container, up and with these addresses of the host."""
    veth = street.container(name)
    for address in addresses:
        run(street.host, ["ip", "address", "add", address, "dev", veth, "nodad"])
    run(street.host, ["ip", "link", "set", veth, "up"])
    return veth


def test_an_alias_says_whose_an_interface_is(street: Street) -> None:
    """With the addresses of the alias, or those that the host routes there but its own.

    The kernel tells of the alias of an interface that is up; on one that is down nothing happens.
    """
    web = _addressed(street, "web", "10.0.3.1/30", "fd00:3::1/126")
    db = _addressed(street, "db")
    run(street.host, ["ip", "route", "add", "10.9.0.0/24", "dev", web])
    with street.reader("ifalias") as reader:
        run(street.host, ["ip", "link", "set", web, "alias", "hostfw: ns=shop,app=web,nonsense"])
        street.comes({"shop/veth-web": web})
        words = "name=db,ip=10.0.4.2,ip=fd00:4::2,mac=02:00:00:00:00:99"
        run(street.host, ["ip", "link", "set", db, "alias", f"hostfw:{words}"])
        street.comes({"shop/veth-web": web, "default/db": db})

        found = {one.metadata.name: one for one in WorkloadReader(street.folder.parent).read().workloads}
        assert [str(one) for one in found["veth-web"].networks] == [
            "10.0.3.0/32",
            "10.0.3.2/31",
            "10.9.0.0/24",
            "fd00:3::/128",
            "fd00:3::2/127",
        ]
        assert (found["veth-web"].mac, str(found["db"].mac)) == (None, "02:00:00:00:00:99")
        assert dict(found["veth-web"].metadata.labels) == {"app": "web", "engine": "ifalias", "name": "veth-web"}
        assert [str(one) for one in found["db"].networks] == ["10.0.4.2/32", "fd00:4::2/128"]

        run(street.host, ["ip", "link", "set", web, "alias", ""])
        street.comes({"default/db": db})
        run(street.host, ["ip", "link", "delete", db])
        street.comes({})
        said = _said(reader)
    assert 'alias of "veth-web": "nonsense" is not KEY=VALUE' in said


def test_a_machine_is_known_by_its_first_process(street: Street, tmp_path: Path) -> None:
    """With what the host routes to it; those of libvirt, links and files that are something else do not count."""
    folder = tmp_path / "machines"
    folder.mkdir()
    web = _addressed(street, "web", "10.0.3.1/30")
    bare, tap = street.container("bare"), _addressed(street, "tap", "10.0.4.1/30")
    run(street.host, ["ip", "link", "set", bare, "alias", "hostfw: ns=shop,app=db,ip=10.0.5.2"])
    index = (json.loads(run(street.host, ["ip", "-j", "link", "show", tap]).stdout))[0]["ifindex"]
    files = {
        "web": f"NAME=web\nSERVICE=systemd-nspawn\nCLASS=container\nLEADER={street.processes['web']}\nNETIF=1\n",
        "bare": f"NAME=bare\nCLASS=container\nLEADER={street.processes['bare']}\n",
        "vm": f"NAME=vm\nCLASS=vm\nLEADER={os.getpid()}\nNETIF={index} 99999 x\n",
        "qemu-1-db": f"NAME=qemu-1-db\nSERVICE=libvirt-qemu\nLEADER={street.processes['web']}\n",
        "garbage": "LEADER=x\nNETIF\n\x1b=\n",
        "empty": "",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "unit:machine-web.scope").symlink_to("web")

    with inside(street.host):
        reading = MachinesReader(folder).read()

    assert {one.wanted_name: (one.namespace, one.interface, one.networks) for one in reading.workloads} == {
        "web": ("default", web, ("10.0.3.0", "10.0.3.2/31")),
        "bare": ("shop", bare, ("10.0.5.2",)),
        "vm": ("default", tap, ("10.0.4.0", "10.0.4.2/31")),
    }
    labels = {one.wanted_name: dict(one.labels) for one in reading.workloads}
    assert labels["web"] == {"name": "web", "engine": "systemd-nspawn", "class": "container"}
    assert labels["bare"]["app"] == "db"
    assert reading.remarks == ()


def test_a_machine_without_an_address_is_said(street: Street, tmp_path: Path) -> None:
    """Nothing that it says itself would do."""
    street.container("web")
    (tmp_path / "web").write_text(f"LEADER={street.processes['web']}\n")

    with inside(street.host):
        reading = MachinesReader(tmp_path).read()

    assert reading.workloads == ()
    assert 'machine "web": this host routes no address to "veth-web"' in reading.remarks[0]


def _behind(street: Street, bridge: str, name: str, port: str) -> None:
    """A machine behind a port of a bridge, as systemd-nspawn names it."""
    veth = street.container(name)
    run(street.host, ["ip", "link", "set", veth, "name", port, "master", bridge, "up"])


def test_a_machine_behind_a_bridge_has_what_nspawn_and_networkd_gave_it(street: Street, tmp_path: Path) -> None:
    """Its Ethernet address follows from its name, and its address is a lease; aliases come first."""
    run(street.host, ["ip", "link", "add", "vz-shop", "index", "40", "type", "bridge"])
    folder, identity = tmp_path / "machines", tmp_path / "machine-id"
    folder.mkdir()
    identity.write_text("73122f8e0cdc484e8640eb3a497039d2\n")
    web, db = "76:d3:ae:aa:dc:59", "42:12:cb:5b:f8:32"
    for name, port in (("web", "vb-web"), ("db", "vb-db"), ("other", "veth-mine"), ("fixed", "vb-fixed")):
        _behind(street, "vz-shop", name, port)
        text = f"NAME={name}\nSERVICE=systemd-nspawn\nCLASS=container\nLEADER={street.processes[name]}\n"
        (folder / name).write_text(text)
    run(street.host, ["ip", "link", "set", "vb-fixed", "alias", "hostfw: ns=shop,ip=10.0.3.9,mac=02:00:00:00:00:09"])

    with fake_bus(tmp_path / "bus") as bus, inside(street.host):
        bus.answers["/org/freedesktop/network1/link/_340"] = leases((web, "10.0.3.2", 1e12), (db, "10.0.3.3", 1.0))
        reader = MachinesReader(folder, tmp_path / "bus", identity)
        reading = reader.read()
        bus.answers["/org/freedesktop/network1/link/_340"] = leases((web, "10.0.3.2", 1e12), (db, "10.0.3.3", 1e12))
        again = reader.read()
        nameless = MachinesReader(folder, tmp_path / "bus", tmp_path / "missing").read()

    assert {one.wanted_name: (one.namespace, one.interface, one.mac, one.networks) for one in reading.workloads} == {
        "web": ("default", "vb-web", web, ("10.0.3.2",)),
        # A lease that has ended is none.
        "db": ("default", "vb-db", db, ()),
        "fixed": ("shop", "vb-fixed", "02:00:00:00:00:09", ("10.0.3.9",)),
    }
    assert reading.unfinished
    said = " ".join(reading.remarks)
    assert 'machine "db": systemd-networkd gave 42:12:cb:5b:f8:32 behind "vb-db" no address so far; an alias' in said
    # It was started with an interface of its own choice.
    assert 'machine "other": nothing says which Ethernet address and addresses are behind "veth-mine"' in said
    assert {one.wanted_name: one.networks for one in again.workloads}["db"] == ("10.0.3.3",)
    assert not again.unfinished
    assert [one.wanted_name for one in nameless.workloads] == ["fixed"]


def test_a_machine_behind_a_bridge_is_known_at_once_by_a_lease(street: Street, tmp_path: Path) -> None:
    """The reader hears of it, and goes on without the bus, which it finds again."""
    run(street.host, ["ip", "link", "add", "vz-shop", "index", "40", "type", "bridge"])
    folder, identity, path = tmp_path / "machines", tmp_path / "machine-id", tmp_path / "bus"
    folder.mkdir()
    identity.write_text("73122f8e0cdc484e8640eb3a497039d2\n")
    _behind(street, "vz-shop", "web", "vb-web")
    (folder / "web").write_text(f"NAME=web\nSERVICE=systemd-nspawn\nLEADER={street.processes['web']}\n")
    bridge = "/org/freedesktop/network1/link/_340"

    with inside(street.host):
        reader = MachinesReader(folder, path, identity)
        with fake_bus(path) as bus, reader.listen() as events:
            assert reader.read().workloads[0].networks == ()
            bus.answers[bridge] = leases(("76:d3:ae:aa:dc:59", "10.0.3.2", 1e12))
            bus.tell()
            assert select.select([events], [], [], 5)[0]
            events.take()
            assert reader.read().workloads[0].networks == ("10.0.3.2",)
            bus.hang_up()
            assert select.select([events], [], [], 5)[0]
            with pytest.raises(EngineError):
                events.take()
        path.unlink()
        with reader.listen():
            reading = reader.read()
        assert (reading.workloads[0].networks, reading.remarks) == (("10.0.3.2",), ())
