"""The one who may write: who holds the lock, a worker that sends what is written, and those who hear of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hostfw.build.cache import EngineCache
from hostfw.build.generation import Generation
from hostfw.engine.context import Directories, Host
from hostfw.engine.outcomes import UNCHANGED, UNKNOWN, Failed, failed
from hostfw.host.errors import HostError
from hostfw.host.nftables.writing.script_runner import Nftables


def _nobody(_: Generation | None) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Observer:
    """Callbacks on the writing thread: before a switch to a generation, and once one is active.

    The active generation is None for a script without a known generation, and for no rules at all.
    """

    switching: Callable[[Generation], None] = _nobody
    active: Callable[[Generation | None], None] = _nobody


@dataclass(slots=True)
class Sent:
    """Progress of a piece of work: True once packets may meet other rules than before it."""

    may_differ: bool = False

    def after(self, send: Callable[[], Failed | None]) -> Failed | None:
        """Send something that packets may meet; nothing that is raised meanwhile says that they do not."""
        before, self.may_differ = self.may_differ, True
        stopped = send()
        if stopped is not None and stopped.in_force == UNCHANGED:
            self.may_differ = before
        return stopped

    def failed(self, error: HostError) -> Failed:
        """The rules that are in force after an error ended the work."""
        found = failed(error)
        return replace(found, in_force=UNKNOWN) if self.may_differ and found.in_force == UNCHANGED else found


@dataclass(frozen=True, slots=True)
class Writer:
    """The one who may write at this moment: who holds the lock, and a worker that sends what is written."""

    directories: Directories
    host: Host
    nftables: Nftables
    observer: Observer = Observer()
    cache: EngineCache | None = None
    sent: Sent = field(default_factory=Sent)
