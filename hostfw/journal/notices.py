"""Notices: what happens to generations and to the daemon, as the fields of journal entries.

As with packet events, the field names are an interface (docs/audit.md), a field that is not known or does not apply
is left out, and MESSAGE is one line for people and grep. Each function is one kind of event.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hostfw.audit.packet_event import IDENTIFIER, plain
from hostfw.journal.message_ids import MessageId
from hostfw.model.host.services import ExposureChange
from hostfw.model.problems import Problem, errors
from hostfw.model.wording import counted

Fields = dict[str, str]
"""The fields of one journal entry."""

_ERROR, _WARNING, _NOTICE, _INFORMATIONAL = "3", "4", "5", "6"

_MOST_LINES = 20
"""Of problems, or of what was changed, in one entry: what follows is counted."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The process that did something, as far as that is known: its command name, its pid, its user's number."""

    process: str = ""
    pid: int | None = None
    uid: int | None = None

    def __str__(self) -> str:
        pid = "" if self.pid is None else f"[{self.pid}]"
        return f"{self.process}{pid}" if self.process else f"process {self.pid}" if self.pid is not None else ""


UNKNOWN_ACTOR = Actor()


def generation_applied(
    generation: str, policies: int, endpoints: int, interfaces: int, reason: str = "", actor: Actor = UNKNOWN_ACTOR
) -> Fields:
    """A generation was put into force and accepted; `reason` says why if nobody asked for it just now."""
    why = f", {reason}" if reason else ""
    counts = f"{counted(policies, 'policy', 'policies')}, {counted(endpoints, 'endpoint')}"
    return _entry(
        MessageId.GENERATION_APPLIED,
        _NOTICE,
        f"generation {generation} is in force: {counts}, {counted(interfaces, 'interface')}{why}",
        GENERATION=generation,
        POLICIES=policies,
        ENDPOINTS=endpoints,
        INTERFACES=interfaces,
        CAUSE=reason,
        **_by(actor),
    )


def exposure_changed(generation: str, changes: Sequence[ExposureChange]) -> Fields:
    """A generation that was put into force closes services of this host, or opens them."""
    more = f", and {counted(len(changes) - 1, 'more change')}" if len(changes) > 1 else ""
    return _entry(
        MessageId.EXPOSURE_CHANGED,
        _WARNING if any(change.closes for change in changes) else _NOTICE,
        f"generation {generation} {changes[0]}{more}",
        GENERATION=generation,
        CHANGES=_lines(map(str, changes)),
    )


def generation_refused(problems: Sequence[Problem], actor: Actor = UNKNOWN_ACTOR) -> Fields:
    """A configuration was refused, and what is in force is unchanged: the first line of each problem."""
    wrong = errors(problems)
    first = f": {wrong[0].position.file_line}: {wrong[0].message}" if wrong else ""
    more = f", and {counted(len(wrong) - 1, 'more problem')}" if len(wrong) > 1 else ""
    return _entry(
        MessageId.GENERATION_REFUSED,
        _WARNING,
        f"the configuration was refused{first}{more}",
        PROBLEMS=_lines(map(str, wrong)),
        PROBLEM_COUNT=len(wrong),
        ORIGIN=wrong[0].position.file_line if wrong else "",
        **_by(actor),
    )


def generation_failed(
    generation: str, message: str, in_force: str = "", hint: str = "", actor: Actor = UNKNOWN_ACTOR
) -> Fields:
    """A generation could not be put into force; `in_force` says the rules that are enforced now."""
    nevertheless = f"; {in_force}" if in_force else ""
    which = f"generation {generation}" if generation else "the generation"
    return _entry(
        MessageId.GENERATION_FAILED,
        _ERROR,
        f"{which} could not be put into force: {message}{nevertheless}",
        GENERATION=generation,
        CAUSE=message,
        IN_FORCE=in_force,
        HINT=hint,
        **_by(actor),
    )


