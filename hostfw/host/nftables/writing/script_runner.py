"""Scripts into the kernel: libnftables behind a worker process and a timeout, and past it the elements of big sets.

A script is one transaction: all of it takes effect or none. What nft refuses is an `NftResult` with its words; a
worker that dies, hangs or cannot start is an `NftFailure`, which says whether the ruleset in force is known to be
unchanged.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from hostfw.host.errors import HostError
from hostfw.host.netlink.batch import BatchSocket
from hostfw.host.nftables.sets import elements
from hostfw.host.nftables.sets.elements import Edit, Keys
from hostfw.host.nftables.sets.set_reloading import Contents, reload_sets
from hostfw.host.nftables.writing import worker as worker_module
from hostfw.host.nftables.writing.amendments import amend
from hostfw.host.nftables.writing.deletions import delete
from hostfw.host.nftables.writing.worker import ANSWER, CHECK, COMMIT, READY, REQUEST, let_packets_leave
from hostfw.host.process.import_path import import_path
from hostfw.host.process.signals import held_back
from hostfw.model.values import TableFamily
from hostfw.nft.amendment import Amendment
from hostfw.nft.deletion import Deletion

TIMEOUT_S = 30.0
"""Time limit for a request; a transaction of 20,000 rules takes half a second (nft 1.0.6)."""

_POSITION = re.compile(r"^(\d+):(\d+)(?:-\d+)?: Error", re.MULTILINE)
_KERNEL_S = 60.0
"""Time limit for the kernel to take a batch that this process sends."""
_END_S = 2.0
_SPARED_BYTES = 256 * 1024
"""The longest script after which a worker is kept: libnftables takes some 40 times as much, and gives little back."""
_LAST_WORDS_BYTES = 2000


@dataclass(frozen=True, slots=True)
class NftResult:
    """The answer of nft to a script. `line` and `column` are those of its first error, from 1, or None."""

    ok: bool
    error: str = ""
    line: int | None = None
    column: int | None = None


class NftFailure(HostError):
    """The worker gave no answer. `unchanged` is True only where it is certain that the ruleset in force is the same."""

    def __init__(self, what: str, *, unchanged: bool, hint: str = "") -> None:
        super().__init__(what, hint)
        self.unchanged = unchanged


class Nftables(Protocol):
    """Access to the kernel's nftables: scripts, and the elements of big sets."""

    def check(self, script: str) -> NftResult:
        """Check with the kernel that it would take the script now; changes nothing."""

    def commit(self, script: str) -> NftResult:
        """Put the script into force as one transaction."""

    def add_elements(self, family: TableFamily, set_name: str, keys: Keys) -> int:
        """Put elements into a set in order; those that are there stay. Gives the commits. Raises NetlinkError."""

    def is_loaded(self, family: TableFamily, set_name: str, keys: Keys) -> bool:
        """True if the set holds what `add_elements` of these keys puts there. Raises NetlinkError."""

    def replace_elements(self, family: TableFamily, set_name: str, edit: Edit) -> None:
        """Edit a set in one transaction. Raises NetlinkError."""

    def reload_sets(self, contents: Sequence[Contents]) -> None:
        """Let sets and maps that are there hold exactly this, all in one transaction. Raises NetlinkError."""

    def amend(self, amendments: Iterable[Amendment]) -> None:
        """Rename chains and wake tables in one transaction. Raises NetlinkError."""

    def activate(self, deletions: Iterable[Deletion], generation: int) -> None:
        """Delete rules in one transaction, so that packets meet those behind them.

        Raises NetlinkError, ERESTART if nftables is at another generation.
        """

    def delete(self, deletions: Iterable[Deletion]) -> None:
        """Delete objects of ours in one transaction, which no packet is in any more. Raises NetlinkError."""

    def close(self) -> None:
        """Give back what is held."""


