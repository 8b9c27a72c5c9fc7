"""The panic button: it blocks all traffic except current ssh sessions, until it is released.

A block needs neither lock nor daemon. It is one transaction on a table outside of all generations, so it takes effect
at once, whoever is writing; changes, rollbacks and repairs go on below it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hostfw.engine.outcomes import UNCHANGED, UNKNOWN, Failed, failed, refusal
from hostfw.engine.reading.block_state import BlockContext
from hostfw.host.errors import HostError
from hostfw.host.nftables.writing.block_table import BlockTable
from hostfw.host.nftables.writing.script_runner import NftFailure
from hostfw.host.store.block import BlockRecord, forget_block, load_block, save_block
from hostfw.host.store.codec import StateError, Unreadable
from hostfw.journal.notices import host_blocked, host_unblocked
from hostfw.model.host.baseline import Baseline, Session
from hostfw.model.values import address_text
from hostfw.nft.block import block_script, boot_block_script, inexpressible

BELOW_A_BLOCK = "the host is blocked: this counts once `hostfwctl unblock` is run"
NO_SESSION = Failed(
    "no ssh session was found: nothing would pass but lo, and nobody could come in by ssh to end it",
    "`hostfwctl lockdown --all` blocks everything anyway, `hostfwctl deny ADDRESS` blocks one address",
)
"""The refusal to shut everybody out."""
UNCONFIRMABLE = Failed(
    "the host is blocked, so no new connection could confirm it",
    "`hostfwctl unblock` first, or leave out --confirm-within: nothing of it counts before",
)
"""The answer to a change with a deadline while the host is blocked."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The host is blocked. `kept` are the sessions that go on; `unsaved` says what does not outlive a reboot."""

    record: BlockRecord
    kept: tuple[Session, ...]
    warnings: tuple[str, ...] = ()
    unsaved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unblocked:
    """The host is not blocked any more; `before` is what the block had dropped, None if there was no block.

    `unsaved` says what does not outlive a reboot.
    """

    before: BlockTable | None
    since: datetime | None = None
    unsaved: tuple[str, ...] = ()


def block(
    context: BlockContext, baseline: Baseline, *, everything: bool = False, for_s: int | None = None
) -> Blocked | Failed:
    """Block the host now, whether or not it is; with `everything` not even ssh sessions go on.

    Packets come first: what cannot be written down does not keep them from it. A block that ends after `for_s` seconds
    is begun only once something is sure to end it. The timer of an earlier block ends with that: it would end this one.
    """
    sessions = () if everything else baseline.sessions
    if not sessions and not everything:
        return NO_SESSION
    now = context.host.now()
    record = BlockRecord(
        now,
        everything,
        tuple(map(session_text, sessions)),
        context.host.boot_id(),
        block_script(sessions, baseline.leases, everything=everything),
        boot_block_script(sessions, baseline.leases, everything=everything),
        None if for_s is None else now + timedelta(seconds=for_s),
        until_uptime_s=None if for_s is None else context.host.uptime() + for_s,
    )
    try:
        # Of one who may not block, nft says no more than that it failed.
        context.host.read_block()
        record = _with_timer(context, record)
    except HostError as error:
        return failed(error)
    earlier = _remembered(context)
    stopped = _enforce(context, record.script)
    if stopped is not None:
        _stop_timer(context, record)
        return stopped
    _stop_timer(context, earlier)
    context.host.announce(host_blocked(record.kept, everything=everything))
    warnings = () if everything else tuple(map(_unkept_lease, inexpressible(baseline.leases)))
    try:
        save_block(context.directories.state, record)
    except StateError as error:
        return Blocked(record, sessions, warnings, (f"{error.message}: a reboot ends the block",))
    return Blocked(record, sessions, warnings)


def unblock(context: BlockContext, if_until: str | None = None) -> Unblocked | Failed:
    """Take the block away, if there is one. It is forgotten first, so that nothing puts it back.

    A disk that will not forget it keeps nobody from being let go. With `if_until` it is only a block that ends at that
    moment, in ISO 8601, and any if none is on record: its record may never have been written.
    """
    record = _remembered(context)
    if if_until is not None and record is not None and not _ends_at(record, if_until):
        return Unblocked(None)
    unsaved: tuple[str, ...] = ()
    try:
        before = context.host.read_block()
        try:
            forget_block(context.directories.state)
        except StateError as error:
            unsaved = (f"{error.message}: the next boot blocks the host again",)
        context.host.delete_block()
    except HostError as error:
        return failed(error)
    if if_until is None:
        # With it, it is the timer that calls.
        _stop_timer(context, record)
    if before is not None:
        context.host.announce(host_unblocked(sum(dict(before.dropped).values())))
    return Unblocked(before, record.at if record is not None else None, unsaved)