def generation_awaiting(generation: str, within_s: float, deadline: datetime, actor: Actor = UNKNOWN_ACTOR) -> Fields:
    """A generation is in force and will be taken back unless it is confirmed in time."""
    return _entry(
        MessageId.GENERATION_AWAITING,
        _NOTICE,
        f"generation {generation} is in force until it is confirmed or, in {within_s:.0f} seconds, taken back",
        GENERATION=generation,
        WITHIN_SECONDS=f"{within_s:.0f}",
        DEADLINE=deadline.astimezone(UTC).isoformat(timespec="seconds"),
        **_by(actor),
    )


def generation_confirmed(generation: str, actor: Actor = UNKNOWN_ACTOR) -> Fields:
    """The trial was confirmed and is accepted."""
    message = f"generation {generation} was confirmed"
    return _entry(MessageId.GENERATION_CONFIRMED, _NOTICE, message, GENERATION=generation, **_by(actor))


def generation_rolled_back(taken_back: str, back_to: str, reason: str, actor: Actor = UNKNOWN_ACTOR) -> Fields:
    """A generation was taken back; `back_to` is in force again, empty for none at all, where nothing was before."""
    which = f"generation {taken_back}" if taken_back else "what was in force"
    now = f"generation {back_to} is in force again" if back_to else "nothing is in force, as before"
    return _entry(
        MessageId.GENERATION_ROLLED_BACK,
        _WARNING,
        f"{which} was taken back: {reason}; {now}",
        GENERATION=back_to,
        TAKEN_BACK=taken_back,
        CAUSE=reason,
        **_by(actor),
    )


def tables_restored(what: Sequence[str], generation: str = "", actor: Actor = UNKNOWN_ACTOR) -> Fields:
    """Changes by another program to our tables were repaired; `what` are sentences (`kernel.installed.drift`)."""
    by = f" by {actor}" if str(actor) else ""
    first = f": {what[0]}" if what else ""
    more = f", and {len(what) - 1} more" if len(what) > 1 else ""
    return _entry(
        MessageId.TABLES_RESTORED,
        _WARNING,
        f"the ruleset was changed{by} and is restored{first}{more}",
        GENERATION=generation,
        CHANGES=_lines(what),
        **_by(actor),
    )


def tampering_backed_off(
    times: int, within_s: float, retry_after_s: float, what: Sequence[str] = (), actor: Actor = UNKNOWN_ACTOR
) -> Fields:
    """Another program undoes every restoration; the next is put off, and base protection stays."""
    by = f" by {actor}" if str(actor) else ""
    return _entry(
        MessageId.TAMPERING_BACKED_OFF,
        _ERROR,
        f"the ruleset was changed{by} {times} times within {within_s:.0f} seconds; "
        f"it is restored again in {retry_after_s:.0f} seconds",
        TIMES=times,
        WITHIN_SECONDS=f"{within_s:.0f}",
        RETRY_SECONDS=f"{retry_after_s:.0f}",
        CHANGES=_lines(what),
        **_by(actor),
    )


def interface_bound(interface: str, endpoint: str, generation: str = "") -> Fields:
    """A HostEndpoint governs an interface from now on."""
    return _entry(
        MessageId.INTERFACE_BOUND,
        _INFORMATIONAL,
        f"interface {interface} is governed by HostEndpoint {endpoint}",
        INTERFACE=interface,
        ENDPOINT=endpoint,
        GENERATION=generation,
    )


def interface_unbound(interface: str, endpoint: str, generation: str = "") -> Fields:
    """A HostEndpoint governs an interface no more: it has gone, or matches no longer."""
    return _entry(
        MessageId.INTERFACE_UNBOUND,
        _INFORMATIONAL,
        f"interface {interface} is no longer governed by HostEndpoint {endpoint}",
        INTERFACE=interface,
        ENDPOINT=endpoint,
        GENERATION=generation,
    )


def interface_kept(interface: str, endpoint: str, reason: str, generation: str = "") -> Fields:
    """No HostEndpoint claims an interface any more, and the one that did governs it nevertheless."""
    return _entry(
        MessageId.INTERFACE_KEPT,
        _WARNING,
        f"no HostEndpoint claims interface {interface}, which keeps the policy of HostEndpoint {endpoint}: {reason}",
        INTERFACE=interface,
        ENDPOINT=endpoint,
        GENERATION=generation,
        CAUSE=reason,
        HINT=f"give a HostEndpoint interfaceName: {interface}, or release it with `hostfwctl apply --accept-loss`",
    )