class NftablesWorker:
    """libnftables in a worker process that starts at once, so that its start overlaps with the caller's work.

    It works in the network namespace that the caller was in at the start, on one request at a time. A worker that
    died or was closed is replaced at the next request; closing it after a big script gives its memory back.
    `keep_open` are descriptors that the worker holds as well while it has a request: with the writer lock among them,
    nobody else writes until a commit that outlives its killed parent has ended. `started` hears the process id of each
    worker. `spare` has a worker that was closed before, which is there at once, and gets this one.
    """

    def __init__(
        self,
        timeout_s: float = TIMEOUT_S,
        keep_open: Sequence[int] = (),
        started: Callable[[int], None] | None = None,
        spare: "SpareWorker | None" = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._keep_open = tuple(keep_open)
        self._started = started
        self._spare = spare
        self._longest = 0
        self._batches = BatchSocket(_KERNEL_S)
        self._worker: _Worker | None = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The worker's process id while there is one."""
        return self._worker.process.pid if self._worker else None

    def check(self, script: str) -> NftResult:
        """Check with the kernel that it would take the script now; changes nothing."""
        return self._request(CHECK, script, "checking a script")

    def commit(self, script: str) -> NftResult:
        """Put the script into force as one transaction."""
        return self._request(COMMIT, script, "committing a script")

    def add_elements(self, family: TableFamily, set_name: str, keys: Keys) -> int:
        """Put elements into a set in order, from this process. Gives the commits. Raises NetlinkError."""
        return elements.add_elements(family, set_name, keys)

    def is_loaded(self, family: TableFamily, set_name: str, keys: Keys) -> bool:
        """True if the set holds what `add_elements` of these keys puts there. Raises NetlinkError."""
        return elements.is_loaded(family, set_name, keys)

    def replace_elements(self, family: TableFamily, set_name: str, edit: Edit) -> None:
        """Edit a set in one transaction, from this process. Raises NetlinkError."""
        elements.replace_elements(family, set_name, edit)

    def reload_sets(self, contents: Sequence[Contents]) -> None:
        """Let sets and maps hold exactly this, all in one transaction from this process. Raises NetlinkError."""
        reload_sets(self._batches, contents)

    def amend(self, amendments: Iterable[Amendment]) -> None:
        """Rename chains and wake tables in one transaction, from this process. Raises NetlinkError."""
        amend(amendments)

    def activate(self, deletions: Iterable[Deletion], generation: int) -> None:
        """Delete rules in one transaction, from this process and at once.

        Raises NetlinkError, ERESTART if nftables is at another generation.
        """
        delete(self._batches, deletions, "switching to the new rules", generation)

    def delete(self, deletions: Iterable[Deletion]) -> None:
        """Delete objects of ours in one transaction, from this process; waits 10 ms first. Raises NetlinkError."""
        let_packets_leave()
        delete(self._batches, deletions)

    def close(self) -> None:
        """End the worker, or leave it for the next time."""
        worker, self._worker = self._worker, None
        is_small = self._longest <= _SPARED_BYTES
        if worker and self._spare is not None and is_small:
            self._spare.put(worker)
            worker = None
        self._close(worker)

    def _close(self, worker: "_Worker | None") -> None:
        self._batches.close()
        if worker:
            _end(worker, grace_s=_END_S)

    def _request(self, verb: bytes, script: str, doing: str) -> NftResult:
        deadline = monotonic() + self._timeout_s
        data = script.encode()
        handed_over = False
        worker = self._living_worker()
        try:
            if not worker.ready:
                worker.ready = _receive(worker, len(READY), deadline) == READY
            self._longest = max(self._longest, len(data))
            worker.channel.settimeout(_remaining(deadline))
            _send(worker.channel, REQUEST.pack(verb, self._timeout_s, len(data)), self._keep_open)
            worker.channel.sendall(data)
            handed_over = True
            ok, length = ANSWER.unpack(_receive(worker, ANSWER.size, deadline))
            error = _receive(worker, length, deadline).decode("utf-8", "backslashreplace")
        except (EOFError, OSError) as reason:
            self._worker = None
            timed_out = isinstance(reason, TimeoutError)
            status, last_words = _end(worker, grace_s=0 if timed_out else _END_S)
            fate = f"gave no answer within {self._timeout_s:g} s and was killed" if timed_out else _fate(status)
            what = f"the nft worker (pid {worker.process.pid}) {fate} while {doing if worker.ready else 'starting'}"
            raise NftFailure(
                what + (f": {last_words}" if last_words else ""),
                unchanged=verb == CHECK or not handed_over,
                hint="" if worker.ready or timed_out else "is the package python3-nftables installed?",
            ) from reason
        except BaseException:
            # Interrupted, as by Ctrl-C: its answer would be taken for that to the next request.
            self._worker = None
            self._close(worker)
            raise
        return _result(ok=ok, error=error)

    def _living_worker(self) -> "_Worker":
        worker = self._worker
        if worker and worker.process.poll() is not None and worker.ready:
            _end(worker, grace_s=0)
            worker = None
        self._worker = worker or self._start()
        return self._worker

    def _start(self) -> "_Worker":
        worker = self._spare.take() if self._spare is not None else None
        if worker is not None:
            return worker
        worker = _start()
        if self._started is not None:
            self._started(worker.process.pid)
        return worker


@dataclass(slots=True)
class _Worker:
    """A worker process, our end of its socket, and the file that takes its last words."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    stderr: int
    ready: bool = False


class SpareWorker:
    """A worker that nobody needs just now, so that the next change need not wait for a start, some 40 ms.

    It is of the network namespace in which it was started. One that has died, or was busy, is not kept.
    """

    def __init__(self) -> None:
        self._worker: _Worker | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the worker, None where there is none."""
        return self._worker.process.pid if self._worker else None

    def take(self) -> _Worker | None:
        """The worker, for the caller alone; None if there is none that lives."""
        worker, self._worker = self._worker, None
        if worker is not None and worker.process.poll() is not None:
            _end(worker, grace_s=0)
            return None
        return worker

    def put(self, worker: _Worker) -> None:
        """Keep a worker that waits for a request."""
        self.close()
        self._worker = worker

    def close(self) -> None:
        """End it."""
        worker = self.take()
        if worker is not None:
            _end(worker, grace_s=_END_S)


def _send(channel: socket.socket, request: bytes, descriptors: tuple[int, ...]) -> None:
    """Send the head of a request, and descriptors with it."""
    sent = socket.send_fds(channel, [request], descriptors) if descriptors else 0
    channel.sendall(request[sent:])


def _start() -> _Worker:
    """Start a worker with our own import path, wherever the package was imported from.

    `-S` and `-P` leave the path alone and save 2 ms. A session of its own keeps Ctrl-C at a terminal, which is meant
    for us, from a commit.
    """
    ours, theirs = socket.socketpair()
    stderr = os.memfd_create("nft-worker-stderr", os.MFD_CLOEXEC)
    try:
        with held_back():
            process = subprocess.Popen(
                [sys.executable, "-S", "-P", "-m", worker_module.__name__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=os.environ | {"PYTHONPATH": import_path()},
                start_new_session=True,
            )
    except OSError as error:
        ours.close()
        os.close(stderr)
        raise NftFailure(f"the nft worker cannot be started: {error}", unchanged=True) from error
    finally:
        theirs.close()
    return _Worker(process, ours, stderr)


def _receive(worker: _Worker, length: int, deadline: float) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        worker.channel.settimeout(_remaining(deadline))
        part = worker.channel.recv(min(length - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _remaining(deadline: float) -> float:
    # Zero would mean a socket that does not wait at all, which fails otherwise than with a timeout.
    return max(deadline - monotonic(), 0.001)


def _end(worker: _Worker, *, grace_s: float) -> tuple[int | None, str]:
    """End the one process: by the end of its input, and by SIGKILL if it is still there after `grace_s`.

    Gives its exit status (None if it does not even die, as in an uninterruptible sleep) and its last words.
    """
    worker.channel.close()
    status = None
    for wait_s in (grace_s, _END_S):
        try:
            status = worker.process.wait(wait_s)
            break
        except subprocess.TimeoutExpired:
            worker.process.kill()
    size = os.fstat(worker.stderr).st_size
    last_words = os.pread(worker.stderr, _LAST_WORDS_BYTES, max(size - _LAST_WORDS_BYTES, 0))
    os.close(worker.stderr)
    lines = last_words.decode("utf-8", "backslashreplace").strip().splitlines()
    return status, lines[-1] if lines else ""


def _fate(status: int | None) -> str:
    if status is None:
        return "closed its socket"
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _result(*, ok: bool, error: str) -> NftResult:
    position = _POSITION.search(error)
    if ok or position is None:
        return NftResult(ok, error)
    return NftResult(ok, error, int(position[1]), int(position[2]))
