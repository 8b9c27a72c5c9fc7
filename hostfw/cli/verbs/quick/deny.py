"""`hostfwctl deny`: what `allow` does, with a rule that denies."""

from argparse import ArgumentParser

from hostfw.cli.arguments import add_quick, add_words
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

Failsafe ports come before policy: ssh from an address that is denied still
gets in where the failsafe of hostfw.yaml lets everybody in.""",
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
    add_quick(parser)


__all__ = ["run"]
