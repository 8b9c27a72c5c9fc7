"""Notices: what happens to generations and to the daemon, as the fields of journal entries.

As with packet events, the field names are an interface (docs/audit.md), a field that is not known or does not apply
is left out, and MESSAGE is one line for people and grep. Each function is one kind of event.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from hostfw.journal.entry import (
    ERROR,
    INFORMATIONAL,
    NOTICE,
    UNKNOWN_ACTOR,
    WARNING,
    Actor,
    Fields,
    by_actor,
    entry,
    lines,
)
from hostfw.journal.message_ids import MessageId
from hostfw.model.host.services import ExposureChange
from hostfw.model.plan import title_of
from hostfw.model.problems import Problem, errors
from hostfw.model.wording import counted


def generation_applied(
    generation: str, policies: int, endpoints: int, interfaces: int, reason: str = "", actor: Actor = UNKNOWN_ACTOR
) -> Fields:
    """A generation was put into force and accepted; `reason` says why if nobody asked for it just now."""
    why = f", {reason}" if reason else ""
    counts = f"{counted(policies, 'policy', 'policies')}, {counted(endpoints, 'endpoint')}"
    return entry(
        MessageId.GENERATION_APPLIED,
        NOTICE,
        f"generation {generation} is in force: {counts}, {counted(interfaces, 'interface')}{why}",
        GENERATION=generation,
        POLICIES=policies,
        ENDPOINTS=endpoints,
        INTERFACES=interfaces,
        CAUSE=reason,
        **by_actor(actor),
    )


def exposure_changed(generation: str, changes: Sequence[ExposureChange]) -> Fields:
    """A generation that was put into force closes services of this host, or opens them."""
    more = f", and {counted(len(changes) - 1, 'more change')}" if len(changes) > 1 else ""
    return entry(
        MessageId.EXPOSURE_CHANGED,
        WARNING if any(change.closes for change in changes) else NOTICE,
        f"generation {generation} {changes[0]}{more}",
        GENERATION=generation,
        CHANGES=lines(map(str, changes)),
    )


def generation_refused(problems: Sequence[Problem], actor: Actor = UNKNOWN_ACTOR) -> Fields:
    """A configuration was refused, and what is in force is unchanged: the first line of each problem."""
    wrong = errors(problems)
    first = f": {wrong[0].position.file_line}: {wrong[0].message}" if wrong else ""
    more = f", and {counted(len(wrong) - 1, 'more problem')}" if len(wrong) > 1 else ""
    return entry(
        MessageId.GENERATION_REFUSED,
        WARNING,
        f"the configuration was refused{first}{more}",
        PROBLEMS=lines(map(str, wrong)),
        PROBLEM_COUNT=len(wrong),
        ORIGIN=wrong[0].position.file_line if wrong else "",
        **by_actor(actor),
    )


def generation_failed(
    generation: str, message: str, in_force: str = "", hint: str = "", actor: Actor = UNKNOWN_ACTOR
) -> Fields:
    """A generation could not be put into force; `in_force` says the rules that are enforced now."""
    nevertheless = f"; {in_force}" if in_force else ""
    which = f"generation {generation}" if generation else "the generation"
    return entry(
        MessageId.GENERATION_FAILED,
        ERROR,
        f"{which} could not be put into force: {message}{nevertheless}",
        GENERATION=generation,
        CAUSE=message,
        IN_FORCE=in_force,
        HINT=hint,
        **by_actor(actor),
    )


def generation_awaiting(generation: str, within_s: float, deadline: datetime, actor: Actor = UNKNOWN_ACTOR) -> Fields:
    """A generation is in force and will be rolled back unless it is confirmed in time."""
    return entry(
        MessageId.GENERATION_AWAITING,
        NOTICE,
        f"generation {generation} is in force until it is confirmed or, in {within_s:.0f} seconds, rolled back",
        GENERATION=generation,
        WITHIN_SECONDS=f"{within_s:.0f}",
        DEADLINE=deadline.astimezone(UTC).isoformat(timespec="seconds"),
        **by_actor(actor),
    )


def generation_confirmed(generation: str, actor: Actor = UNKNOWN_ACTOR) -> Fields:
    """The trial was confirmed and is accepted."""
    message = f"generation {generation} was confirmed"
    return entry(MessageId.GENERATION_CONFIRMED, NOTICE, message, GENERATION=generation, **by_actor(actor))


def generation_rolled_back(rolled_back: str, back_to: str, reason: str, actor: Actor = UNKNOWN_ACTOR) -> Fields:
    """A generation was rolled back; `back_to` is in force again, empty for none at all, where nothing was before."""
    which = f"generation {rolled_back}" if rolled_back else "what was in force"
    now = f"generation {back_to} is in force again" if back_to else "nothing is in force, as before"
    return entry(
        MessageId.GENERATION_ROLLED_BACK,
        WARNING,
        f"{which} was rolled back: {reason}; {now}",
        GENERATION=back_to,
        TAKEN_BACK=rolled_back,
        CAUSE=reason,
        **by_actor(actor),
    )


def tables_restored(what: Sequence[str], generation: str = "", actor: Actor = UNKNOWN_ACTOR) -> Fields:
    """Changes by another program to our tables were repaired; `what` are sentences (`kernel.installed.drift`)."""
    by = f" by {actor}" if str(actor) else ""
    first = f": {what[0]}" if what else ""
    more = f", and {len(what) - 1} more" if len(what) > 1 else ""
    return entry(
        MessageId.TABLES_RESTORED,
        WARNING,
        f"the ruleset was changed{by} and is restored{first}{more}",
        GENERATION=generation,
        CHANGES=lines(what),
        **by_actor(actor),
    )


def tampering_backed_off(
    times: int, within_s: float, retry_after_s: float, what: Sequence[str] = (), actor: Actor = UNKNOWN_ACTOR
) -> Fields:
    """Another program undoes every restoration; the next is put off, and base protection stays."""
    by = f" by {actor}" if str(actor) else ""
    return entry(
        MessageId.TAMPERING_BACKED_OFF,
        ERROR,
        f"the ruleset was changed{by} {times} times within {within_s:.0f} seconds; "
        f"it is restored again in {retry_after_s:.0f} seconds",
        TIMES=times,
        WITHIN_SECONDS=f"{within_s:.0f}",
        RETRY_SECONDS=f"{retry_after_s:.0f}",
        CHANGES=lines(what),
        **by_actor(actor),
    )


def interface_bound(interface: str, endpoint: str, generation: str = "") -> Fields:
    """A HostEndpoint governs an interface from now on."""
    return entry(
        MessageId.INTERFACE_BOUND,
        INFORMATIONAL,
        f"interface {interface} is governed by {title_of(endpoint)}",
        INTERFACE=interface,
        ENDPOINT=endpoint,
        GENERATION=generation,
    )


def interface_unbound(interface: str, endpoint: str, generation: str = "") -> Fields:
    """A HostEndpoint governs an interface no more: it has gone, or matches no longer."""
    return entry(
        MessageId.INTERFACE_UNBOUND,
        INFORMATIONAL,
        f"interface {interface} is no longer governed by {title_of(endpoint)}",
        INTERFACE=interface,
        ENDPOINT=endpoint,
        GENERATION=generation,
    )


def interface_kept(interface: str, endpoint: str, reason: str, generation: str = "") -> Fields:
    """No HostEndpoint claims an interface any more, and the one that did governs it nevertheless."""
    return entry(
        MessageId.INTERFACE_KEPT,
        WARNING,
        f"no HostEndpoint claims interface {interface}, which keeps the policy of {title_of(endpoint)}: {reason}",
        INTERFACE=interface,
        ENDPOINT=endpoint,
        GENERATION=generation,
        CAUSE=reason,
        HINT=f"give a HostEndpoint interfaceName: {interface}, or release it with `hostfwctl apply --accept-loss`",
    )


def node_renamed(node: str, host: str, generation: str = "") -> Fields:
    """The host has another name than the node whose policy is in force, which stays."""
    return entry(
        MessageId.NODE_RENAMED,
        WARNING,
        f"this host is called {host} now; the policy of node {node}, which was accepted for it, stays in force",
        NODE=node,
        HOST_NAME=host,
        GENERATION=generation,
        HINT=f"give HostEndpoints the name {host} and run `hostfwctl apply`, or set node: {node} in hostfw.yaml",
    )


def resources_expired(names: Sequence[str], generation: str = "") -> Fields:
    """Resources have expired and count no more; nothing where there are none."""
    if not names:
        return {}
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return entry(
        MessageId.RESOURCES_EXPIRED,
        NOTICE,
        f"{names[0]}{more} expired: the rules without {'it' if len(names) == 1 else 'them'} are in force",
        EXPIRED=lines(names),
        GENERATION=generation,
    )


def clock_behind(names: Sequence[str], generation: str = "") -> Fields:
    """The clock is behind the last `apply`: nothing is allowed for the sake of what expires until it is set."""
    if not names:
        return {}
    return entry(
        MessageId.CLOCK_BEHIND,
        WARNING,
        f"the clock of this host is behind the moment of the last apply: {counted(len(names), 'resource')} that "
        f"{'expires allows' if len(names) == 1 else 'expire allow'} nothing until it is set",
        EXPIRED=lines(names),
        GENERATION=generation,
    )


def clock_set(step_s: float) -> Fields:
    """Somebody set the clock while something is to expire."""
    way = "forward" if step_s > 0 else "back"
    return entry(
        MessageId.CLOCK_SET,
        NOTICE,
        f"the clock of this host was set {way} by {abs(step_s):.0f} seconds; what expires goes by it",
        STEP_SECONDS=f"{step_s:.0f}",
    )


def records_missed(records: int, suppressed: int) -> Fields:
    """While nothing read the log, `records` of packets were missed, and `suppressed` packets were beyond the limits."""
    beyond = f", and {counted(suppressed, 'packet')} beyond the limits of the log" if suppressed else ""
    return entry(
        MessageId.RECORDS_MISSED,
        WARNING,
        f"{counted(records, 'log record')} were missed while the service was not running{beyond}; "
        "`hostfwctl counters` has every packet",
        RECORDS=records,
        SUPPRESSED=suppressed,
    )


def records_lost(records: int) -> Fields:
    """Records came faster than they were read."""
    return entry(
        MessageId.RECORDS_LOST,
        WARNING,
        f"{counted(records, 'log record') if records else 'some log records'} came faster than they were read and "
        "are lost; `hostfwctl counters` has every packet",
        RECORDS=records,
    )


def entries_unwritten(entries: int, reason: str) -> Fields:
    """The journal, which takes entries again, had refused so many that they could not all wait for it."""
    return entry(
        MessageId.ENTRIES_UNWRITTEN,
        WARNING,
        f"{counted(entries, 'journal entry', 'journal entries')} could not be written: {reason}",
        ENTRIES=entries,
        CAUSE=reason,
    )


def log_unreadable(message: str, hint: str = "") -> Fields:
    """Nothing can be read of what the kernel logs; it is tried again."""
    return entry(MessageId.LOG_UNREADABLE, ERROR, f"denied packets are counted, but not logged: {message}", HINT=hint)


def log_readable(group: int) -> Fields:
    """The kernel's log is read again."""
    return entry(MessageId.LOG_READABLE, NOTICE, f"NFLOG group {group} is read again")


def host_blocked(kept: Sequence[str], *, everything: bool) -> Fields:
    """Nothing passes any more but lo and the ssh sessions that are kept; with `everything` not even these were to."""
    what = "lo" if everything or not kept else f"lo and {counted(len(kept), 'ssh session')}"
    return entry(MessageId.HOST_BLOCKED, WARNING, f"the host is blocked: nothing passes but {what}", KEPT=lines(kept))


def host_unblocked(dropped: int) -> Fields:
    """A block was ended, which had dropped so many packets."""
    packets = counted(dropped, "packet")
    return entry(
        MessageId.HOST_UNBLOCKED, WARNING, f"the host is no longer blocked; {packets} were dropped", DROPPED=dropped
    )


def rules_removed(generation: str) -> Fields:
    """Every rule of ours was removed, and no boot loads any; `generation` is the one that was in force, if known."""
    which = f" of generation {generation}" if generation else ""
    return entry(
        MessageId.RULES_REMOVED,
        WARNING,
        f"hostfw was disabled: the rules{which} are removed, and no boot loads any",
        GENERATION=generation,
    )
