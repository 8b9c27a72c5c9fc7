"""The outside world as the engine sees it: every effect is one of these, and tests pass their own."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Protocol

from hostfw.host import host_name
from hostfw.host.lock import writer_lock
from hostfw.host.network.connections import connection_cut
from hostfw.host.network.connections.conntrack import Conntrack, KernelConntrack
from hostfw.host.network.sockets import sockets
from hostfw.host.network.sockets.sockets import TcpSocket
from hostfw.host.nftables import named_counters, tables
from hostfw.host.nftables.nf_tables import KernelSet
from hostfw.host.nftables.sets import elements, members, set_digests, set_reloading
from hostfw.host.nftables.tables import KernelTables, Names
from hostfw.host.nftables.writing import block_table
from hostfw.host.nftables.writing.block_table import BlockTable
from hostfw.host.process import processes
from hostfw.host.process.processes import Ancestor
from hostfw.host.store.generations import trial as pending
from hostfw.host.systemd import rollback_timer as watchdog
from hostfw.host.time import clock
from hostfw.host.workloads.reader import WorkloadReader
from hostfw.model.host.baseline import Baseline, Session
from hostfw.model.host.facts import HostFacts, Running
from hostfw.model.host.services import HostServices, PublishedPort
from hostfw.model.plan import Member
from hostfw.model.values import Cidr, Family, TableFamily
from hostfw.nft.declarations import SetName
from hostfw.nft.timed_edit import TimedEdit

if TYPE_CHECKING:
    from hostfw.host.network.interfaces.links import LastReading
    from hostfw.host.network.routing import Routed
    from hostfw.host.nftables.writing.script_runner import Nftables
    from hostfw.nft.worst_packet import Prices


class Lock(Protocol):
    """The right to write, while it is held."""

    def fileno(self) -> int:
        """The descriptor that holds it."""


def _filter_bridges(run_dir: Path, names: Collection[str]) -> None:
    if names:
        from hostfw.host.network.interfaces.bridges import filter_bridges

        filter_bridges(run_dir, names)


def _packet_prices() -> "Prices":
    from hostfw.host.nftables.packet_costs import measured_prices

    return measured_prices()


def _release_bridges(run_dir: Path, names: Collection[str]) -> None:
    from hostfw.host.workloads.noted_bridges import noted_bridges

    if noted_bridges(run_dir).keys() - set(names):
        from hostfw.host.network.interfaces.bridges import release_bridges

        release_bridges(run_dir, names)


def _observe(node: str | None) -> HostFacts:
    # What reads the host is imported by those who do: `compile --facts` and `diff` of nothing need none of it.
    from hostfw.host.network.interfaces.links import observe

    return observe(node)


class _Observing:
    """Observes a host again and again."""

    def __init__(self) -> None:
        self._last: LastReading | None = None
        self._facts: HostFacts | None = None

    def observed(self) -> HostFacts | None:
        """The facts of the last time, with what the kernel sends no message about as it is now; None before."""
        from hostfw.host.network.interfaces.links import observed_again

        return None if self._facts is None else observed_again(self._facts)

    def observe(self, node: str | None) -> HostFacts:
        """The facts of now."""
        from hostfw.host.network.interfaces.links import LastReading, observe

        self._last = LastReading() if self._last is None else self._last
        # What fails leaves no facts that could be taken for those of now.
        self._facts = None
        facts = self._facts = observe(node, last=self._last)
        return facts


def _never_observed() -> None:
    return None


def _baseline() -> Baseline:
    # A look at every process, for the verbs that change what is in force.
    from hostfw.host.network.baseline import collect

    return collect()


def _services() -> HostServices:
    # Another look at every process, and at the tables of other programs.
    from hostfw.host.network.sockets.services import collect

    return collect()


def _published() -> tuple[PublishedPort, ...]:
    from hostfw.host.nftables.nat.published_ports import read_published

    return read_published()


def _published_to_host() -> tuple[PublishedPort, ...]:
    from hostfw.host.nftables.nat.published_ports import read_published_to_host

    return read_published_to_host()


def _sessions_of(inodes: Collection[int]) -> tuple[Session, ...]:
    from hostfw.host.network.baseline import sessions_of

    return sessions_of(inodes)


def _routed(family: Family, address: int) -> "Routed | None":
    from hostfw.host.network.routing import routed

    return routed(family, address)


def _routed_through(family: Family, address: int, source: int, interface: str) -> "Routed | None":
    from hostfw.host.network.routing import routed_through

    return routed_through(family, address, source, interface)


def _forwards(family: Family, interface: str) -> bool:
    from hostfw.host.network.routing import forwards

    return forwards(family, interface)


def _nftables(keep_open: Sequence[int]) -> "Nftables":
    from hostfw.host.nftables.writing.script_runner import NftablesWorker

    return NftablesWorker(keep_open=keep_open)


def _announce_nothing(_: Mapping[str, str]) -> None:
    return None


def _none_running() -> Running:
    return Running()


def _nobody_knows(_since: int, _until: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Directories:
    """The directories of the configuration, of accepted generations (kept across reboots), and of this boot."""

    config: Path = Path("/etc/hostfw")
    state: Path = Path("/var/lib/hostfw")
    run: Path = Path("/run/hostfw")


@dataclass(frozen=True, slots=True)
class Host:
    """The effects of one generation on the host and network namespace that we are in.

    `arm` has a command of a name run after some seconds, whatever becomes of us, and gives what `disarm` takes;
    `hostfwctl` is the command line of hostfwctl itself. `ancestors` are the processes above the caller, `sessions_of`
    the connections that sockets of an ssh server are, `baseline` what can be seen of what the host depends on, and
    `services` what it offers to others. `published` are the ports that other programs' tables translate, and
    `published_to_host` those that they translate of what the host sends itself; `routed` is what routing makes of an
    address, `routed_through` of one in a packet that comes in, and `forwards` whether what comes in on an interface is
    forwarded. `announce` takes a journal entry about what became of a generation. `only_ours` is whether it is known
    that nobody but us touched our tables after one generation of nftables and up to another. `conntrack` is connection
    tracking with the sockets that it may have to learn of, and `wait` lets seconds pass. `read_digests` reads what sets
    and maps hold, `read_links` the interface indices of sets that hold such, and `reload_sets_directly` replaces what a
    set holds at once, without a worker, and `edit_timed` addresses that have a time. `cut_connections` ends the
    connections with an end in some prefixes, and gives how many there were. `read_names` is `read_tables` without the
    rules of regular chains, `read_sets` the sets and maps alone, and `read_members` reads what sets hold that other
    programs fill. `workloads` are those that run now. `filter_bridges` lets what is between the ports of bridges meet
    the hooks of IPv4 and IPv6, and `release_bridges` puts back what others had before. `monotonic` stands still while
    the host sleeps, and `uptime` does not.
    """

    observe: Callable[[str | None], HostFacts] = _observe
    read_tables: Callable[[], KernelTables] = tables.read_tables
    nftables: "Callable[[Sequence[int]], Nftables]" = _nftables
    lock: Callable[[Path], AbstractContextManager[Lock]] = writer_lock
    now: Callable[[], datetime] = clock.now
    monotonic: Callable[[], float] = clock.monotonic
    uptime: Callable[[], float] = clock.uptime
    boot_id: Callable[[], str] = pending.boot_id
    read_tcp_sockets: Callable[[], tuple[TcpSocket, ...]] = sockets.read_tcp_sockets
    ancestors: Callable[[], tuple[Ancestor, ...]] = processes.ancestors
    sessions_of: Callable[[Collection[int]], tuple[Session, ...]] = _sessions_of
    baseline: Callable[[], Baseline] = _baseline
    services: Callable[[], HostServices] = _services
    published: Callable[[], tuple[PublishedPort, ...]] = _published
    published_to_host: Callable[[], tuple[PublishedPort, ...]] = _published_to_host
    routed: "Callable[[Family, int], Routed | None]" = _routed
    routed_through: "Callable[[Family, int, int, str], Routed | None]" = _routed_through
    forwards: Callable[[Family, str], bool] = _forwards
    hostfwctl: Callable[..., Sequence[str]] = watchdog.hostfwctl
    arm: Callable[[str, float, Sequence[str]], str] = watchdog.arm
    disarm: Callable[[str], None] = watchdog.disarm
    read_some: Callable[[Mapping[TableFamily, Names]], KernelTables] = tables.read_some
    read_generation: Callable[[], int] = tables.read_generation
    announce: Callable[[Mapping[str, str]], None] = _announce_nothing
    only_ours: Callable[[int, int], bool] = _nobody_knows
    read_packets: Callable[[Iterable[str]], Mapping[str, int]] = named_counters.read_packets
    read_block: Callable[[], BlockTable | None] = block_table.read_block
    delete_block: Callable[[], bool] = block_table.delete_block
    read_digests: Callable[[Iterable[tuple[TableFamily, KernelSet]]], Mapping[SetName, str]] = set_digests.read_digests
    read_links: Callable[[Iterable[SetName]], Mapping[SetName, tuple[int, ...]]] = set_digests.read_links
    conntrack: Conntrack = field(default_factory=KernelConntrack)
    cut_connections: Callable[[Sequence[Cidr]], int] = connection_cut.cut_connections
    wait: Callable[[float], None] = sleep
    host_name: Callable[[], str] = host_name.read_host_name
    reload_sets_directly: Callable[[Sequence[set_reloading.Contents]], None] = set_reloading.reload_sets_directly
    edit_timed: Callable[[Sequence[TimedEdit]], None] = elements.edit_timed
    read_names: Callable[[], KernelTables] = tables.read_names
    read_sets: Callable[[], KernelTables] = tables.read_sets
    read_members: Callable[[Iterable[SetName]], Mapping[SetName, tuple[Member, ...]]] = members.read_members
    workloads: Callable[[], Running] = _none_running
    observed: Callable[[], HostFacts | None] = _never_observed
    filter_bridges: Callable[[Path, Collection[str]], None] = _filter_bridges
    release_bridges: Callable[[Path, Collection[str]], object] = _release_bridges
    packet_prices: "Callable[[], Prices]" = _packet_prices

    def facts(self, node: str | None, *, same_network: bool = False) -> HostFacts:
        """The facts of the host at this moment; `node` is the name that a setting gives it. Raises HostError.

        With `same_network` the kernel has reported no change since it was observed, and is not asked again.
        """
        # Workloads first: the interface of one that is known by then is there as well.
        running = self.workloads()
        observed = self.observed() if same_network else None
        if observed is None or (node is not None and observed.node != node):
            observed = self.observe(node)
        return replace(observed, now=self.now(), workloads=running.workloads, workload_problems=running.problems)

    def below(self, run_dir: Path) -> "Host":
        """The same host, with the workloads that files below a run directory name; it remembers its last reading."""
        host = replace(self, workloads=WorkloadReader(run_dir).read)
        if self.observe is not _observe:
            return host
        observing = _Observing()
        return replace(host, observe=observing.observe, observed=observing.observed)
