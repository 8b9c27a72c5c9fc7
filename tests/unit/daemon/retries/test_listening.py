"""Sockets for the kernel's events, where none can be opened."""

import errno
import socket
from collections.abc import Callable

import pytest

from hostfw.host.errors import HostError
from hostfw.host.network.interfaces.link_events import LinkEvents
from hostfw.host.nftables.events import NftEvents
from hostfw.host.nftables.nflog import NflogReader


@pytest.mark.parametrize("listen", [LinkEvents, NftEvents, lambda: NflogReader(100, 64)])
def test_no_descriptor_left_is_an_error_of_the_host(
    listen: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service expects it, and goes on without or reports it."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)

    with pytest.raises(HostError, match=r"(?i)too many open files"):
        listen()
