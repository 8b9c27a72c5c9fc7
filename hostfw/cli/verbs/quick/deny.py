"""`hostfwctl deny`: what `allow` does, with a rule that denies."""

from argparse import ArgumentParser

from hostfw.cli.command_line.arguments import add_quick, add_words
from hostfw.cli.output.help_page import Page
from hostfw.cli.verbs.quick.allow import run

USAGE = "PEER | [in|out] WHAT... [from|to PEER] [on ENDPOINT] [for TIME] [OPTION...]"
HELP = Page(
    """\
Deny an address or a prefix everything: packets from it, to it, and between it
and what stands behind this host. Or deny a service, to a PEER or to
everybody. The words, the files and the checks are those of `allow`.

Connections that exist go on, as after every change of policy. --cut ends
those of the address or prefix that is denied.

What is denied to an address, a prefix or a GlobalNetworkSet is denied before
the failsafe ports that are open to everybody: ssh from a denied address is
closed. A failsafe with a net comes first all the same, so nobody named there
is shut out by mistake. A Feed, which others fill, and what is denied to
everybody leave failsafe ports open. --keep-failsafes leaves them open to an
address as well, --before-failsafes closes them to the addresses of a Feed.
What would deny your own session, somebody else's or every way in is refused
without --accept-lockout.""",
    """\
hostfwctl deny 198.51.100.7
hostfwctl deny 203.0.113.0/24 for 4h --cut --reason "scans"
hostfwctl deny tcp/25
hostfwctl deny out tcp/25 to 192.0.2.0/24""",
    """\
0  in force, whether or not anything had to change
1  failed or refused; nothing was written
2  the words mean nothing
3  the configuration is invalid
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_words(parser, "whom to deny everything, or what to deny to whom: 198.51.100.7, tcp/25 from 10.0.0.0/8")
    parser.add_argument(
        "--cut", action="store_true", help="end the open connections of the address or prefix that is denied as well"
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--keep-failsafes",
        dest="keeps_failsafes",
        action="store_true",
        default=None,
        help="leave those who are denied the failsafe ports, such as ssh",
    )
    choice.add_argument(
        "--before-failsafes",
        dest="keeps_failsafes",
        action="store_false",
        default=None,
        help="deny the addresses of a Feed the failsafe ports too",
    )
    add_quick(parser)


__all__ = ["run"]
