"""A host that tests can switch on and off, run commands in and write files to."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from os import getpid, killpg
from pathlib import Path
from types import FrameType
from typing import NoReturn

from lab.hosts.image import Release
from lab.hosts.machine import (
    Running,
    Tree,
    console,
    finish,
    leader,
    make_tree,
    offline,
    remove_tree,
    start,
    sweep,
    wait_ready,
)
from lab.hosts.wire import Uplink
from lab.namespace import LabError

Completed = subprocess.CompletedProcess[str]
_NUMBERS = count(1)
_KILL_WAIT_S = 5
_ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")


@dataclass(slots=True)
class Host:
    """A Debian host. Made by `debian`; on or off."""

    tree: Tree
    uplinks: tuple[Uplink, ...]
    leader: int = field(default=0, init=False)
    _running: Running | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """The host's name, unique on this machine."""
        return self.tree.name

    @property
    def release(self) -> Release:
        """The Debian release that it runs."""
        return self.tree.release

    def start(self, *, wait: bool = True) -> None:
        """Switch it on, and wait until its boot is over unless told otherwise."""
        if self._running is not None:
            raise LabError(f"{self.name} is on already")
        self._running = start(self.tree, self.uplinks)
        self.leader = leader(self._running)
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout_s: float = 90) -> None:
        """Wait until the boot is over."""
        wait_ready(self._on(), timeout_s)

    def power_off(self) -> None:
        """Shut it down in order. Raises LabError if it had to be forced."""
        if not self._end(ask=True):
            raise LabError(f"{self.name} did not shut down:\n{console(self.tree)}")

    def cut_power(self) -> None:
        """Switch it off as it is."""
        self._end(ask=False)

    def reboot(self, *, wait: bool = True) -> None:
        """Shut it down in order and switch it on again, with an empty ruleset and the same disk."""
        self.power_off()
        self.start(wait=wait)

    def run(
        self, argv: Sequence[str], *, text: str | None = None, check: bool = True, timeout_s: float = 60
    ) -> Completed:
        """Run a command to its end, with `text` for its input.

        On a host that is off it runs in its tree, with nothing but the files. Raises LabError with what the command
        said if it fails and `check` is set, or if it takes longer than the timeout.
        """
        if self._running is None:
            ended = offline(self.tree, argv, text)
        else:
            with self.process(argv, stdin=subprocess.DEVNULL if text is None else subprocess.PIPE) as started:
                try:
                    output, messages = started.communicate(text, timeout_s)
                except subprocess.TimeoutExpired as late:
                    raise LabError(f"{self.name}: `{' '.join(argv)}` took more than {timeout_s} s") from late
                ended = Completed(list(argv), started.returncode, output, messages)
        if check and ended.returncode != 0:
            said = f"{ended.stderr}{ended.stdout}"
            raise LabError(f"{self.name}: `{' '.join(argv)}` ended with {ended.returncode}:\n{said}")
        return ended

    @contextmanager
    def process(self, argv: Sequence[str], *, stdin: int = subprocess.DEVNULL) -> Iterator["subprocess.Popen[str]"]:
        """A process of the running host, with pipes for its output, that ends with the block if it has not before."""
        self._on()
        started = subprocess.Popen(
            enter(self.leader, argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with started:
            try:
                yield started
            finally:
                with suppress(ProcessLookupError):
                    killpg(started.pid, signal.SIGKILL)
                started.wait(_KILL_WAIT_S)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, with the folders that it needs, as root."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        self.run(["sh", "-c", script, "sh", path, f"{mode:o}"], text=text)

    def read(self, path: str) -> str:
        """The text of a file."""
        return self.run(["cat", path]).stdout

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a file or a whole tree of this machine to `target`, where nothing of that name is yet."""
        if self._running is not None:
            destination = f"/proc/{self.leader}/root{target}"
        else:
            destination = f"{self.tree.directory}/upper{target}"
            Path(destination).parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["cp", "-rT", "--preserve=mode", str(source), destination], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise LabError(f"{self.name}: cannot copy {source} to {target}: {done.stderr}")

    def journal(self, *arguments: str) -> str:
        """The output of `journalctl` with these arguments; without times, unless `-o` asks for another form."""
        return self.run(["journalctl", "--no-pager", "--quiet", "-o", "cat", *arguments]).stdout

    def pid_of(self, unit: str) -> int:
        """The main process of a unit, 0 if it has none; the number that it has in the host."""
        return int(self.property_of(unit, "MainPID"))

    def property_of(self, unit: str, name: str) -> str:
        """One property of a unit, as `systemctl show` has it."""
        return self.run(["systemctl", "show", "--value", f"--property={name}", unit]).stdout.strip()

    def _on(self) -> Running:
        if self._running is None:
            raise LabError(f"{self.name} is off")
        return self._running

    def _end(self, *, ask: bool) -> bool:
        running = self._on()
        try:
            return finish(running, partial(self._ask_to_end) if ask else None)
        finally:
            self._running, self.leader = None, 0

    def _ask_to_end(self) -> None:
        self.run(["systemctl", "--no-block", "poweroff"], check=False)

    def close(self) -> None:
        """Switch it off, if it is on, and remove its disk."""
        if self._running is not None:
            self.cut_power()
        remove_tree(self.tree)


@contextmanager
def debian(
    of: Release,
    name: str,
    uplinks: Sequence[Uplink] = (),
    *,
    on: bool = True,
    like: Host | None = None,
    extra: tuple[str, ...] = (),
) -> Iterator[Host]:
    """A host for the length of the block, switched on unless told otherwise. Nothing of it outlives the block.

    Its disk is bare but for `extra` packages, or what another host has that is off and outlives it. Its name is made
    unique with this process' number. SIGTERM and SIGHUP end the block as Ctrl-C does.
    """
    sweep()
    with _unwound_by_signals():
        tree = make_tree(f"t{getpid()}-{next(_NUMBERS)}-{name}", of, uplinks, like.tree if like else None, extra)
        host = Host(tree, tuple(uplinks))
        try:
            if on:
                host.start()
            yield host
        finally:
            host.close()


def enter(leading: int, argv: Sequence[str]) -> list[str]:
    """The command line that runs a command in the host that a process leads."""
    return ["nsenter", "--target", str(leading), "--all", "--root", "--wd", "env", "-i", *_ENVIRONMENT, *argv]


@contextmanager
def _unwound_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind what is built, where this thread may say so."""
    try:
        before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    except ValueError:  # not the main thread: the hosts die with it all the same
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