def node_renamed(node: str, host: str, generation: str = "") -> Fields:
    """The host has another name than the node whose policy is in force, which stays."""
    return _entry(
        MessageId.NODE_RENAMED,
        _WARNING,
        f"this host is called {host} now; the policy of node {node}, which was accepted for it, stays in force",
        NODE=node,
        HOST_NAME=host,
        GENERATION=generation,
        HINT=f"give HostEndpoints the name {host} and run `hostfwctl apply`, or set node: {node} in hostfw.yaml",
    )


def feed_shrunk(problem: Problem, feed: str = "", path: str = "") -> Fields:
    """A feed's file lost more than it may, so its accepted content stays in force; `problem` is the warning of it."""
    return _entry(
        MessageId.FEED_SHRUNK,
        _WARNING,
        f"{problem.position.file_line}: {problem.message}",
        FEED=feed,
        FILE=path,
        ORIGIN=problem.position.file_line,
        HINT=problem.hint,
    )


def feed_updated(feed: str, source: str, elements: int) -> Fields:
    """A Feed was downloaded and is in force, with so many prefixes."""
    return _entry(
        MessageId.FEED_UPDATED,
        _NOTICE,
        f"Feed {feed} was updated: {elements} prefixes",
        FEED=feed,
        SOURCE=source,
        ELEMENTS=str(elements),
    )


def feed_not_updated(feed: str, source: str, cause: str) -> Fields:
    """A Feed could not be downloaded, or not be put into force; what was in force of it stays."""
    return _entry(
        MessageId.FEED_NOT_UPDATED,
        _WARNING,
        f"Feed {feed} was not updated, what is in force of it stays: {cause}",
        FEED=feed,
        SOURCE=source,
        CAUSE=cause,
    )


def resources_expired(names: Sequence[str], generation: str = "") -> Fields:
    """Resources have expired and count no more; nothing where there are none."""
    if not names:
        return {}
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return _entry(
        MessageId.RESOURCES_EXPIRED,
        _NOTICE,
        f"{names[0]}{more} expired: the rules without {'it' if len(names) == 1 else 'them'} are in force",
        EXPIRED=_lines(names),
        GENERATION=generation,
    )


def clock_behind(names: Sequence[str], generation: str = "") -> Fields:
    """The clock is behind the last `apply`: nothing is allowed for the sake of what expires until it is set."""
    if not names:
        return {}
    return _entry(
        MessageId.CLOCK_BEHIND,
        _WARNING,
        f"the clock of this host is behind the moment of the last apply: {counted(len(names), 'resource')} that "
        f"{'expires allows' if len(names) == 1 else 'expire allow'} nothing until it is set",
        EXPIRED=_lines(names),
        GENERATION=generation,
    )


def members_changed(
    name: str, added: Sequence[str], removed: Sequence[str], for_s: int | None = None, actor: Actor = UNKNOWN_ACTOR
) -> Fields:
    """Somebody put members into a set, for so many seconds or as long as the set says, or took some out."""
    for_text = f" for {for_s} s" if for_s is not None else ""
    said = [
        f"{_few(members)} {what}"
        for members, what in ((added, f"put into {name}{for_text}"), (removed, f"taken out of {name}"))
        if members
    ]
    by = f", by {actor}" if str(actor) else ""
    return _entry(
        MessageId.MEMBERS_CHANGED,
        _NOTICE,
        f"{' and '.join(said)}{by}",
        SET=name,
        ADDED=_lines(added),
        REMOVED=_lines(removed),
        SECONDS=for_s,
        **_by(actor),
    )


def _few(members: Sequence[str]) -> str:
    more = f" and {len(members) - 3} more" if len(members) > 3 else ""
    return f"{', '.join(members[:3])}{more}"


