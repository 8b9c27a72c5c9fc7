"""hostfwctl without a process of its own, on a host and a kernel in memory."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

from hostfw.cli.main import run
from hostfw.engine.context import Host
from hostfw.host.lock import WriterLock
from hostfw.host.network.routing import Routed
from hostfw.host.network.sockets.sockets import TcpSocket
from hostfw.host.nftables.writing.block_table import BlockTable
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.host.process.processes import Ancestor
from hostfw.host.systemd.surroundings import Surroundings
from hostfw.model.host.baseline import Baseline, Session
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import HostServices, PublishedPort
from hostfw.model.plan import Member
from hostfw.model.values import Cidr, Family
from hostfw.nft.declarations import SetName
from hostfw.nft.worst_packet import Prices
from lab.fakes.fake_kernel.kernel import FakeKernel
from lab.fakes.fakes import FakeClock, FakeConntrack
from tests.unit.builders.policy_builders import nets

NEIGHBOURS = Session(Family.V4, 0xCB007109, 0, 0xC0000201, 22, "eth0", own=True)
"""A connection of ssh from a neighbour, 203.0.113.9."""


class Ran(NamedTuple):
    """The exit status of a run, what it printed and what it said."""

    status: int
    out: str
    err: str


def hostfwctl(*arguments: object) -> Ran:
    """Run a command line in this process."""
    out, err = StringIO(), StringIO()
    status = run([str(argument) for argument in arguments], out, err)
    return Ran(status, out.getvalue(), err.getvalue())


FACTS = HostFacts(
    "web1",
    (
        Interface("eth0", 2, ("enp1s0",), addresses=nets("192.0.2.1", "2001:db8::1"), default_route=True),
        Interface("eth1", 3, kind="veth", link_group=7, master="br0", up=False),
        Interface("lo", 1, kind="loopback", addresses=nets("127.0.0.1", "::1")),
    ),
    (("dmz", 7),),
    kernel="6.1.0",
    nft="1.0.6",
)
"""A host with two interfaces and `lo`."""


@dataclass(slots=True)
class Machine:
    """A host in memory, and directories for hostfw on it; what it runs sees nothing else."""

    directory: Path
    facts: HostFacts = FACTS
    kernel: FakeKernel = field(default_factory=FakeKernel)
    clock: FakeClock = field(default_factory=FakeClock)
    boot: str = "boot-1"
    connections: list[TcpSocket] = field(default_factory=list)
    ancestors: tuple[Ancestor, ...] = ()
    blocked: BlockTable | None = None
    conntrack: FakeConntrack = field(default_factory=FakeConntrack)
    baseline: Baseline = field(default_factory=Baseline)
    services: HostServices = field(default_factory=HostServices)
    published_to_host: tuple[PublishedPort, ...] = ()
    packets: dict[str, int] = field(default_factory=dict)
    routes: dict[tuple[Family, int], Routed] = field(default_factory=dict)
    routes_through: dict[tuple[Family, int, str], Routed] = field(default_factory=dict)
    forwards: bool = True
    timers: dict[str, tuple[float, tuple[str, ...]]] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)
    members: dict[SetName, tuple[Member, ...]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The stand-in for /etc/hostfw."""
        return self.directory / "etc"

    def write(self, **files: str) -> None:
        """Write configuration files, by their names without the ending."""
        for name, text in files.items():
            (self.config / f"{name}.yaml").write_text(text)

    def hostfwctl(self, *arguments: object) -> Ran:
        """Run a command line here, with the directory's name taken from what is printed."""
        directories = [f"--{name}-dir={self.directory / folder}" for name, folder in DIRECTORIES]
        status, out, err = hostfwctl(*directories, *arguments)
        return Ran(status, *(text.replace(f"{self.directory}/", "") for text in (out, err)))

    def host(self) -> Host:
        """The effects of this host."""
        return Host(
            self.observed,
            self.kernel.read_tables,
            self.nftables,
            WriterLock,
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            uptime=self.clock.uptime,
            boot_id=lambda: self.boot,
            read_tcp_sockets=lambda: tuple(self.connections),
            ancestors=lambda: self.ancestors,
            arm=self.arm,
            disarm=self.disarm,
            read_names=self.kernel.read_names,
            read_sets=self.kernel.read_sets,
            edit_timed=self.kernel.edit_timed,
            read_members=lambda names: {name: self.members[name] for name in names if name in self.members},
            read_some=self.kernel.read_some,
            read_digests=self.kernel.read_digests,
            read_links=lambda _: {},
            read_generation=self.kernel.read_generation,
            read_block=lambda: self.blocked,
            delete_block=self.delete_block,
            baseline=lambda: self.baseline,
            services=lambda: self.services,
            published=lambda: self.services.published,
            published_to_host=lambda: self.published_to_host,
            routed=lambda family, address: self.routes.get((family, address)),
            routed_through=lambda family, address, _source, into: self.routes_through.get((family, address, into)),
            forwards=lambda _family, _interface: self.forwards,
            packet_prices=lambda: Prices(8, 60, measured=True),
            read_packets=lambda names: {name: self.packets[name] for name in names if name in self.packets},
            sessions_of=self.sessions_of,
            conntrack=self.conntrack,
            cut_connections=self.cut_connections,
            wait=self.clock.wait,
            host_name=lambda: self.facts.node,
            reload_sets_directly=self.kernel.reload_sets,
        )

    def delete_block(self) -> bool:
        """Take away the block, if there is one."""
        there, self.blocked = self.blocked is not None, None
        return there

    def sessions_of(self, inodes: Collection[int]) -> tuple[Session, ...]:
        """A connection of ssh for each of the sockets, all from one neighbour."""
        return tuple(replace(NEIGHBOURS, peer_port=40_000 + inode) for inode in inodes)

    def arm(self, name: str, after_s: float, command: Sequence[str]) -> str:
        """Note what is to run, and when; `timers` has it until it is disarmed."""
        self.timers[name] = (self.clock.monotonic() + after_s, tuple(command))
        return name

    def disarm(self, timers: str) -> None:
        """Let it be."""
        del self.timers[timers]

    def cut_connections(self, nets: Sequence[Cidr]) -> int:
        """Note whose connections are to end."""
        self.cut += map(str, nets)
        return len(nets)

    def observed(self, node: str | None) -> HostFacts:
        """The facts of this host."""
        return self.facts if node is None else HostFacts(node, self.facts.interfaces, self.facts.link_groups)

    def nftables(self, _: Sequence[int]) -> Nftables:
        """The fake that commits here."""
        return self.kernel


DIRECTORIES = (("config", "etc"), ("state", "var"), ("run", "run"))


def machine(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose directories are below `directory`, and on which every verb runs from now on."""
    made = Machine(directory)
    made.config.mkdir()
    monkeypatch.setattr("hostfw.cli.outcomes.Host", made.host)
    monkeypatch.setattr("hostfw.cli.verbs.quick.init.look_at_firewalls", lambda _: Surroundings())
    return made


WEB = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: web
spec:
  order: 10
  selector: role == 'web'
  ingress:
    - action: Allow
      protocol: TCP
      destination:
        ports: [80]
"""
"""A policy that lets the web in."""

UPLINK = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata:
  name: uplink
  labels: {role: web}
spec:
  node: web1
  interfaceName: eth0
"""
"""The endpoint that it selects."""
