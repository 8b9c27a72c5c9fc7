"""`hostfwctl reload`: `apply` of the configuration directory, as `systemctl reload` and timers run it.

A warning that was told before is not told again: a reload by cron would mail it every hour.
"""

from argparse import ArgumentParser

from hostfw.cli.command_line.arguments import add_accept_lockout, add_accept_loss, add_output
from hostfw.cli.command_line.options import Output
from hostfw.cli.output.help_page import Page
from hostfw.cli.verbs.in_force.apply import run

USAGE = "[--accept-lockout] [-o text|json]"
HELP = Page(
    """\
Put the configuration directory into force, as `apply` does. `systemctl reload hostfw`
runs it: it returns when the new generation is in force, and fails if it is not. Warnings that were
told before are not told again until the next boot, so that a reload by a timer is quiet;
`validate` tells them all, and so does -o json.""",
    """\
hostfwctl reload
hostfwctl reload -o json""",
    """\
0  in force, whether or not anything had to change
1  failed; what was in force still is, unless the message says otherwise. Or in force, and
   not saved, as on a full disk: the message says what a reboot leads to
3  the configuration is invalid
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_accept_loss(parser)
    add_accept_lockout(parser)
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


__all__ = ["run"]
