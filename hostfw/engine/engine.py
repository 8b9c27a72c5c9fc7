"""The engine: puts generations into force, rolls them back, stores them, and reports the active one.

One `apply` makes one generation: observe, resolve, compile, check, then prepare, switch and sweep; then the kernel is
read back, and the accepted generation is stored. With a deadline it is accepted only once it is confirmed, and rolled
back otherwise. Nothing here depends on a daemon.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hostfw.build.cache import EngineCache
from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.feed_shrink import keep_accepted_feeds
from hostfw.build.generation import Generation, build
from hostfw.build.refused import Refused
from hostfw.engine.apply.applied import Applied
from hostfw.engine.apply.apply import apply
from hostfw.engine.apply.asked import Asked
from hostfw.engine.checks.exposure import ExposureRequest
from hostfw.engine.checks.lockout import LockoutRequest, lockout_by
from hostfw.engine.checks.lost_policy import refusal
from hostfw.engine.checks.members import members_check
from hostfw.engine.checks.plan_before import Before
from hostfw.engine.checks.unchanged import Unchanged, basis_of, confirm_unchanged
from hostfw.engine.context import Directories, Host
from hostfw.engine.events import note_failed, note_refused
from hostfw.engine.kernel.deploy.disturbances import Enforced
from hostfw.engine.kernel.deploy.existing_connections import relearn
from hostfw.engine.kernel.deploy.transactions import reload_sets
from hostfw.engine.kernel.governed_links import Port, note_masters
from hostfw.engine.kernel.lazy_nftables import LazyNftables
from hostfw.engine.kernel.state.state import installed_by
from hostfw.engine.kernel.writer import Observer, Sent, Writer
from hostfw.engine.members.feed_update import update_feed
from hostfw.engine.members.member_changes import change_members, needs_nft
from hostfw.engine.outcomes import (
    Confirmed,
    Failed,
    MembersChange,
    MembersChanged,
    NoSuchSet,
    NoTrial,
    RolledBack,
    Status,
    TooLate,
    failed,
)
from hostfw.engine.reading.deadline import has_expired
from hostfw.engine.reading.history import History, history
from hostfw.engine.reading.standing import named, standing
from hostfw.engine.reading.status import read_drift, read_status
from hostfw.engine.reconcile import Resumed, end_by_script, end_expired, protect, repair, resume, resync, save
from hostfw.engine.trial.rollback import expire, rollback
from hostfw.engine.trial.rollback_to import rollback_to
from hostfw.engine.trial.trial import confirm
from hostfw.host.errors import HostError
from hostfw.host.store.answers import Answer, Basis
from hostfw.host.store.codec import Unreadable
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import (
    load_accepted,
)
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.governance import Governance
from hostfw.model.plan import Plan
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration
from hostfw.nft.change import Change, change
from hostfw.nft.declarations import SetName
from hostfw.policy.interest import Interest, interest

Counts = tuple[tuple[str, int], ...]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Engine:
    """The one who puts generations into force, in the network namespace that it runs in."""

    directories: Directories = field(default_factory=Directories)
    host: Host = field(default_factory=Host)
    observer: Observer = field(default_factory=Observer)
    cache: EngineCache | None = None

    def observe(self, settings: Settings) -> HostFacts:
        """The facts of the host. Raises HostError."""
        return self.host.facts(settings.node)

    def generation(self, candidate: Candidate) -> Generation | Refused | Failed:
        """The generation of a configuration on this host, not yet in force."""
        if not candidate.is_valid:
            return Refused(candidate.problems)
        try:
            checked = keep_accepted_feeds(candidate, self.directories.state, self.cache)
            facts = self.observe(candidate.settings)
            return build(checked, facts, governance=self.governance(checked, facts))
        except HostError as error:
            return failed(error)

    def governance(self, candidate: Candidate, facts: HostFacts) -> Governance:
        """The governed interfaces on record, under the node name that `apply` of a configuration would take."""
        record = named(standing(self.directories, self.host), candidate.resources, facts, take_name=True)
        return replace(record, applied=facts.now)

    def loss(self, candidate: Candidate, plan: Plan, facts: HostFacts) -> Failed | None:
        """The refusal as a loss of `apply` of a configuration with its plan on this host; None if it is not refused."""
        try:
            return refusal(Before(self.directories, self.host, self.cache, facts), candidate.resources, plan)
        except HostError:
            return None

    def lockout(self, plan: Plan, facts: HostFacts) -> Failed | None:
        """The refusal as a lock-out of `apply` of a plan on this host; None if it is not refused. Raises HostError."""
        before = Before(self.directories, self.host, self.cache, facts)
        return lockout_by(before, plan, LockoutRequest(self.host.baseline())).refusal

    def change(self, generation: Generation) -> Change | Failed:
        """The change that `apply` of the generation would send now."""
        try:
            tables = self.host.read_tables()
            record, _ = load_active(self.directories.run)
        except HostError as error:
            return failed(error)
        nftables = LazyNftables(lambda: self.host.nftables(()))
        try:
            installed = installed_by(generation.ruleset, tables, record, self.host, nftables)
        except HostError as error:
            return failed(error)
        finally:
            nftables.close()
        return change(generation.ruleset, installed)

    def apply(
        self,
        candidate: Candidate,
        confirm_within_s: float | None = None,
        *,
        accept_shrink: bool = False,
        accept_loss: bool = False,
        lockout: LockoutRequest | None = None,
        exposure: ExposureRequest | None = None,
        asked: Asked = Asked.RELOAD,
    ) -> Applied | Refused | Failed:
        """Put the generation of a configuration into force; a refused one changes nothing.

        It is accepted at once, or with `confirm_within_s` only by `confirm` within so many seconds. Feeds that lost
        more than they may keep their accepted content, unless `accept_shrink`. A configuration that lost most of its
        policies or endpoints, or all interfaces that they govern, is a failure, unless `accept_loss`. With `lockout` a
        generation that would block connections that the host depends on is a failure. With `exposure` the answer says
        what it closes and opens. `asked` is what a person typed for it.
        """
        if not candidate.is_valid:
            return note_refused(self.directories, self.host, Refused(candidate.problems))
        try:
            checked = candidate if accept_shrink else keep_accepted_feeds(candidate, self.directories.state, self.cache)
        except Unreadable as error:
            return note_failed(self.directories, self.host, failed(error), "")
        built = self.cache.generation.generation if self.cache else None
        known = built is not None and built.candidate is checked
        return self._write(
            lambda writer: apply(
                writer,
                checked,
                confirm_within_s,
                lockout,
                exposure,
                accept_loss=accept_loss,
                asked=asked,
            ),
            likely=not known,
        )

    def unchanged(self, answer: Answer, configuration: Configuration, asked: Asked) -> Unchanged | Failed | None:
        """Look whether an `apply` of a configuration would be answered as before; None if not, or not certainly."""
        return self._write(lambda writer: confirm_unchanged(writer, answer, configuration, asked), likely=False)

    def basis(self, generation: Generation, asked: Asked) -> Basis | Failed | None:
        """The basis of a generation that was accepted, by which it is known again; None if more counts for it."""
        return self._write(lambda writer: basis_of(writer, generation, asked), likely=False)

    def confirm(self, *, console: bool = False) -> Confirmed | TooLate | Failed:
        """Accept what is pending. It counts only through a connection made since, or on purpose with `console`."""
        return self._write(lambda writer: confirm(writer, console=console))

    def rollback(
        self,
        if_pending: str | None = None,
        lockout: LockoutRequest | None = None,
        *,
        accept_loss: bool = False,
    ) -> RolledBack | NoTrial | Failed:
        """Roll back what is pending, by hand, or with the token of `if_pending` since its deadline has come.

        By hand `lockout` and `accept_loss` are as of `apply`.
        """
        return self._write(lambda writer: rollback(writer, if_pending, lockout, accept_loss=accept_loss))

    def rollback_to(
        self, number: int, lockout: LockoutRequest | None = None, *, accept_loss: bool = False
    ) -> RolledBack | Failed:
        """Put a stored generation into force and accept it; `lockout` and `accept_loss` are as of `apply`."""
        return self._write(lambda writer: rollback_to(writer, number, lockout, accept_loss=accept_loss))

    def resume(self) -> Resumed | Failed:
        """Take over at the start of the service: what was accepted, or still waits, is put into force and known."""
        return self._write(resume)

    def resync(
        self, generation: Generation, *, likely: bool = True, same_network: bool = False
    ) -> Applied | Refused | Failed:
        """Put the same configuration into force for the host as it is now, and accept that if it is accepted.

        It is `likely` or not that rules change by it. `same_network` is as of `Host.facts`.
        """
        return self._write(lambda writer: resync(writer, generation, same_network=same_network), likely=likely)

    def note_masters(self, generation: Generation, ports: frozenset[Port]) -> Failed | None:
        """Govern like its port each bridge, bond or VRF that a governed interface became a port of; None if done."""
        return self._write(lambda writer: note_masters(generation, ports, writer))

    def repair(
        self, generation: Generation, *, midway: bool = False, guarded: bool = False
    ) -> Enforced | Resumed | Failed:
        """Put a generation into force again that another program has changed, in all but the elements of its sets.

        What another hostfwctl has put in its place meanwhile is taken over. `midway` is after work of ours that failed
        in the midst of it, which leads back to what was accepted; `guarded` is after base protection was sent.
        """
        return self._write(lambda writer: repair(writer, generation, midway=midway, guarded=guarded), likely=True)

    def save(self, generation: Generation | None) -> tuple[str, ...] | Failed:
        """Write down again what is in force or was accepted and could not be written down; gives what still is not.

        `generation` is what is in force, None for a script that nothing else is known of.
        """
        return self._write(lambda writer: save(writer, generation))

    def reload_sets(self, generation: Generation, names: Collection[SetName]) -> tuple[SetName, ...] | Failed:
        """Give sets and maps that are there the elements again that a generation has in them."""
        return self._write(lambda writer: reload_sets(generation.ruleset, names, writer.nftables))

    def relearn(self, generation: Generation, first: Collection[int]) -> frozenset[int] | Failed:
        """Make connections known again that were forgotten and that a generation allows, and give their cookies.

        Those with a cookie in `first` are looked at before all others, for which there may not be the time.
        """

        def is_current() -> bool:
            now = self.observe(generation.candidate.settings)
            known = generation.candidate.resources, generation.plan, generation.facts, generation.governance
            asked = interest(*known)
            return _links(now, asked) == _links(generation.facts, asked)

        try:
            relearnt = relearn(self.host, generation.plan, first, is_current)
            return frozenset(connection.cookie for connection in relearnt)
        except HostError as error:
            return failed(error)

    def protect(self, settings: Settings) -> Generation | Failed:
        """Put base protection into force: failsafes and what was established, and nothing else comes in."""
        return self._write(lambda writer: protect(writer, settings))

    def change_members(
        self, change: MembersChange, lockout: LockoutRequest | None = None
    ) -> MembersChanged | NoSuchSet | Failed:
        """Put members into an external set and take others out, at once and without a generation.

        With `lockout` a change that would block connections that the host depends on is a failure.
        """
        return self._write(
            lambda writer: change_members(writer, change, members_check(writer, lockout)), likely=needs_nft(change)
        )

    def update_feed(
        self, name: str, lockout: LockoutRequest | None = None, *, accept_shrink: bool = False
    ) -> Applied | Refused | Failed:
        """Put the download of a Feed that waits into force with the accepted rest; the arguments are as of `apply`."""
        return self._write(lambda writer: update_feed(writer, name, lockout, accept_shrink=accept_shrink), likely=True)

    def accepted(self) -> Candidate | None:
        """The accepted configuration, or None if there is none that can be read."""
        accepted, _ = load_accepted(self.directories.state)
        return None if accepted is None else check_candidate(accepted.configuration)

    def history(self) -> History:
        """The stored generations. Raises Unreadable."""
        return history(self.directories)

    def status(self) -> Status | Failed:
        """The active generation, read from the kernel and compared with the record.

        A trial that should have been rolled back by now is rolled back first, and what has expired is taken out of
        force where no service does that.
        """
        try:
            if has_expired(self.directories, self.host):
                self.end_expired()
        except Unreadable as error:
            return failed(error)
        return read_status(self.directories, self.host, self.expire)

    def end_expired(self) -> Failed | None:
        """Take what has expired out of force, and accept what is left; None if that was done."""
        return self._write(end_expired)

    def end_by_script(self, generation: Generation) -> Failed | None:
        """Take what has expired out of force where a generation cannot be compiled anew; None if nothing had to be."""
        return self._write(lambda writer: end_by_script(writer, generation))

    def expire(self) -> RolledBack | Failed | None:
        """Bring a trial to its end that should have ended by now; None if there is none."""
        return self._write(expire)

    def drift(self) -> tuple[str, ...] | Failed:
        """Changes of other programs to our tables since they were written, in sentences; empty where there are none."""
        return read_drift(self.directories, self.host)

    def _write(self, work: Callable[[Writer], Result], *, likely: bool | None = None) -> Result | Failed:
        """Let one piece of work write, alone in this network namespace.

        What will `likely` commit something has the nft worker start while it makes up its mind. Without a word on
        that, it starts in a process that does one thing and ends.
        """
        sent = Sent()
        try:
            with self.host.lock(self.directories.run) as lock:
                nftables = LazyNftables(lambda: self.host.nftables((lock.fileno(),)))
                if likely or (likely is None and self.cache is None):
                    nftables.start()
                try:
                    return work(Writer(self.directories, self.host, nftables, self.observer, self.cache, sent))
                finally:
                    nftables.close()
        except HostError as error:
            return sent.failed(error)


def _links(facts: HostFacts, asked: Interest) -> set[tuple[str, int, str | None]]:
    """The identities of the interfaces that may be governed, and the masters of ports."""
    return {(one.name, one.index, one.master) for one in facts.interfaces if asked.in_link(one)}
