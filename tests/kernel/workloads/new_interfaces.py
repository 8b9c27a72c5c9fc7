"""Interfaces that send from their first moment on, while the service runs, reloads, is stopped and is killed."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from time import sleep

from lab.hostfwctl import Installation, hostfwctl
from lab.laboratory import Lab
from lab.namespace import run
from lab.service import service
from tests.kernel.packets.ethernet import opened, received

MAC = "02:00:00:00:02:00"
"""The Ethernet address of the host's end of each new interface."""
_AT_ONCE = 25
"""New interfaces that come at the same time."""
_LISTENS_S = 0.05
_MARK = b"from a new interface"
_MORE_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: more}}
spec: {{selector: app == 'web', ingress: [{{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}]}}
"""


@dataclass(frozen=True, slots=True)
class NewInterfaces:
    """Interfaces of the host, called `prefix` and a number, whose other ends are in the namespace `behind`.

    Each is brought `up`, as `ip link set` takes it, while frames already come in at its other end. Where they must not
    arrive is `listening`: nodes and their interfaces.
    """

    lab: Lab
    behind: str
    prefix: str
    up: str
    listening: tuple[tuple[str, str], ...]

    def arrived(self, first: int, number: int, frame: bytes) -> list[bytes]:
        """The frames that arrive of one that so many new interfaces send, which holds `payload`."""
        arrived: list[bytes] = []
        with ExitStack() as stack:
            links = [stack.enter_context(opened(self.lab[node], link)) for node, link in self.listening]
            for start in range(first, first + number, _AT_ONCE):
                self._come_and_go(range(start, min(start + _AT_ONCE, first + number)), frame)
                arrived += (got for link in links for got in received(link) if _MARK in got)
        return arrived

    def _come_and_go(self, numbers: Sequence[int], frame: bytes) -> None:
        far = self.lab[self.behind]
        self._links(
            f"link add {self.prefix}{n} address {MAC} type veth peer name y{n} netns {far.path}" for n in numbers
        )
        run(far, ["ip", "-batch", "-"], text="".join(f"link set y{n} up\n" for n in numbers))
        with ExitStack() as stack:
            ends = [stack.enter_context(opened(far, f"y{n}")) for n in numbers]
            ready, over = Event(), Event()
            sender = Thread(target=_send_on, args=(ends, frame, ready, over))
            sender.start()
            ready.wait()
            try:
                self._links(f"link set {self.prefix}{n} {self.up}" for n in numbers)
                sleep(_LISTENS_S)
            finally:
                over.set()
                sender.join()
        self._links(f"link delete {self.prefix}{n}" for n in numbers)

    def _links(self, commands: Iterator[str]) -> None:
        run(self.lab["host"], ["ip", "-batch", "-"], text="".join(f"{command}\n" for command in commands))


def payload(text: str = "") -> bytes:
    """The content of a frame, by which it is known where it arrives."""
    return _MARK + text.encode()


def _send_on(ends: Sequence[socket.socket], frame: bytes, ready: Event, over: Event) -> None:
    while not over.is_set():
        for end in ends:
            # Nothing is received by an interface that is down.
            with suppress(OSError):
                end.send(frame)
        ready.set()


def closed_in_every_state(
    interfaces: NewInterfaces, host: Installation, number: int, frame: bytes, log: Path
) -> Iterator[str]:
    """The states of the service in turn, each while nothing arrives of what so many new interfaces send in it."""

    def closed(state: str, first: int) -> str:
        assert interfaces.arrived(first, number, frame) == [], state
        return state

    with service(host, log) as running:
        yield closed("running", 10_000)
        with _reloading(host) as reloads:
            state = closed("reloading", 20_000)
        assert reloads, "nothing was reloaded meanwhile"
        yield state
        running.process.terminate()
        running.process.wait()
        yield closed("stopped", 30_000)
    with service(host, log) as running:
        running.process.kill()
        running.process.wait()
        yield closed("killed", 40_000)


@contextmanager
def _reloading(host: Installation) -> Iterator[list[int]]:
    """Have another policy put into force again and again for the length of the block; gives the numbers of reloads."""
    over = Event()
    reloads: list[int] = []
    policy = host.config / "more.yaml"

    def reload() -> None:
        while not over.is_set():
            policy.write_text(_MORE_POLICY.format(port=1000 + len(reloads)))
            # A thread of ours cannot ask: the service compares the network namespaces of processes.
            hostfwctl(host, "reload")
            reloads.append(len(reloads))

    thread = Thread(target=reload)
    thread.start()
    try:
        yield reloads
    finally:
        over.set()
        thread.join()
