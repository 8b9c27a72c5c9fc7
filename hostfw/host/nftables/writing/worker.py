"""The process in which libnftables runs: `python3 -m hostfw.host.nftables.writing.worker`, requests on standard input.

libnftables stays out of every other process: 1.0.6 dies (SIGSEGV) on sets that a newer nft wrote into any table of
the host, and can hang while others commit. Standard input is a socket: a request is a verb, the seconds after which
nobody waits for the answer any more, a length and the script; the answer is a flag, a length and the error text.
Descriptors that come with the head of a request are held until it is answered. End of input ends the process. Imports
are few, because `hostfwctl` waits for them.
"""

import os
import select
import signal
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nftables import Nftables

CHECK = b"c"
COMMIT = b"!"
REQUEST = struct.Struct("!cdI")
"""Verb, seconds that the parent waits, and the length in bytes of the script that follows."""
ANSWER = struct.Struct("!?I")
"""True if nft took the script, and the length in bytes of the error text that follows."""
NAME = "hostfw-nft"
"""The name of the worker in `ps`, and of the committer in the kernel: at most 15 bytes."""
READY = b"r"
"""The worker's first byte, sent once libnftables is loaded."""

_MEMBARRIER = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356, "i686": 375, "armv7l": 389}
"""The number of membarrier(2), for which the C library has no function, by architecture."""
_MEMBARRIER_GLOBAL = 1

_LEFT_TO_THE_PARENT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_CHANNEL = 0
_GRACE_S = 5.0
_MOST_DESCRIPTORS = 8
_INT = struct.Struct("=i")
_IDLE_S = 0.3
"""Time after a request during which its resources are kept."""
_MAX_ERROR_BYTES = 256 * 1024


def main() -> None:
    """Serve until the input ends.

    Signals are left to the parent, whose end is ours too: a commit that has begun is finished rather than left in
    doubt. SIGALRM, at its default, ends a request that hangs after its parent is gone.
    """
    for number in _LEFT_TO_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # Our parent holds them back until they are ignored.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Here and not above: the parent imports this module for the framing, and never libnftables.
    from nftables import Nftables

    with suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as file:  # noqa: PTH123  pathlib takes 3 ms
        file.write(NAME)
    _write(READY)
    # A context closes its socket only once the kernel has freed what its commit replaced, and until then, 15 ms, nobody
    # else can commit: what was prepared could not be switched to. So it is kept until the next request, or a quiet
    # moment. There is one at a time, because only a process's first socket has its process id for a netlink port.
    nft: Nftables | None = None
    while True:
        if nft is not None and not select.select([_CHANNEL], [], [], _IDLE_S)[0]:
            nft = None
        request, held = _read_request()
        if not request:
            return
        verb, seconds, length = REQUEST.unpack(request)
        script = _read(length)
        if len(script) != length:
            return
        signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE_S)
        nft = None
        nft = Nftables()
        ok, error = _run(nft, script, check=verb == CHECK)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for descriptor in held:
            os.close(descriptor)
        _write(ANSWER.pack(ok, len(error)) + error)


def _run(nft: "Nftables", script: bytes, *, check: bool) -> tuple[bool, bytes]:
    """Run a script as one transaction, or only see whether it would pass; the errors with their line and column.

    A file rather than a buffer, because libnftables (1.0.6) gives positions for files alone. The context is a fresh
    one, because a context keeps what it learnt of the kernel and of interfaces.
    """
    descriptor = os.memfd_create("ruleset", os.MFD_CLOEXEC)
    name = b"/proc/self/fd/%d" % descriptor
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(script)
        if not check and b"\ndelete " in b"\n" + script:
            let_packets_leave()
        nft.set_dry_run(check)
        code, _, error = nft.cmd_from_file(name)
    finally:
        os.close(descriptor)
    return code == 0, error.replace(name + b":", b"")[:_MAX_ERROR_BYTES]


def let_packets_leave() -> None:
    """Wait until no packet is left in what rules led to before the last commit; 10 ms.

    A packet keeps to the rules of the moment at which it entered a base chain, but only for one commit: if it is held
    up, as by a processor that the hypervisor took away, until what it is in is deleted as well, it falls through. It
    holds an RCU read lock, and membarrier(2) waits for all of these to be released. Where the kernel cannot, time
    alone has to do.
    """
    # Here and not above: every command imports this module, and few delete anything.
    import ctypes

    number = _MEMBARRIER.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, _MEMBARRIER_GLOBAL, 0, 0)


def _read_request() -> tuple[bytes, list[int]]:
    """The head of a request, and the descriptors that came with it; nothing at the end of the input."""
    # The C module alone: the other takes 3 ms to load.
    from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET, socket

    channel = socket(fileno=_CHANNEL)
    try:
        head, sent, _, _ = channel.recvmsg(REQUEST.size, CMSG_SPACE(_MOST_DESCRIPTORS * _INT.size), MSG_CMSG_CLOEXEC)
    finally:
        channel.detach()
    held = [
        number
        for level, kind, data in sent
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
        for (number,) in _INT.iter_unpack(data[: len(data) - len(data) % _INT.size])
    ]
    rest = _read(REQUEST.size - len(head)) if 0 < len(head) < REQUEST.size else b""
    request = head + rest
    return (request if len(request) == REQUEST.size else b""), held


def _read(length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = os.read(_CHANNEL, min(length - len(parts), 1 << 20))
        if not part:
            break
        parts += part
    return bytes(parts) if len(parts) == length else b""


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(_CHANNEL, view) :]


if __name__ == "__main__":
    main()
