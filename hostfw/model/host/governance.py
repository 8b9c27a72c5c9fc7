"""The recorded governance of a host's interfaces, which later changes of facts do not take away.

A record knows an interface again under another name, on this boot by its index and on the next by its hardware address.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.time.expiry import Expired

_BORROWING = frozenset(("vlan", "macvlan", "ipvlan", "bridge", "bond", "team"))
"""Kinds of interfaces that have the hardware address of another one."""

MOST_ABSENT = 32
"""Most virtual interfaces that are remembered after they are gone: containers come under new names without end."""


@dataclass(frozen=True, slots=True)
class GovernedInterface:
    """An interface of the host and the HostEndpoint that governs it.

    `claim` is what the HostEndpoint says of its interfaces, as text; equal texts claim alike. `index` (IFLA_IFINDEX) is
    0 while the host does not have the interface, and after a reboot until it is found again. `kept` is empty while the
    HostEndpoint claims the interface; otherwise it is why it does not any more, and `since` when that was noticed.
    """

    name: str
    endpoint: str
    claim: str
    index: int = 0
    kind: str = ""
    mac: str = ""
    permanent_mac: str = ""
    master: str | None = None
    kept: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Governance:
    """The name of the node that a generation was accepted for, and the interfaces that it governs one by one.

    `node` is empty where none is recorded; `node_of_host` is whether HostEndpoints name it and no setting does, so that
    it was the host's own name. `boot` is what indices count within. Interfaces that belong to a HostEndpoint with
    `interfaceName: "*"` are not recorded: it governs whatever no other one does.

    `expired` is what has expired, and stays so whatever becomes of the clock; `applied` is when a person last put a
    configuration into force. A clock that is behind that is wrong.
    """

    node: str = ""
    interfaces: tuple[GovernedInterface, ...] = ()
    boot: str = ""
    node_of_host: bool = False
    expired: tuple[Expired, ...] = ()
    applied: datetime | None = None

    @property
    def kept(self) -> tuple[GovernedInterface, ...]:
        """The interfaces that no HostEndpoint claims any more."""
        return tuple(interface for interface in self.interfaces if interface.kept)

    def without_indices(self) -> "Governance":
        """The same for another boot or network namespace, where indices name other interfaces."""
        return replace(self, interfaces=tuple(replace(interface, index=0) for interface in self.interfaces))


NOTHING_GOVERNED = Governance()
"""The record of a host for which nothing was accepted."""


class InterfaceLookup:
    """The interfaces of a host by what some records know them by, so that to find thousands takes one look at each."""

    def __init__(self, facts: HostFacts, records: Iterable[GovernedInterface]) -> None:
        """For these records; a host with a thousand interfaces may have one record, or none."""
        sought = {key for record in records for key in _keys(record) if key[1]}
        values = {value for _, value in sought}
        self._by_key: defaultdict[tuple[str, str | int], list[Interface]] = defaultdict(list)
        may_be_meant = [
            one
            for one in (facts.interfaces if values else ())
            if one.index in values or one.name in values or one.mac in values or one.permanent_mac in values
        ]
        for interface in may_be_meant:
            for key in _keys(interface):
                if key in sought:
                    self._by_key[key].append(interface)

    def found_again(self, record: GovernedInterface) -> Interface | None:
        """The interface that a record is about, or None while the host does not have it.

        It may have another name (`ip link set name`), another hardware address (a port of a bond has that of the bond),
        or after a reboot another index, but not all of these.
        """
        index, name, permanent_mac, mac = (self._alike(key, record) for key in _keys(record))
        for found in (
            [i for i in index if i.name == record.name or _same_hardware(i, record)],
            permanent_mac,
            name,
            [i for i in mac if not record.index and i.kind not in _BORROWING],
        ):
            if len(found) == 1:
                return found[0]
        return None

    def _alike(self, key: tuple[str, str | int], record: GovernedInterface) -> list[Interface]:
        return [i for i in self._by_key.get(key, ()) if i.kind == record.kind and _may_be(i, record)]


def _keys(one: Interface | GovernedInterface) -> tuple[tuple[str, str | int], ...]:
    return ("index", one.index), ("name", one.name), ("permanent_mac", one.permanent_mac), ("mac", one.mac)


def _may_be(interface: Interface, record: GovernedInterface) -> bool:
    """True if a device may be the recorded one: two of which both have a permanent address differ by it."""
    return not (record.permanent_mac and interface.permanent_mac) or record.permanent_mac == interface.permanent_mac


def _same_hardware(interface: Interface, record: GovernedInterface) -> bool:
    return interface.mac == record.mac or bool(record.permanent_mac)


def remembered(absent: Iterable[GovernedInterface]) -> tuple[GovernedInterface, ...]:
    """The records of interfaces that are gone which are kept: all of devices, the last of virtual ones."""
    records = tuple(absent)
    virtual = [record for record in records if not record.permanent_mac]
    forgotten = frozenset(virtual[: max(len(virtual) - MOST_ABSENT, 0)])
    return tuple(record for record in records if record not in forgotten)
