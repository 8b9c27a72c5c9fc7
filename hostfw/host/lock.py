"""One writer at a time in a network namespace, and one service."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from hostfw.host.errors import HostError

TIMEOUT_S = 30.0
"""Time to wait for another writer: as long as its slowest request may take."""

FILES_TIMEOUT_S = 120.0
"""Time to wait for others who change files and apply them, of whom there may be several."""

LOCKS = Path("/run/hostfw")
"""The locks of this host's network namespaces, whatever run directory a writer uses."""

_POLL_S = 0.05
_SERVICE = "service"
_SERVICE_TIMEOUT_S = 1.0
"""Time for one that is just ending, or that somebody is looking at."""


class LockHeld(HostError):
    """Another writer did not finish in time."""


class WriterLock:
    """The right to change the ruleset of the network namespace that we are in.

    A file lock rather than an abstract socket, although that would belong to the namespace by nature: any user of
    the host may bind an abstract name, or lock /proc/self/ns/net, and so keep root from ever changing the firewall.
    The file's name carries the namespace, so that writers of several may share a directory: `directory_of` says which
    one all writers of a namespace share. The kernel drops the lock with the last process that holds its descriptor:
    give `fileno()` to `NftablesWorker(keep_open=...)`, and the lock of a killed writer lasts until the commit that it
    left behind has ended. The file goes with the lock, so that namespaces that come and go leave nothing.
    """

    def __init__(self, directory: Path, timeout_s: float = TIMEOUT_S, name: str = "apply", told: str = "") -> None:
        """Nothing is touched before it is acquired; `told` is for others to read while it is held, with our pid."""
        self._path = _path(directory, name)
        self._told = told
        self.timeout_s = timeout_s
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def fileno(self) -> int:
        """The descriptor that holds the lock."""
        if self._descriptor is None:
            raise HostError("the writer lock is not held")
        return self._descriptor

    def acquire(self) -> None:
        """Wait for the lock. Raises LockHeld with the holder's pid, or HostError if the run directory is no good."""
        deadline = monotonic() + self.timeout_s
        try:
            while (descriptor := _try(self._path, self._told)) is None:
                if monotonic() >= deadline:
                    raise LockHeld(*_held_by(_holder(self._path)[0], self.timeout_s))
                sleep(_POLL_S)
        except OSError as error:
            raise HostError(
                f"{self._path}: cannot be locked: {(error.strerror or 'input/output error').lower()}",
                "this needs root, or a directory of your own with --run-dir",
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next writer in, whoever else holds the descriptor."""
        if self._descriptor is not None:
            with suppress(OSError):
                if os.path.samestat(os.fstat(self._descriptor), self._path.stat()):
                    self._path.unlink()
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
        self._descriptor = None


def writer_lock(run_dir: Path) -> WriterLock:
    """The lock of the network namespace that we are in, for a writer with this run directory."""
    return WriterLock(directory_of(run_dir))


def files_lock(run_dir: Path) -> WriterLock:
    """The right to change files of the configuration directory and have them in force, which takes several steps.

    Nobody holds the lock of the ruleset for it: that is for the one who puts them into force, maybe the service.
    """
    return WriterLock(run_dir, FILES_TIMEOUT_S, "files")


@contextmanager
def only_service(run_dir: Path) -> Iterator[None]:
    """The right to be the service of the network namespace that we are in, whatever the run directory.

    Two would take each other's rules for tampering. Raises HostError with the one that runs.
    """
    directory = directory_of(run_dir)
    lock = WriterLock(directory, _SERVICE_TIMEOUT_S, _SERVICE, str(run_dir.absolute()))
    try:
        lock.acquire()
    except LockHeld as error:
        pid, other = _holder(_path(directory, _SERVICE))
        who = f"pid {pid}" if pid is not None else "of unknown pid"
        where = f"with the run directory {other}" if other else "whose run directory is unknown"
        message = f"another hostfw service ({who}, {where}) runs in this network namespace"
        raise HostError(message, "stop it first: one service keeps the rules of a network namespace") from error
    except HostError:
        # A disk that is full or read-only must not leave a host without its service.
        pass
    try:
        yield
    finally:
        lock.release()


def service_elsewhere(run_dir: Path) -> tuple[int, Path] | None:
    """The pid and run directory of the service of our network namespace, None if none runs or the directory is ours."""
    path = _path(directory_of(run_dir), _SERVICE)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        pid, other = _holder(path)
        return (pid, Path(other)) if pid is not None and other not in ("", str(run_dir.absolute())) else None
    else:
        return None
    finally:
        os.close(descriptor)


def directory_of(run_dir: Path, locks: Path = LOCKS) -> Path:
    """The directory that has the lock of our network namespace: `locks`, the same for every run directory.

    Who may not write there, as a user in a network namespace of their own, has it in the run directory.
    """
    with suppress(OSError):
        locks.mkdir(mode=0o755, parents=True, exist_ok=True)
    return locks if locks.is_dir() and os.access(locks, os.W_OK | os.X_OK) else run_dir


def _path(directory: Path, name: str) -> Path:
    return directory / f"{name}-{Path('/proc/thread-self/ns/net').stat().st_ino}.lock"


def _try(path: Path, told: str) -> int | None:
    """A descriptor that holds the lock; None if another holds it, or if the run directory was cleared meanwhile."""
    with ExitStack() as on_failure:
        try:
            descriptor = _open(path)
            on_failure.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(descriptor), path.stat()):
                return None
        except (BlockingIOError, FileNotFoundError):
            return None
        # The pid is for people; a full disk must not keep anyone from repairing the firewall.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n{told}".encode(errors="surrogateescape"), 0)
        on_failure.pop_all()
        return descriptor


def _open(path: Path) -> int:
    """The lock file, made where there is none, as is the run directory."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)


def _holder(path: Path) -> tuple[int | None, str]:
    """The pid of the process that holds a lock, None where it is not told, and the rest of what it tells."""
    try:
        first, _, told = path.read_text(encoding="utf-8", errors="surrogateescape").partition("\n")
        pid = int(first)
    except (OSError, ValueError):
        return None, ""
    return (pid, told) if pid > 0 else (None, "")


def _held_by(pid: int | None, waited_s: float) -> tuple[str, str]:
    """The message and hint for a lock that was not had."""
    message = f"another process is changing the ruleset and was not done within {waited_s:g} s"
    if pid is None:
        return message, ""
    if Path(f"/proc/{pid}").exists():
        return f"{message} (pid {pid})", f"`ps -fp {pid}` shows what it is"
    return f"{message} (left behind by pid {pid}, which has ended)", "its nft worker ends by itself; try again"
