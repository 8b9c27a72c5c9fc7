"""The real `hostfwctl`, run as a process on a node of the laboratory."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hostfw
from lab.namespace import Namespace, run

_SOURCE = Path(hostfw.__file__).parents[1]
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR")
"""Of the caller's environment; SSH_CONNECTION and its like are about another network than the node's."""


@dataclass(frozen=True, slots=True)
class Installation:
    """hostfw on a node: what would be /etc/hostfw, /var/lib/hostfw and /run/hostfw there."""

    node: Namespace
    config: Path
    state: Path
    run: Path

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line up to the verb."""
        directories = ("--config-dir", self.config, "--state-dir", self.state, "--run-dir", self.run)
        return (sys.executable, "-m", "hostfw.cli", *map(str, directories))


def install(node: Namespace, directory: Path) -> Installation:
    """Empty directories for hostfw on a node, below `directory`."""
    installation = Installation(node, directory / "etc", directory / "state", directory / "run")
    for each in (installation.config, installation.state, installation.run):
        each.mkdir(mode=0o755, parents=True)
    return installation


def hostfwctl(
    installation: Installation, *arguments: str, check: bool = True, timeout_s: float = 60
) -> "subprocess.CompletedProcess[str]":
    """Run a verb on the node. With `check`, LabError shows the messages of one that fails."""
    return run(
        installation.node,
        (*installation.arguments, *arguments),
        environment=environment(),
        check=check,
        timeout_s=timeout_s,
    )


def environment() -> dict[str, str]:
    """The environment of a process on a node: this very source, and nothing of the caller's session."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {"PYTHONPATH": str(_SOURCE), "NO_COLOR": "1"}
