"""`hostfwctl version`: what a report of a defect begins with."""

import os
import platform
from argparse import ArgumentParser

from hostfw import __version__
from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.host.nftables.nft_version import nft_version

USAGE = "[-o text|json]"
HELP = Page(
    """\
Print the versions of hostfw, nft, the kernel and Python, as a report of a defect
needs them. `hostfwctl --version` prints that of hostfw alone.""",
    """\
hostfwctl version
hostfwctl version -o json""",
    "0  printed",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Print the versions of hostfw, nft, the kernel and Python."""
    found = versions()
    if options.output is Output.JSON:
        console.data(json_text(document("Version", found)))
    else:
        console.data(*(f"{name:8}{version}" for name, version in found.items()))
    return ExitCode.DONE


def versions() -> dict[str, str]:
    """The versions of hostfw and of what it stands on, by name."""
    return {
        "hostfw": __version__,
        "nft": nft_version() or "not installed",
        "kernel": os.uname().release,
        "python": platform.python_version(),
    }