def clock_set(step_s: float) -> Fields:
    """Somebody set the clock while something is to expire."""
    way = "forward" if step_s > 0 else "back"
    return _entry(
        MessageId.CLOCK_SET,
        _NOTICE,
        f"the clock of this host was set {way} by {abs(step_s):.0f} seconds; what expires goes by it",
        STEP_SECONDS=f"{step_s:.0f}",
    )


def records_missed(records: int, suppressed: int) -> Fields:
    """While nothing read the log, `records` of packets went by, and `suppressed` packets were beyond the limits."""
    beyond = f", and {counted(suppressed, 'packet')} beyond the limits of the log" if suppressed else ""
    return _entry(
        MessageId.RECORDS_MISSED,
        _WARNING,
        f"{counted(records, 'log record')} were missed while the service was not running{beyond}; "
        "`hostfwctl counters` has every packet",
        RECORDS=records,
        SUPPRESSED=suppressed,
    )


def records_lost(records: int) -> Fields:
    """Records came faster than they were read."""
    return _entry(
        MessageId.RECORDS_LOST,
        _WARNING,
        f"{counted(records, 'log record') if records else 'some log records'} came faster than they were read and "
        "are lost; `hostfwctl counters` has every packet",
        RECORDS=records,
    )


def entries_unwritten(entries: int, reason: str) -> Fields:
    """The journal, which takes entries again, had refused so many that they could not all wait for it."""
    return _entry(
        MessageId.ENTRIES_UNWRITTEN,
        _WARNING,
        f"{counted(entries, 'journal entry', 'journal entries')} could not be written: {reason}",
        ENTRIES=entries,
        CAUSE=reason,
    )


def log_unreadable(message: str, hint: str = "") -> Fields:
    """Nothing can be read of what the kernel logs; it is tried again."""
    return _entry(MessageId.LOG_UNREADABLE, _ERROR, f"denied packets are counted, but not logged: {message}", HINT=hint)


def log_readable(group: int) -> Fields:
    """The kernel's log is read again."""
    return _entry(MessageId.LOG_READABLE, _NOTICE, f"NFLOG group {group} is read again")


def host_blocked(kept: Sequence[str], *, everything: bool) -> Fields:
    """Nothing passes any more but lo and the ssh sessions that are kept; with `everything` not even these were to."""
    what = "lo" if everything or not kept else f"lo and {counted(len(kept), 'ssh session')}"
    return _entry(
        MessageId.HOST_BLOCKED, _WARNING, f"the host is blocked: nothing passes but {what}", KEPT=_lines(kept)
    )


def host_unblocked(dropped: int) -> Fields:
    """A block was ended, which had dropped so many packets."""
    packets = counted(dropped, "packet")
    return _entry(
        MessageId.HOST_UNBLOCKED, _WARNING, f"the host is no longer blocked; {packets} were dropped", DROPPED=dropped
    )


def rules_removed(generation: str) -> Fields:
    """Every rule of ours was removed, and no boot loads any; `generation` is the one that was in force, if known."""
    which = f" of generation {generation}" if generation else ""
    return _entry(
        MessageId.RULES_REMOVED,
        _WARNING,
        f"hostfw was disabled: the rules{which} are removed, and no boot loads any",
        GENERATION=generation,
    )


def _entry(kind: MessageId, priority: str, message: str, **fields: object) -> Fields:
    """The entry of one event; the names of `fields` are without HOSTFW_."""
    known = {f"HOSTFW_{name}": _lines_of(value) for name, value in fields.items() if value is not None and value != ""}
    return {
        "MESSAGE": plain(message),
        "MESSAGE_ID": kind,
        "PRIORITY": priority,
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        **known,
    }


def _by(actor: Actor) -> dict[str, object]:
    return {"PROCESS": actor.process, "PID": actor.pid, "UID": actor.uid}


def _lines_of(value: object) -> str:
    """A value without what would steer a terminal: `journalctl -x` puts it into the catalog's text as it is."""
    return "\n".join(map(plain, str(value).split("\n")))


def _lines(sentences: Iterable[str]) -> str:
    """One a line, the first of them."""
    lines = [plain(sentence) for sentence in sentences]
    more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return "\n".join((*lines[:_MOST_LINES], *more))
