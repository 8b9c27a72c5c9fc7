"""The client's end of the control socket: one request to the daemon, and its answer.

Nothing here loads what could carry out a request itself: the report of the service is quick to get.
"""

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from hostfw.control.codec import CodecError
from hostfw.control.messages import Query, Report, ServiceReport
from hostfw.control.socket import (
    MOST_BYTES,
    Answer,
    Envelope,
    Incoming,
    OtherReleaseError,
    Refusal,
    answer_of,
    envelope_bytes,
    has_too_many_escapes,
    our_namespace,
    peer_uid,
    socket_path,
)
from hostfw.engine.context import Directories
from hostfw.engine.outcomes import Failed
from hostfw.host.errors import HostError
from hostfw.host.lock import service_elsewhere

TIMEOUT_S = 300.0
"""Time limit for an answer: a first generation of ten thousand policies and a million addresses takes seconds."""

REPORT_TIMEOUT_S = 5.0
"""Time limit for the service's report on itself, which does not wait for writing."""

_ABSENT = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR})
_REOPENED_S = 1.0
"""Time in which a service that lost its socket has opened it again, unless something stands in the way."""
_AGAIN_S = 0.02
_SOCKETS = Path("/proc/self/net/unix")
_LISTENING = "00010000"
"""Flags of a socket that listens (__SO_ACCEPTCON)."""
_RECEIVE_BYTES = 1 << 20
_SHORTEST_S = 0.001
_LONGEST_PATH_BYTES = 107
"""Longest path that fits into a socket's address (unix(7))."""

RESTART = "`systemctl restart hostfw` restarts it; the rules in force stay"
_LOOK = "`systemctl status hostfw` says why; `hostfwctl status` what is in force"

_LOOK_WHO = "nobody but root should be able to write to the run directory"
_ROOT = 0


class DaemonError(HostError):
    """The daemon was asked and gave no answer that can be understood."""


class NotReachedError(DaemonError):
    """A daemon runs and could not be asked, so nothing was changed."""


def report(directories: Directories, timeout_s: float = REPORT_TIMEOUT_S) -> ServiceReport | None:
    """The report of the service of a run directory, None where none runs. Raises DaemonError and PermissionError."""
    answer = send(directories, Report(), timeout_s)
    match answer:
        case ServiceReport():
            return answer
        case None | Refusal(elsewhere=True):
            return None
        case Refusal() | Failed():
            raise DaemonError(f"the daemon does not tell how it does: {answer.message}", answer.hint)
        case _:
            raise DaemonError("the daemon's answer does not match the request", RESTART)


def send(directories: Directories, request: Query, timeout_s: float = TIMEOUT_S) -> Answer | None:
    """The daemon's answer, or None where no daemon runs. Raises DaemonError and PermissionError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(timeout_s)
        path = socket_path(directories.run).absolute()
        if len(str(path).encode()) > _LONGEST_PATH_BYTES:
            # Nobody can listen there.
            _refuse_beside_another(directories)
            return None
        try:
            _connect(channel, path, directories)
        except OSError as error:
            if error.errno in _ABSENT:
                _refuse_beside_another(directories)
                return None
            if isinstance(error, PermissionError):
                raise
            raise DaemonError(f"{path}: the daemon cannot be reached: {error.strerror or error}", RESTART) from error
        if (owner := peer_uid(channel)) not in (_ROOT, os.geteuid()):
            raise DaemonError(f"{path}: who listens there is user {owner}, and no daemon of ours", _LOOK_WHO)
        try:
            ours = (str(directories.config.absolute()), str(directories.state.absolute()))
            request_bytes = envelope_bytes(Envelope(our_namespace(), *ours, request))
            if len(request_bytes) > MOST_BYTES or has_too_many_escapes(request_bytes):
                raise DaemonError(
                    f"the files are too big to be handed to the daemon ({len(request_bytes) >> 20} MiB)",
                    "`hostfwctl apply` without -f has it read the configuration directory itself",
                )
            deadline = monotonic() + timeout_s
            with suppress(BrokenPipeError):
                # Whoever does not want all of it has answered, and that is to be read.
                channel.sendall(request_bytes)
            return answer_of(_receive(channel, deadline))
        except TimeoutError:
            raise DaemonError(f"the daemon gave no answer within {timeout_s:g} s", RESTART) from None
        except OSError as error:
            raise DaemonError(f"the daemon went away before it answered: {error.strerror or error}", _LOOK) from error
        except OtherReleaseError as error:
            # Whoever speaks another version has refused what was asked.
            return Refusal(str(error), error.hint)
        except CodecError as error:
            raise DaemonError(f"the daemon's answer cannot be read: {error}", RESTART) from error


def _refuse_beside_another(directories: Directories) -> None:
    """Raise NotReachedError where the service of our network namespace has another run directory."""
    if (found := service_elsewhere(directories.run)) is not None:
        pid, run_dir = found
        raise NotReachedError(
            f"the service of this network namespace (pid {pid}) has the run directory {run_dir}",
            f"name it with --run-dir {run_dir}, or stop that service",
        )


def is_lost(directories: Directories) -> bool:
    """True if a service listens at the socket of a run directory that nobody finds there any more.

    The kernel still tells its path (/proc/net/unix, proc(5)); that of anybody but root may be a lie.
    """
    path = str(socket_path(directories.run).absolute())
    try:
        lines = _SOCKETS.read_text(errors="replace").splitlines()
    except OSError:
        return False
    fields = (line.split(None, 7) for line in lines if line.endswith(f" {path}"))
    inodes = {int(found[6]) for found in fields if len(found) > 7 and found[3] == _LISTENING and found[6].isdigit()}
    return bool(inodes) and _are_held_by_root(inodes)


def _are_held_by_root(inodes: set[int]) -> bool:
    from hostfw.host.process.processes import PROC, socket_inodes

    for folder in PROC.iterdir():
        with suppress(OSError):
            is_trusted = folder.name.isdigit() and folder.stat().st_uid in (_ROOT, os.geteuid())
            if is_trusted and inodes & (socket_inodes(folder) or frozenset()):
                return True
    return False


def _connect(channel: socket.socket, path: Path, directories: Directories) -> None:
    """Connect to the service. One that lost its socket is given a moment to open it again.

    Raises OSError and NotReachedError.
    """
    deadline: float | None = None
    while True:
        try:
            channel.connect(str(path))
        except OSError as error:
            if error.errno not in _ABSENT or not is_lost(directories):
                raise
            if deadline is None:
                # Only now: one that has just begun is reached with the next try, however long the look took.
                deadline = monotonic() + _REOPENED_S
            if monotonic() > deadline:
                raise NotReachedError(f"the service runs, and its socket {path} is gone", RESTART) from error
            sleep(_AGAIN_S)
        else:
            return


def _receive(channel: socket.socket, deadline: float) -> bytes:
    """The whole answer, by then. Raises OSError and CodecError."""
    incoming = Incoming()
    while True:
        channel.settimeout(max(deadline - monotonic(), _SHORTEST_S))
        part = channel.recv(_RECEIVE_BYTES)
        if not part:
            raise ConnectionResetError(errno.ECONNRESET, "end of the connection")
        if incoming.feed(part) or incoming.refused is not None:
            return incoming.message()
