"""Network namespaces that end with the process that made them.

A namespace here has no name in /run/netns and no mount: it exists by descriptors of this process, by the sockets opened
in it and by the processes started in it. Whatever ends this process, kill -9 included, ends the namespace with its
interfaces and its ruleset, so no run leaves anything for the next. It also needs nothing of the machine but
CAP_SYS_ADMIN and CAP_NET_ADMIN: a chroot with /proc, systemd-nspawn and containers will do.

The C library's own calls are used because `os.setns` came with Python 3.12 only.
"""

import ctypes
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWUTS = 0x04000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_SYSCTL = Path("/proc/sys")
_KILL_WAIT_S = 5

_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The laboratory itself failed: nothing was learnt about the firewall."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace and a host name of its own, held open by two descriptors."""

    name: str
    network: int
    uts: int

    @property
    def path(self) -> str:
        """A path by which `ip link ... netns PATH` and `nsenter --net=PATH` find the namespace while it lives."""
        return f"/proc/{os.getpid()}/fd/{self.network}"


@contextmanager
def namespace(name: str) -> Iterator[Namespace]:
    """A new namespace whose host name is `name`, with `lo` down and nothing else, for the length of the block."""
    before = _current()
    try:
        _check(_libc.unshare(_CLONE_NEWNET | _CLONE_NEWUTS), "make a network namespace")
        socket.sethostname(name)
        made = _current()
    finally:
        _return_to(before)
    try:
        yield Namespace(name, *made)
    finally:
        for descriptor in made:
            os.close(descriptor)


@contextmanager
def inside(namespace: Namespace) -> Iterator[None]:
    """Run the block within a namespace. Sockets and processes made there stay there.

    Only the calling thread moves. Never `await` within the block.
    """
    before = _current()
    try:
        _enter((namespace.network, namespace.uts))
        yield
    finally:
        _return_to(before)


def open_socket(
    namespace: Namespace, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
) -> socket.socket:
    """A socket of the namespace, for use from anywhere in this process."""
    with inside(namespace):
        return socket.socket(family, kind, protocol)


@contextmanager
def process(
    namespace: Namespace,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> Iterator["subprocess.Popen[str]"]:
    """A process in the namespace, with pipes for its output, that ends with the block if it has not before.

    It leads a session of its own, and all of that session is killed; it also dies with this thread.
    """
    with inside(namespace):
        started = subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl and nothing else
        )
    with started:
        try:
            yield started
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait(_KILL_WAIT_S)


def run(
    namespace: Namespace,
    argv: Sequence[str],
    *,
    text: str | None = None,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
    timeout_s: float = 60,
) -> "subprocess.CompletedProcess[str]":
    """Run a command in the namespace to its end, with `text` for its input.

    Raises LabError with its messages if it fails and `check` is set, or takes longer than the timeout.
    """
    stdin = subprocess.DEVNULL if text is None else subprocess.PIPE
    with process(namespace, argv, environment=environment, stdin=stdin) as started:
        try:
            output, messages = started.communicate(text, timeout_s)
        except subprocess.TimeoutExpired as late:
            raise LabError(f"{namespace.name}: `{' '.join(argv)}` took more than {timeout_s} s") from late
        ended = subprocess.CompletedProcess(list(argv), started.returncode, output, messages)
    if check and ended.returncode != 0:
        raise LabError(f"{namespace.name}: `{' '.join(argv)}` ended with {ended.returncode}:\n{messages}{output}")
    return ended


def set_sysctl(namespace: Namespace, key: str, value: str) -> None:
    """Set a `net.` sysctl of the namespace.

    Containers mount /proc/sys read-only; there a process with a /proc of its own writes it.
    """
    path = _SYSCTL / key.replace(".", "/")
    try:
        with inside(namespace):
            path.write_text(value)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise LabError(f"{namespace.name}: cannot set {key} to {value}: {error.strerror}") from error
        script = 'mount -t proc proc /proc && printf %s "$2" >"$1"'
        run(namespace, ["unshare", "--mount", "sh", "-c", script, "sh", str(path), value])


def _current() -> tuple[int, int]:
    """Descriptors of the calling thread's network and UTS namespaces."""
    network, uts = (os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts"))
    return network, uts


def _enter(descriptors: tuple[int, int]) -> None:
    network, uts = descriptors
    _check(_libc.setns(network, _CLONE_NEWNET), "enter a network namespace")
    _check(_libc.setns(uts, _CLONE_NEWUTS), "enter a UTS namespace")


def _return_to(descriptors: tuple[int, int]) -> None:
    _enter(descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def _check(result: int, purpose: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        hint = " (needs CAP_SYS_ADMIN and CAP_NET_ADMIN)" if number == errno.EPERM else ""
        raise LabError(f"cannot {purpose}: {os.strerror(number)}{hint}")


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
