"""Proof that a host is well with a bundle on trial: a command that ends with 0, and a server that still answers."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from hostfw.host.download.messages import plain

SHELL = "/bin/sh"
_MOST_OUTPUT = 4096
_SHORTEST_S = 0.5


class Health(NamedTuple):
    """The questions to ask while a bundle is on trial: a command line for a shell, and whether its source answers."""

    command: str = ""
    reaches_source: Callable[[float], str] | None = None

    def objection(self, within_s: float, number: int) -> str:
        """The reason why the host is not well, in a sentence; empty if it is. All of it takes at most so long."""
        if self.reaches_source is not None and (why := self.reaches_source(within_s / 2)):
            return f"the source of bundles cannot be reached any more: {why}"
        within_s = within_s / 2 if self.reaches_source is not None else within_s
        return run_command(self.command, within_s, number) if self.command else ""


def run_command(command: str, within_s: float, number: int) -> str:
    """Run a command line in a shell: the reason why it does not speak for the host, or nothing.

    It is a process group of its own, which ends with its time.
    """
    environment = {**os.environ, "HOSTFW_BUNDLE": str(number)}
    try:
        process = subprocess.Popen(
            (SHELL, "-c", command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return f"`{plain(command)}` cannot be run: {error.strerror or error}"
    try:
        output, _ = process.communicate(timeout=max(within_s, _SHORTEST_S))
    except subprocess.TimeoutExpired:
        return f"`{plain(command)}` was not done within {within_s:.0f} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if not process.returncode:
        return ""
    lines = [line.strip() for line in output[-_MOST_OUTPUT:].decode(errors="replace").splitlines() if line.strip()]
    said = f": {plain(lines[-1])}" if lines else ""
    return f"`{plain(command)}` ended with status {process.returncode}{said}"
