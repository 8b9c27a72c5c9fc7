"""The process that downloads: a request on standard input, the answer on standard output, which is a file.

It runs without rights, and gives up more before it reads a byte of the network.
"""

import ctypes
import resource
import sys

from hostfw.host.download.http import download
from hostfw.host.download.messages import Answer, DownloadError, header_of, request_of
from hostfw.host.download.names import resolve

_MOST_BYTES = 2 * 1024**3
_CPU_S = 120
_DESCRIPTORS = 64
_SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES = 4, 38
"""prctl(2)."""


def main() -> int:
    """Answer one request."""
    give_up_rights()
    request = request_of(sys.stdin.buffer.read())
    try:
        answer = resolve(request) if request.hostnames else download(request)
    except DownloadError as error:
        answer = Answer(str(error))
    except MemoryError:
        answer = Answer("it needs more memory than it may have")
    sys.stdout.buffer.write(header_of(answer))
    sys.stdout.buffer.write(answer.text)
    sys.stdout.buffer.flush()
    return 0


def give_up_rights() -> None:
    """Bound memory, time and descriptors, gain no rights any more, and be no open book to others of the same user."""
    for kind, most in (
        (resource.RLIMIT_AS, _MOST_BYTES),
        (resource.RLIMIT_CPU, _CPU_S),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main())
