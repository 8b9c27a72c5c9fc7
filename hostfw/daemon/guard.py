"""Base protection within milliseconds: a script that is ready, and an nft worker that is warm.

When another program has flushed or edited our tables, the host must not stay open for as long as the whole generation
takes. The script holds nothing but the failsafes and what is established, and needs neither lock nor compiler: it is
the same whatever the engine is doing at that moment, and the engine's own next commit replaces it.
"""

from concurrent.futures import ThreadPoolExecutor

from hostfw.engine.outcomes import UNKNOWN, Failed
from hostfw.host.nftables import NftablesWorker, NftFailure

TIMEOUT_S = 5.0


class Guard:
    """Who restores base protection, on a thread of its own."""

    def __init__(self, worker: NftablesWorker) -> None:
        """The worker must be able to answer within `TIMEOUT_S`."""
        self._worker = worker
        self._thread = ThreadPoolExecutor(1, "guard")
        self._script = ""

    @property
    def executor(self) -> ThreadPoolExecutor:
        """The thread that `protect` is to be called on."""
        return self._thread

    def make_ready(self, script: str) -> None:
        """From now on protect with this script."""
        self._script = script

    def protect(self) -> Failed | None:
        """Put base protection into force; None if that is done."""
        if not self._script:
            return Failed("there is no base protection yet", in_force=UNKNOWN)
        try:
            result = self._worker.commit(self._script)
        except NftFailure as failure:
            return Failed(failure.message, failure.hint, in_force=UNKNOWN)
        return None if result.ok else Failed(f"nft refused base protection: {result.error.strip()}", in_force=UNKNOWN)

    def close(self) -> None:
        """Let the thread and the worker go."""
        self._thread.shutdown()
        self._worker.close()
