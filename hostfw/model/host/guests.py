"""Workloads as a plan has them, and the bridges that they are behind."""

from dataclasses import dataclass

from hostfw.model.values import Cidr, Family, Mac, merge


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload behind an interface of its own: the addresses that it may send from, and the only `mac` if it has one.

    One that is behind a `port` of a `bridge` has single addresses and a `mac`, and is known by the bridge and address.

    One that is not `identified` may send nothing.
    """

    addresses: tuple[Cidr, ...] = ()
    identified: bool = True
    mac: Mac | None = None
    bridge: str = ""
    port: str = ""

    @property
    def sources(self) -> tuple[Cidr, ...]:
        """The addresses, and those that any neighbour has or uses before it has one."""
        return merge((*self.addresses, *BEFORE_AN_ADDRESS))


BEFORE_AN_ADDRESS = (Cidr(Family.V4, 0, 32), Cidr(Family.V6, 0, 128), Cidr(Family.V6, 0xFE80 << 112, 10))


@dataclass(frozen=True, slots=True)
class GovernedBridge:
    """A bridge of the host whose ports are workloads. `filtered` is whether packets between ports meet policy yet."""

    name: str
    filtered: bool = True
