"""A command that runs at a deadline whatever becomes of us: kill -9, a closed terminal, a session that ends.

Where systemd runs the host, a transient timer of its own; elsewhere, as in a container or a network namespace, a
shell in a session of its own that sleeps. Both try again until the command ends with 0, and neither needs anything
of us but the files that the command reads. After a reboot there is neither: that is for who starts next.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hostfw.host.errors import HostError
from hostfw.host.process.import_path import import_path

SYSTEMD = Path("/run/systemd/system")
"""Is there exactly where systemd is the first process (sd_booted(3))."""

_RETRY_S = 5
_STARTING_TIMEOUT_S = 20
_UNIT, _PROCESS = "unit", "process"
_START = 'exec 2>/dev/null; "$@" </dev/null >/dev/null & echo $!'
_WAIT = f'sleep "$1"; shift; until "$@"; do sleep {_RETRY_S}; done'


class WatchdogError(HostError):
    """Nothing would run the command at the deadline."""


def hostfwctl(*arguments: str) -> tuple[str, ...]:
    """The command line that runs hostfwctl again, this very one wherever it is installed."""
    return (sys.executable, "-P", "-m", "hostfw.cli", *arguments)


def arm(name: str, after_s: float, command: Sequence[str]) -> str:
    """Have a command run in `after_s` seconds, in our network namespace; gives what `disarm` takes.

    `name` tells it from all others. Raises WatchdogError.
    """
    seconds = f"{max(after_s, 0):.3f}"
    if by_systemd():
        _run(_timer(name, seconds, command))
        return f"{_UNIT}:{name}"
    # The name is the shell's $0: it is in its command line, where `disarm` looks for it.
    shell = ("/bin/sh", "-c", _WAIT, name, seconds, *command)
    return f"{_PROCESS}:{int(_run(('/bin/sh', '-c', _START, 'sh', *shell), _environment()))}:{name}"


def disarm(started: str) -> None:
    """Let it be, if it has not run yet. What cannot be stopped finds nothing to do when it runs."""
    kind, _, rest = started.partition(":")
    if kind == _UNIT:
        with suppress(WatchdogError):
            _run(("systemctl", "stop", f"{rest}.timer"))
    elif kind == _PROCESS:
        pid, _, name = rest.partition(":")
        with suppress(OSError, ValueError):
            if name.encode() in Path(f"/proc/{int(pid)}/cmdline").read_bytes().split(b"\0"):
                os.killpg(os.getpgid(int(pid)), signal.SIGTERM)


def by_systemd(systemd: Path = SYSTEMD, proc: Path = Path("/proc")) -> bool:
    """True if a timer of systemd would run the command where we are: same network, same files.

    A service in a sandbox may not look at the first process. If systemd itself started it, as it does hostfw.service,
    it is in the same network, and has mounts of its own of the same files.
    """
    try:
        return systemd.is_dir() and all(
            os.path.samestat((proc / "1/ns" / kind).stat(), (proc / "thread-self/ns" / kind).stat())
            for kind in ("net", "mnt")
        )
    except PermissionError:
        return os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
    except OSError:
        return False


def _timer(name: str, seconds: str, command: Sequence[str]) -> tuple[str, ...]:
    return (
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={name}",
        f"--description=Have hostfwctl end at a deadline what was only for a time ({name})",
        f"--on-active={seconds}s",
        "--timer-property=AccuracySec=100ms",
        "--property=Restart=on-failure",
        f"--property=RestartSec={_RETRY_S}s",
        "--property=StartLimitIntervalSec=0",
        *(f"--setenv={key}={value}" for key, value in _paths().items()),
        "--",
        *command,
    )


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=environment,
            start_new_session=True,
            timeout=_STARTING_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise WatchdogError(f"`{command[0]}` cannot be run: {error}") from error
    if done.returncode != 0:
        raise WatchdogError(f"`{command[0]}` failed: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def _environment() -> Mapping[str, str]:
    return os.environ | _paths()


def _paths() -> Mapping[str, str]:
    """Our own import path, wherever the package was imported from."""
    return {"PYTHONPATH": import_path()}
