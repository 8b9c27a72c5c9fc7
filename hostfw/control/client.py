"""The client: it asks the daemon where it runs, otherwise an engine of its own under the namespace's lock."""

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic

from hostfw.control.codec import CodecError
from hostfw.control.handlers import handle, read
from hostfw.control.messages import Apply, Query, Reply, Report, Request, ServiceReport
from hostfw.control.socket import (
    MOST_BYTES,
    Answer,
    Envelope,
    Incoming,
    OtherReleaseError,
    Refusal,
    answer_of,
    envelope_bytes,
    our_namespace,
    peer_uid,
    socket_path,
)
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import UNKNOWN, Failed
from hostfw.host.errors import HostError

TIMEOUT_S = 300.0
"""Time limit for an answer: a first generation of ten thousand policies and a million addresses takes seconds."""

REPORT_TIMEOUT_S = 5.0
"""Time limit for the service's report on itself, which does not wait for writing."""

_ABSENT = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR})
_RECEIVE_BYTES = 1 << 20
_SHORTEST_S = 0.001
_LONGEST_PATH_BYTES = 107
"""Longest path that fits into a socket's address (unix(7))."""

_RESTART = "`systemctl restart hostfw` restarts it; the rules in force stay"
_LOOK = "`systemctl status hostfw` says why; `hostfwctl status` what is in force"

_LOOK_WHO = "nobody but root should be able to write to the run directory"
_ROOT = 0

Handler = Callable[[Engine, Request], Reply]


class DaemonError(HostError):
    """The daemon was asked and gave no answer that can be understood."""


def ask(
    engine: Engine,
    request: Request,
    timeout_s: float = TIMEOUT_S,
    *,
    insist: bool = False,
    handle_here: Handler = handle,
) -> Reply:
    """Have a request carried out by whoever writes in this network namespace.

    `engine` does it where no daemon runs for its run directory. A daemon that does not answer is a failure, and
    nothing is done here, since it may still be at it; unless we `insist`: the lock of the namespace holds either way.
    Then it is also done here what the daemon refuses, as one of another release does, or fails at.
    """
    try:
        answer = send(engine, request, timeout_s)
    except DaemonError as error:
        if insist:
            return handle_here(engine, request)
        return Failed(error.message, error.hint, in_force=UNKNOWN)
    except PermissionError:
        return Failed("the daemon takes requests of root alone", "run it as root", not_permitted=True)
    match answer:
        case None | Refusal(elsewhere=True):
            return handle_here(engine, request)
        case Refusal() | ServiceReport() | Failed() if insist:
            return handle_here(engine, request)
        case Refusal():
            return Failed(answer.message, answer.hint)
        case ServiceReport():
            return Failed("the daemon's answer does not match the request", _RESTART, in_force=UNKNOWN)
        case _:
            return answer


def report(engine: Engine, timeout_s: float = REPORT_TIMEOUT_S) -> ServiceReport | None:
    """The report of the service of a run directory, None where none runs. Raises DaemonError and PermissionError."""
    answer = send(engine, Report(), timeout_s)
    match answer:
        case ServiceReport():
            return answer
        case None | Refusal(elsewhere=True):
            return None
        case Refusal() | Failed():
            raise DaemonError(f"the daemon does not tell how it does: {answer.message}", answer.hint)
        case _:
            raise DaemonError("the daemon's answer does not match the request", _RESTART)


def send(engine: Engine, request: Query, timeout_s: float = TIMEOUT_S) -> Answer | None:
    """The daemon's answer, or None where no daemon runs. Raises DaemonError and PermissionError."""
    directories = engine.directories
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(timeout_s)
        path = socket_path(directories.run).absolute()
        if len(str(path).encode()) > _LONGEST_PATH_BYTES:
            # Nobody can listen there.
            return None
        try:
            channel.connect(str(path))
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            if isinstance(error, PermissionError):
                raise
            raise DaemonError(f"{path}: the daemon cannot be reached: {error.strerror or error}", _RESTART) from error
        if (owner := peer_uid(channel)) not in (_ROOT, os.geteuid()):
            raise DaemonError(f"{path}: who listens there is user {owner}, and no daemon of ours", _LOOK_WHO)
        try:
            ours = (str(directories.config.absolute()), str(directories.state.absolute()))
            request_bytes = envelope_bytes(Envelope(our_namespace(), *ours, _with_feeds(engine, request)))
            if len(request_bytes) > MOST_BYTES:
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
            raise DaemonError(f"the daemon gave no answer within {timeout_s:g} s", _RESTART) from None
        except OSError as error:
            raise DaemonError(f"the daemon went away before it answered: {error.strerror or error}", _LOOK) from error
        except OtherReleaseError as error:
            # Whoever speaks another version has refused what was asked.
            return Refusal(str(error), error.hint)
        except CodecError as error:
            raise DaemonError(f"the daemon's answer cannot be read: {error}", _RESTART) from error


def _with_feeds(engine: Engine, request: Query) -> Query:
    """The request with the files that its Feeds name, which the daemon in its sandbox may not be able to read."""
    if not isinstance(request, Apply) or request.files is None:
        return request
    if not any("Feed" in source.text for source in request.files.configuration.resources):
        return request
    candidate = read(engine, request.files)
    return replace(request, files=replace(request.files, configuration=candidate.configuration))


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
