"""The state of systemd units, read by systemctl(1); nothing where systemd does not run the host."""

import subprocess
from collections.abc import Sequence

from hostfw.host.systemd.rollback_timer import by_systemd

_TIMEOUT_S = 20
_PROGRAM = "systemctl"


def runs_here() -> bool:
    """True if systemd runs the host, and we are in its network and see its files."""
    return by_systemd()


def systemctl(*arguments: str) -> str:
    """The output of systemctl, whatever its exit status; empty where it cannot be run."""
    return _run(arguments)[1]


def change(*arguments: str) -> str:
    """Have systemctl do something; gives what went wrong, empty if nothing did."""
    status, output, messages = _run(arguments)
    return "" if status == 0 else (messages or output).strip() or f"systemctl ended with {status}"


def _run(arguments: Sequence[str]) -> tuple[int, str, str]:
    command = [_PROGRAM, *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        return -1, "", f"`{' '.join(command)}` cannot be run: {error}"
    return done.returncode, done.stdout, done.stderr
