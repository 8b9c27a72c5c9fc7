"""Deletions by netlink: one batch, one transaction.

Before a `delete` libnftables (1.0.6) reads the sets of every table on the host, and dies of what a newer nft noted
there. By name and past it, 20,000 objects go in a fifth of a second.
"""

import errno
from collections.abc import Iterable

from hostfw.host.netlink.batch import BatchSocket, Request
from hostfw.host.netlink.messages import NFGENMSG, NetlinkError, text, u32, u64
from hostfw.host.nftables.nf_tables import FIRST_SEQUENCE, NFPROTO, OBJ_TYPE, OBJECT_TYPES, SUBSYSTEM, TABLE_NAME
from hostfw.nft.deletion import Deletion, DeletionKind
from hostfw.nft.objects import TABLE

_RULE_HANDLE = 3

_KINDS = {
    # The type of the message, and the attribute of the name.
    DeletionKind.RULE: (SUBSYSTEM | 8, 2),
    DeletionKind.RULES: (SUBSYSTEM | 8, 2),
    DeletionKind.CHAIN: (SUBSYSTEM | 5, 3),
    DeletionKind.SET: (SUBSYSTEM | 11, 2),
    DeletionKind.MAP: (SUBSYSTEM | 11, 2),
    DeletionKind.ELEMENTS: (SUBSYSTEM | 14, 2),
    DeletionKind.COUNTER: (SUBSYSTEM | 20, 2),
    DeletionKind.TABLE: (SUBSYSTEM | 2, 1),
    DeletionKind.FLOWTABLE: (SUBSYSTEM | 24, 2),
    **dict.fromkeys(OBJECT_TYPES.values(), (SUBSYSTEM | 20, 2)),
}
_TYPES = {kind: number for number, kind in OBJECT_TYPES.items()}


def delete(
    batches: BatchSocket,
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
    try:
        batches.send(map(_request, every), doing, generation)
    except NetlinkError as error:
        refused = error.sequence - FIRST_SEQUENCE - 1
        if not 0 <= refused < len(every):
            raise
        reason, hint = _REASONS.get(error.errno, ("", ""))
        raise NetlinkError(error.errno, str(every[refused]), error.hint or hint, reason) from error


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
