"""The engine: puts a generation into force, remembers it, and says what is in force.

One generation is one `apply`: observe, resolve, compile, then prepare, switch and sweep, each script checked before
it is sent; then the kernel is read back, and what was accepted is written down. Nothing here depends on a daemon.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hostfw.engine.fills import fill, unfilled
from hostfw.engine.generation import Generation, Refused, build
from hostfw.engine.host import Host
from hostfw.engine.inspection import Inspected, inspect
from hostfw.engine.installed import digests, drift, installed_tables, missing
from hostfw.host.errors import HostError
from hostfw.host.netlink import NetlinkError
from hostfw.host.nftables import Nftables, NftFailure, NftResult
from hostfw.host.state import (
    Accepted,
    InForce,
    load_accepted,
    load_in_force,
    save_accepted,
    save_in_force,
)
from hostfw.host.stored import StateError
from hostfw.host.tables import KernelTables
from hostfw.model.facts import HostFacts
from hostfw.model.problems import Problem
from hostfw.model.settings import Settings
from hostfw.nft.change import Change, change

UNCHANGED = "the ruleset in force is unchanged"
UNKNOWN = "what is in force is not known: `hostfwctl status` tells"


@dataclass(frozen=True, slots=True)
class Directories:
    """Where configuration is read, where accepted generations outlive a reboot, and what belongs to this boot."""

    config: Path = Path("/etc/hostfw")
    state: Path = Path("/var/lib/hostfw")
    run: Path = Path("/run/hostfw")


@dataclass(frozen=True, slots=True)
class Applied:
    """A generation is in force. `change` is what was sent, empty where the kernel held it all.

    `warnings` are troubles that did not stand in its way, such as a full disk under the state directory.
    """

    generation: Generation
    change: Change
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """What was asked for could not be done; `in_force` says what is enforced nevertheless."""

    message: str
    hint: str = ""
    in_force: str = UNCHANGED
    not_permitted: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """What is in force. `record` is what we remember of it, `drift` what the kernel holds otherwise, in sentences."""

    in_force: bool
    record: InForce | None
    drift: tuple[str, ...]
    tables: KernelTables
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Engine:
    """The one who puts generations into force, in the network namespace that it runs in."""

    directories: Directories = field(default_factory=Directories)
    host: Host = field(default_factory=Host)

    def observe(self, settings: Settings) -> HostFacts:
        """The facts of the host. Raises HostError."""
        return self.host.observe(settings.node)

    def generation(self, inspected: Inspected) -> Generation | Refused | Failed:
        """The generation of a configuration on this host, not yet in force."""
        if not inspected.is_valid:
            return Refused(inspected.problems)
        try:
            return build(inspected, self.observe(inspected.settings))
        except HostError as error:
            return _failed(error)

    def change(self, generation: Generation) -> Change | Failed:
        """What `apply` of the generation would send now."""
        try:
            tables = self.host.read_tables()
        except HostError as error:
            return _failed(error)
        record, _ = load_in_force(self.directories.run)
        return change(generation.ruleset, installed_tables(tables, record))

    def apply(self, inspected: Inspected) -> Applied | Refused | Failed:
        """Put the generation of a configuration into force and accept it; a refused one changes nothing."""
        if not inspected.is_valid:
            return Refused(inspected.problems)
        try:
            with self.host.lock(self.directories.run) as lock:
                nftables = self.host.nftables((lock.fileno(),))
                try:
                    built = build(inspected, self.observe(inspected.settings))
                    return built if isinstance(built, Refused) else self._put_into_force(built, nftables)
                finally:
                    nftables.close()
        except HostError as error:
            return _failed(error)

    def accepted(self) -> Inspected | None:
        """The accepted configuration, or None if there is none that can be read."""
        accepted, _ = load_accepted(self.directories.state)
        return None if accepted is None else inspect(accepted.configuration)

    def status(self) -> Status | Failed:
        """What is in force, read from the kernel and held against the record."""
        try:
            tables = self.host.read_tables()
        except HostError as error:
            return _failed(error)
        record, problems = load_in_force(self.directories.run)
        found = drift(tables, record) if record else ()
        return Status(tables.ip.exists and tables.ip6.exists, record, found, tables, problems)

    def _put_into_force(self, generation: Generation, nftables: Nftables) -> Applied | Failed:
        record, _ = load_in_force(self.directories.run)
        tables = self.host.read_tables()
        lacking_elements = unfilled(generation.ruleset, tables, nftables)
        planned = change(generation.ruleset, installed_tables(tables, record, lacking_elements))
        failed = self._send(planned.prepare, nftables)
        if failed is not None:
            return failed
        fill(planned.fills, nftables)
        failed = self._send(planned.switch, nftables)
        if failed is not None:
            return failed
        swept = _say(self._send(planned.sweep, nftables), "what is no longer used could not be removed")
        if not planned.is_empty:
            try:
                tables = self.host.read_tables()
            except HostError as error:
                message = f"the generation was committed, but could not be read back: {error.message}"
                return Failed(message, error.hint, in_force=UNKNOWN)
        lacking = missing(tables, generation.ruleset)
        if lacking:
            return Failed(
                f"the kernel does not hold what was committed: {', '.join(lacking[:3])}",
                "another program changes our tables; `nft monitor` shows which",
                in_force=UNKNOWN,
            )
        remembered = self._remember(generation, tables, record)
        return Applied(generation, planned, (*swept, *remembered))

    def _send(self, script: str, nftables: Nftables) -> Failed | None:
        """Check one transaction and commit it; None if it is done."""
        if not script:
            return None
        try:
            result = nftables.check(script)
            if result.ok:
                result = nftables.commit(script)
        except NftFailure as failure:
            in_force = UNCHANGED if failure.unchanged else UNKNOWN
            return Failed(failure.message, failure.hint, in_force)
        return None if result.ok else _refused_by_nft(script, result)

    def _remember(self, generation: Generation, tables: KernelTables, record: InForce | None) -> Iterator[str]:
        """Write down what is in force and what was accepted. A disk that will not take it does not undo it."""
        chains = digests(tables)
        known = record is not None and record.id == generation.id and record.chains == chains
        applied_at = record.applied_at if known and record is not None else self.host.now()
        try:
            save_in_force(
                self.directories.run,
                InForce(generation.id, applied_at, tables.generation, chains, _counts(generation)),
            )
        except StateError as error:
            yield f"{error.message}: the next apply writes every chain again"
        try:
            self._accept(generation)
        except StateError as error:
            yield f"{error.message}: after a reboot an earlier generation is in force"

    def _accept(self, generation: Generation) -> None:
        accepted, problems = load_accepted(self.directories.state)
        configuration = generation.inspected.configuration
        if accepted and not problems and accepted.id == generation.id and accepted.configuration == configuration:
            return
        save_accepted(
            self.directories.state, Accepted(generation.id, self.host.now(), configuration, generation.script)
        )


def _failed(error: HostError) -> Failed:
    """A failure before anything was sent."""
    refused = isinstance(error, NetlinkError) and error.errno in (errno.EPERM, errno.EACCES)
    return Failed(error.message, error.hint, not_permitted=refused or isinstance(error.__cause__, PermissionError))


def _say(failed: Failed | None, what: str) -> tuple[str, ...]:
    return () if failed is None else (f"{what}: {failed.message}",)


def _refused_by_nft(script: str, result: NftResult) -> Failed:
    """Nft refuses only what a defect of ours or another's hand in our tables leads to: show the line that it names."""
    lines = script.splitlines()
    known = result.line is not None and 0 < result.line <= len(lines)
    line = f": {lines[result.line - 1].strip()}" if known and result.line is not None else ""
    return Failed(f"nft refused the transaction{line}: {result.error.strip()}")


def _counts(generation: Generation) -> tuple[tuple[str, int], ...]:
    resources = generation.inspected.resources
    return (
        ("policies", len(resources.policies)),
        ("endpoints", len(generation.plan.endpoints)),
        ("interfaces", generation.governed_interfaces),
    )
