"""Effects that the service needs beyond those of the engine: sources of events, and sinks for what it reports."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hostfw.daemon.audit.log_reader import AuditHost
from hostfw.daemon.expiries import Alarm
from hostfw.engine.context import Host
from hostfw.host.host_name import HostNameEvents
from hostfw.host.journal.writer import Journal
from hostfw.host.network.interfaces.link_events import LinkEvents, LinkListener
from hostfw.host.nftables.events import NftEvents, NftListener
from hostfw.host.nftables.writing.script_runner import Nftables, NftablesWorker
from hostfw.host.time.clock_alarm import ClockAlarm


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The dependencies of a service; tests pass their own.

    `worker` makes an nftables worker, one for the engine and one for base protection; `started` is called with its
    process ids.
    """

    journal: Journal
    worker: Callable[..., Nftables] = NftablesWorker
    host: Host = field(default_factory=Host)
    audit: AuditHost = field(default_factory=AuditHost)
    listen_nft: Callable[[], NftListener] = NftEvents
    listen_links: Callable[[], LinkListener] = LinkEvents
    listen_name: Callable[[], HostNameEvents] = HostNameEvents
    listen_clock: Callable[[], Alarm] = ClockAlarm
