"""The engine as the verbs open it."""

from typing import TYPE_CHECKING

from hostfw.cli.command_line.options import Options

if TYPE_CHECKING:
    # It brings the compiler along, which no page of help needs.
    from hostfw.engine.engine import Engine
    from hostfw.model.host.facts import HostFacts
    from hostfw.model.settings import Settings


def open_engine(options: Options) -> "Engine":
    """The engine on the directories of a command line."""
    from hostfw.cli.outcomes import directories_of, this_host
    from hostfw.engine.engine import Engine

    return Engine(directories_of(options), this_host(options))


def observe(options: Options, settings: "Settings") -> "HostFacts":
    """The facts of this host. Raises HostError."""
    return open_engine(options).observe(settings)
