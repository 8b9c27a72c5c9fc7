"""The plan that a change replaces, on the host as it is now: what the change is judged by."""

from dataclasses import dataclass

from hostfw.build.cache import EngineCache, cached_governance, record_now
from hostfw.build.generation import Generation
from hostfw.build.stored import stored_content
from hostfw.engine.context import Directories, Host
from hostfw.engine.reading.standing import standing
from hostfw.engine.reading.stored_active import stored_active
from hostfw.host.store.generations.active import ActiveGeneration
from hostfw.host.store.generations.generations import Accepted, read_accepted
from hostfw.manifest.decode import DecodeCache
from hostfw.model.host.facts import HostFacts
from hostfw.model.plan import BASE_PROTECTION, Plan
from hostfw.policy.resolve.plan import ResolveCache, resolve


@dataclass(frozen=True, slots=True)
class Before:
    """The state before a change: `last` is the generation that was built then, `decoding` the cache of files.

    Both may save to read and decode what is stored, and `resolving`, that of a build which is kept for nothing else, to
    plan again what did not change.
    """

    directories: Directories
    host: Host
    cache: EngineCache | None
    facts: HostFacts
    last: Generation | None = None
    decoding: DecodeCache | None = None
    resolving: ResolveCache | None = None

    def record(self) -> ActiveGeneration | None:
        """The record of what is in force; None where there is none. Raises HostError."""
        return record_now(self.directories.run, self.cache)

    def in_force(self) -> Plan | None:
        """The plan of what is in force; None where no rules are. Raises HostError."""
        record = self.record()
        if self.last is not None and record is not None and (record.id, self.facts) == (self.last.id, self.last.facts):
            return self.last.plan
        # Whether there is a table at all takes no reading of its rules.
        if not self.host.read_some({}).ip.exists:
            return None
        stored = stored_active(self.directories)
        return BASE_PROTECTION if stored is None else self._plan_of(stored)

    def is_unknown(self) -> bool:
        """True if a generation is in force that is neither known nor stored. Raises HostError."""
        record = self.record()
        if record is None or (self.last is not None and record.id == self.last.id):
            return False
        return stored_active(self.directories) is None

    def accepted(self) -> Plan | None:
        """The plan of what is accepted; None where nothing is, or it is damaged. Raises HostError."""
        accepted, _ = read_accepted(self.directories.state)
        return None if accepted is None else self._plan_of(accepted)

    def _plan_of(self, stored: Accepted) -> Plan:
        known = DecodeCache(dict(self.decoding.sources)) if self.decoding is not None else None
        resources, settings = stored_content(stored.configuration, self.directories.state, known)
        governance = standing(self.directories, self.host, cached_governance(self.cache))
        return resolve(resources, settings, self.facts, self.resolving, governance)[0]
