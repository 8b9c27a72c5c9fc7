"""Journal entries of the service's own: repairs, interfaces, troubles."""

import traceback
from collections.abc import Mapping

from hostfw.build.feed_shrink import shrunk_feeds
from hostfw.build.generation import Generation, other_name
from hostfw.build.refused import Refused
from hostfw.daemon.audit.losses import Entries
from hostfw.daemon.retries.backoff import WINDOW_S
from hostfw.engine.apply.applied import Applied
from hostfw.engine.outcomes import Failed
from hostfw.journal import notices, set_notices
from hostfw.journal.entry import Actor, warning
from hostfw.model.problems import Problem, errors


class Announcer:
    """Writes the service's own journal entries. Nothing here waits or raises."""

    def __init__(self, outbox: Entries) -> None:
        """Tells through an outbox."""
        self._outbox = outbox
        self._expired_in = ""

    def expired(self, before: Generation | None, now: Generation) -> None:
        """Tell what has expired, and what does not count because the clock cannot be right, once for each."""
        known = {*(before.plan.expired if before else ()), *now.governance.expired}
        new = [one for one in now.plan.expired if one not in known]
        if not new:
            return
        self._expired_in = now.id
        at = now.facts.now
        for entry in (
            notices.resources_expired([str(one) for one in new if at is None or one.at <= at], now.id),
            notices.clock_behind([str(one) for one in new if at is not None and one.at > at], now.id),
        ):
            if entry:
                self._outbox.send(entry)

    def clock_set(self, step_s: float) -> None:
        """Tell that somebody set the clock."""
        self._outbox.send(notices.clock_set(step_s))

    def in_force(self, before: Generation | None, now: Generation) -> None:
        """Tell what is new of a generation that is in force: of interfaces, workloads, the host's name and Feeds."""
        self.bindings(before, now)
        self.kept(before, now)
        self.workloads(before, now)
        self.name(before, now)
        self.feeds(before, now)

    def feeds(self, before: Generation | None, now: Generation) -> None:
        """Tell which Feeds lost too much to be believed, once for each loss."""
        known = {problem.message for _, problem in shrunk_feeds(before.candidate)} if before else set()
        for feed, problem in shrunk_feeds(now.candidate):
            if problem.message not in known:
                self._outbox.send(set_notices.feed_shrunk(problem, feed.metadata.name, feed.file))

    def bindings(self, before: Generation | None, now: Generation) -> None:
        """Tell which interfaces have come under a HostEndpoint, and which are no longer."""
        old, new = _bound(before), _bound(now)
        for interface, endpoint in old.items():
            if new.get(interface) != endpoint:
                self._outbox.send(notices.interface_unbound(interface, endpoint, now.id))
        for interface, endpoint in new.items():
            if old.get(interface) != endpoint:
                self._outbox.send(notices.interface_bound(interface, endpoint, now.id))

    def kept(self, before: Generation | None, now: Generation) -> None:
        """Tell which interfaces keep a HostEndpoint that claims them no longer, once for each and each reason."""
        old = {(b.interface, b.endpoint, b.reason) for b in before.plan.bindings if b.kept} if before else set()
        for binding in now.plan.bindings:
            if binding.kept and (binding.interface, binding.endpoint, binding.reason) not in old:
                entry = notices.interface_kept(binding.interface, binding.endpoint, binding.reason, now.id)
                self._outbox.send(entry)

    def name(self, before: Generation | None, now: Generation) -> None:
        """Tell that the host has another name than the node whose policy is in force, once for each name."""
        differs = other_name(now)
        if differs is not None and (before is None or other_name(before) != differs):
            self._outbox.send(notices.node_renamed(now.plan.node, differs, now.id))

    def restored(self, changes: tuple[str, ...], generation: str, actor: Actor) -> None:
        """Report that changes by another program were repaired."""
        self._outbox.send(notices.tables_restored(changes, generation, actor))

    def backed_off(self, times: int, retry_s: float, changes: tuple[str, ...], actor: Actor) -> None:
        """Tell that the next repair has to wait."""
        self._outbox.send(notices.tampering_backed_off(times, WINDOW_S, retry_s, changes, actor))

    def not_restored(self, generation: str, failed: Failed) -> None:
        """Report that changes by another program could not be repaired."""
        self._outbox.send(notices.generation_failed(generation, failed.message, failed.in_force, failed.hint))

    def resynced(self, outcome: Applied | Refused | Failed) -> None:
        """Tell what came of following the host."""
        match outcome:
            case Applied(generation):
                why = "as something expired" if generation.id == self._expired_in else "as interfaces changed"
                self._applied(generation, why)
            case Refused(problems):
                self._outbox.send(notices.generation_refused(problems))
            case Failed():
                self._outbox.send(notices.generation_failed("", outcome.message, outcome.in_force, outcome.hint))

    def recovered(self, generation: Generation, why: str) -> None:
        """Tell that a generation is in force again after something of our own, and why it had to be seen to."""
        self._applied(generation, f"again, as {why}")

    def _applied(self, generation: Generation, why: str) -> None:
        policies, endpoints = len(generation.candidate.resources.enforced), len(generation.plan.host_endpoints)
        counts = (policies, endpoints, generation.governed_interfaces)
        self._outbox.send(notices.generation_applied(generation.id, *counts, why))

    def trouble(self, message: str, in_force: str) -> None:
        """Tell what went wrong at the start."""
        self._outbox.send(notices.generation_failed("", message, in_force))

    def unprotected(self, failed: Failed) -> None:
        """Tell that base protection could not be restored."""
        self._outbox.send(
            notices.generation_failed("", f"base protection: {failed.message}", failed.in_force, failed.hint)
        )

    def no_figures(self, why: str) -> None:
        """Tell that the file for Prometheus cannot be written."""
        self.warning(f"no figures for Prometheus: {why}")

    def warning(self, message: str) -> None:
        """Tell of something that stands in the way and is tried again."""
        self._outbox.send(warning(message))

    def workloads(self, before: Generation | None, now: Generation) -> None:
        """Tell of files about workloads that have come to count for nothing."""
        known = frozenset(before.facts.workload_problems) if before is not None else frozenset()
        for problem in now.facts.workload_problems:
            if problem not in known:
                self.warning(f"{problem.position}: {problem.message}")

    def defect(self, error: BaseException) -> None:
        """Tell of a defect of ours, with its traceback."""
        trace = "".join(traceback.format_exception(error))
        entry = notices.generation_failed("", f"a defect of hostfw: {type(error).__name__}: {error}")
        self._outbox.send({**entry, "HOSTFW_TRACEBACK": trace})


def first_error(problems: tuple[Problem, ...]) -> str:
    """The first of what is wrong with a configuration, on one line, and how much more there is."""
    wrong = errors(problems)
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return f"{wrong[0].position}: {wrong[0].message}{more}" if wrong else ""


def _bound(generation: Generation | None) -> Mapping[str, str]:
    if generation is None:
        return {}
    return {binding.interface: binding.endpoint for binding in generation.plan.bindings if binding.present}
