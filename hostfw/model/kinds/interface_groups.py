"""InterfaceGroups: interfaces by what they are."""

from dataclasses import dataclass

from hostfw.model.kinds.metadata import Metadata
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.values import Cidr, Learned


@dataclass(frozen=True, slots=True)
class InterfaceMatch:
    """One entry of an InterfaceGroup; every field that is set must hold.

    `name` is a glob over the name and the alternative names; `link_group` a number or a name of
    /etc/iproute2/group; `address_in` holds if any address of the interface lies in any of the prefixes. Of addresses
    and default routes those count that an administrator set, and those that came in a way of `learned`.
    """

    name: str | None = None
    kind: str | None = None
    link_group: int | str | None = None
    master: str | None = None
    address_in: tuple[Cidr, ...] = ()
    default_route: bool | None = None
    position: Position = NOWHERE
    learned: tuple[Learned, ...] = ()


@dataclass(frozen=True, slots=True)
class InterfaceGroup:
    """Interfaces by what they are: in the group if any entry of `match` holds and none of `except_`."""

    metadata: Metadata
    match: tuple[InterfaceMatch, ...] = ()
    except_: tuple[InterfaceMatch, ...] = ()