def restore_block(context: BlockContext) -> bool | Failed:
    """Put a block back that another program took away, as by `nft flush ruleset`; False if that was not needed.

    One whose time is over ends instead. After a reboot no timer is left that would end it, so another one is begun.
    """
    try:
        record = load_block(context.directories.state)
        if record is None:
            return False
        left_s = _left_s(context, record)
        if record.until is not None and left_s is not None and left_s <= 0:
            ended = unblock(context, record.until.isoformat())
            return ended if isinstance(ended, Failed) else True
        if record.until is not None and record.boot_id != context.host.boot_id():
            # The clock may be wrong so soon after a boot: its end follows the clock from here on.
            boot_id = context.host.boot_id()
            record = replace(record, boot_id=boot_id, script=record.boot_script, until_uptime_s=None)
            record = _with_timer(context, record)
            try:
                save_block(context.directories.state, record)
            except StateError:
                # The next look begins another one.
                _stop_timer(context, record)
                raise
        if context.host.read_block() is not None:
            return False
    except HostError as error:
        return failed(error)
    return _enforce(context, record.script_of(context.host.boot_id())) or True


def end_block_in_time(context: BlockContext) -> float | Failed | None:
    """End a block whose time is over; gives the seconds that it still has, None where none is to end by itself.

    Its timer counts neither sleep nor what was set of the clock. Raises HostError.
    """
    record = load_block(context.directories.state)
    left_s = None if record is None else _left_s(context, record)
    if record is None or record.until is None or left_s is None or left_s > 0:
        return left_s
    ended = unblock(context, record.until.isoformat())
    return ended if isinstance(ended, Failed) else None


def _remembered(context: BlockContext) -> BlockRecord | None:
    """The block on record; None where it cannot be read either, which keeps nobody from blocking or being let go."""
    try:
        return load_block(context.directories.state)
    except Unreadable:
        return None


def _with_timer(context: BlockContext, record: BlockRecord) -> BlockRecord:
    """Have a block end at its moment, whatever becomes of us; gives it with its timer. Raises HostError."""
    if record.until is None:
        return record
    directories, until = context.directories, record.until
    command = context.host.hostfwctl(
        f"--state-dir={directories.state.absolute()}",
        f"--run-dir={directories.run.absolute()}",
        "unblock",
        f"--if-until={until.isoformat()}",
    )
    after_s = _left_s(context, record) or 0.0
    from uuid import uuid4  # it loads 17 ms of modules, and status reads blocks without setting a timer

    return replace(record, timer=context.host.arm(f"hostfw-lockdown-{uuid4()}", after_s, command))


def _left_s(context: BlockContext, record: BlockRecord) -> float | None:
    return record.left_s(context.host.now(), context.host.boot_id(), context.host.uptime())


def _stop_timer(context: BlockContext, record: BlockRecord | None) -> None:
    if record is not None and record.timer:
        context.host.disarm(record.timer)


def _ends_at(record: BlockRecord, moment: str) -> bool:
    return record.until is not None and record.until.isoformat() == moment


def session_text(session: Session) -> str:
    """A session for people: who, and at which port."""
    own = " (this one)" if session.own else ""
    return f"{address_text(session.family, session.peer)} port {session.peer_port} to port {session.local_port}{own}"


def _unkept_lease(interface: str) -> str:
    return f"DHCP on the interface {interface!r} is blocked as well: nftables cannot match its name"


def _enforce(context: BlockContext, script: str) -> Failed | None:
    try:
        nftables = context.host.nftables(())
    except HostError as error:
        return failed(error)
    try:
        result = nftables.check(script)
        if result.ok:
            result = nftables.commit(script)
    except NftFailure as failure:
        return Failed(failure.message, failure.hint, UNCHANGED if failure.unchanged else UNKNOWN)
    finally:
        nftables.close()
    return None if result.ok else Failed(f"nft refused the block: {refusal(result)}")
