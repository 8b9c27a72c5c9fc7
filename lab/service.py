"""The real service, run as a process on a node of the laboratory, and what it costs there."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from time import monotonic, sleep

from hostfw.control.channel import send
from hostfw.control.messages import Apply, InForceNow, Request, Rollback
from hostfw.control.socket import Answer, socket_path
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from lab.hostfwctl import Installation, environment
from lab.namespace import LabError, inside, process

_PATIENCE_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Entry = dict[str, str]
"""A journal entry: its fields."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs, and the file that its journal entries go to where there is no journald."""

    installation: Installation
    process: "Popen[str]"
    log: Path

    def entries(self) -> list[Entry]:
        """The entries so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def told(self, words: str) -> list[str]:
        """The messages so far that hold some words."""
        return [entry["MESSAGE"] for entry in self.entries() if words in entry["MESSAGE"]]

    def wait_for(self, holds: Callable[[list[Entry]], object], patience_s: float = _PATIENCE_S) -> list[Entry]:
        """The entries, once something holds of them. Raises LabError if it does not in time, or the service ends."""
        deadline = monotonic() + patience_s
        while not holds(entries := self.entries()):
            if self.process.poll() is not None or monotonic() > deadline:
                raise LabError(f"it did not come about:\n{self.log.read_text()[-4000:]}")
            sleep(0.01)
        return entries

    @property
    def cpu_s(self) -> float:
        """The seconds of a processor that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    @property
    def memory_bytes(self) -> int:
        """The most memory that it has had resident."""
        return self._status_bytes("VmHWM:")

    @property
    def resident_bytes(self) -> int:
        """The memory that it has resident now."""
        return self._status_bytes("VmRSS:")

    def _status_bytes(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024


@contextmanager
def service(installation: Installation, log: Path, *, takes_over: bool = True) -> Iterator[Service]:
    """The service on a node, from the moment at which it reads the log and a generation is in force.

    Without `takes_over`, from the moment at which it has taken over what there is, if anything, and answers.
    """
    shell = ["sh", "-c", 'log=$1; shift; exec "$@" 2>>"$log"', "sh", str(log), *command(installation)]
    log.touch()
    with process(installation.node, shell, environment=environment()) as started:
        running = Service(installation, started, log)
        readers = Path(f"/proc/{started.pid}/net/netfilter/nfnetlink_log")
        running.wait_for(lambda _: _listens(installation))
        if takes_over:
            running.wait_for(lambda _: readers.exists() and readers.read_text() and _controlled(installation))
        else:
            # Whatever it is asked waits until everything is taken over.
            _ask(installation, Rollback(if_pending="none"))
        yield running


def start(installation: Installation, *module: str) -> "Popen[bytes]":
    """The service on a node, for a test that ends it itself, and reads from a pipe what it tells, or does not."""
    with inside(installation.node):
        return Popen(command(installation, *module), stderr=subprocess.PIPE, env=environment(), start_new_session=True)


def command(installation: Installation, *module: str) -> list[str]:
    """The command line of the service, or of a module that takes its arguments after arguments of its own."""
    return [sys.executable, "-m", *(module or ("hostfw.daemon",)), *installation.arguments[3:]]


def reload_repeatedly(installation: Installation, times: int, configure: Callable[[int], None]) -> None:
    """Have the service read its directory again and again, `configure` being called with a number before each time.

    Raises LabError for a reload that does not put a generation into force.
    """
    for number in range(times):
        configure(number)
        answer = _ask(installation, Apply())
        if not isinstance(answer, InForceNow):
            raise LabError(f"reload {number} came to this: {answer}")


def _controlled(installation: Installation) -> bool:
    return (installation.run / "control.sock").exists() and (installation.run / "generation.json").exists()


def _ask(installation: Installation, request: Request) -> Answer | None:
    engine = Engine(Directories(installation.config, installation.state, installation.run))
    with inside(installation.node):
        return send(engine.directories, request)


def _listens(installation: Installation) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(socket_path(installation.run))) == 0
