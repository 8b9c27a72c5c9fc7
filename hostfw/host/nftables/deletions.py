"""Deletions by netlink: one batch, one transaction.

Before a `delete` libnftables (1.0.6) reads the sets of every table on the host, and dies of what a newer nft noted
there. By name and past it, 20,000 objects go in a fifth of a second.
"""

import errno
from collections.abc import Iterable

from hostfw.host.netlink.batch import Request, sealed
from hostfw.host.netlink.messages import NETLINK_NETFILTER, NFGENMSG, NetlinkError, NetlinkSocket, text, u32, u64
from hostfw.host.nftables.nf_tables import FIRST_SEQUENCE, NFPROTO, OBJ_TYPE, OBJECT_TYPES, SUBSYSTEM, TABLE_NAME
from hostfw.nft.deletion import Deletion, DeletionKind
from hostfw.nft.objects import TABLE

TIMEOUT_S = 60.0
"""Time limit for the kernel."""

_RULE_HANDLE = 3

_KINDS = {
    # The type of the message, and the attribute of the name.
    DeletionKind.RULE: (SUBSYSTEM | 8, 2),
    DeletionKind.RULES: (SUBSYSTEM | 8, 2),
    DeletionKind.CHAIN: (SUBSYSTEM | 5, 3),
    DeletionKind.SET: (SUBSYSTEM | 11, 2),
    DeletionKind.MAP: (SUBSYSTEM | 11, 2),
    DeletionKind.COUNTER: (SUBSYSTEM | 20, 2),
    DeletionKind.TABLE: (SUBSYSTEM | 2, 1),
    DeletionKind.FLOWTABLE: (SUBSYSTEM | 24, 2),
    **dict.fromkeys(OBJECT_TYPES.values(), (SUBSYSTEM | 20, 2)),
}
_TYPES = {kind: number for number, kind in OBJECT_TYPES.items()}


class Deleter:
    """Deletes by a socket that stays open, in the network namespace of whoever deletes first.

    To close one takes until the kernel has freed what was deleted by it, 10 ms, which a switch need not wait for.
    """

    def __init__(self) -> None:
        self._socket: NetlinkSocket | None = None

    def delete(
        self,
        deletions: Iterable[Deletion],
        doing: str = "deleting unused objects",
        generation: int | None = None,
    ) -> None:
        """Delete objects of our tables in order, all or none, if nftables is at this generation, or at any.

        Raises NetlinkError, which names the first that was refused, and ERESTART at another generation.
        """
        every = tuple(deletions)
        if not every:
            return
        batch, last = sealed(map(_request, every), generation)
        if self._socket is None:
            self._socket = NetlinkSocket(NETLINK_NETFILTER, TIMEOUT_S)
        try:
            self._socket.make_room(len(batch))
            self._socket.transact(batch, last, doing)
        except NetlinkError as error:
            # More answers may come, which the next batch must not take for its own.
            self.close()
            refused = error.sequence - FIRST_SEQUENCE - 1
            if not 0 <= refused < len(every):
                raise
            reason, hint = _REASONS.get(error.errno, ("", ""))
            raise NetlinkError(error.errno, str(every[refused]), error.hint or hint, reason) from error

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None


def _request(deletion: Deletion) -> Request:
    kind, name_attribute = _KINDS[deletion.what]
    body = [NFGENMSG.pack(NFPROTO[deletion.family], 0, 0), text(TABLE_NAME, TABLE)]
    if deletion.what is not DeletionKind.TABLE:
        body.append(text(name_attribute, deletion.name))
    if deletion.what in _TYPES:
        body.append(u32(OBJ_TYPE, _TYPES[deletion.what]))
    if deletion.what is DeletionKind.RULE:
        body.append(u64(_RULE_HANDLE, deletion.handle))
    return Request(kind, 0, body)


_REASONS = {
    errno.ENOENT: ("it is gone", "another program changes our tables"),
    errno.EBUSY: ("it is in use", "another program changes our tables"),
}
"""Meaning of the kernel's errors here, and the next step."""
