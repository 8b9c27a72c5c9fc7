"""What each verb takes: the options and arguments of its parser."""

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from hostfw.cli.arguments import LOGGED_REASONS, cidr, positive
from hostfw.cli.options import Output
from hostfw.cli.output.durations import duration_s, since


def validate(parser: ArgumentParser) -> None:
    """The arguments of `validate`."""
    _add_files(parser)
    parser.add_argument(
        "--facts",
        type=Path,
        metavar="FILE",
        help="check it for the host described by `hostfwctl interfaces -o json` (default: without a host)",
    )
    how = parser.add_mutually_exclusive_group()
    _add_output(how.add_argument, Output.TEXT, Output.JSON)
    how.add_argument("--annotate", action="store_true", help="print the files themselves, with the problems in place")


def compile_(parser: ArgumentParser) -> None:
    """The arguments of `compile`."""
    _add_files(parser)
    _add_facts(parser, "the host to compile for")


def diff(parser: ArgumentParser) -> None:
    """The arguments of `diff`."""
    _add_files(parser)
    parser.add_argument("--nft", action="store_true", help="also show what would be sent to nftables")


def apply(parser: ArgumentParser) -> None:
    """The arguments of `apply`."""
    _add_files(parser)
    parser.add_argument(
        "--confirm-within",
        dest="confirm_within_s",
        type=duration_s,
        metavar="TIME",
        help="roll back unless confirmed within TIME, such as 90s, 5m or 1h",
    )
    parser.add_argument(
        "--accept-shrink",
        action="store_true",
        help="accept Feeds whose files lost more than their maxShrink",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--add", action="store_true", help="copy the files of -f into the configuration directory, and apply all of it"
    )
    how.add_argument("--replace", action="store_true", help="use the files of -f as the whole configuration")
    _add_accept_loss(parser)
    _add_accept_lockout(parser)
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def init(parser: ArgumentParser) -> None:
    """The arguments of `init`."""
    parser.add_argument(
        "--write",
        action="store_true",
        help="write it to the configuration directory, which must be empty; nothing is put into force",
    )


def allow(parser: ArgumentParser) -> None:
    """The arguments of `allow`."""
    _add_words(parser, "what to allow, and to whom: tcp/8080 from 10.0.0.0/8")
    _add_quick(parser)


def deny(parser: ArgumentParser) -> None:
    """The arguments of `deny`."""
    _add_words(parser, "whom to deny everything, or what to deny to whom: 198.51.100.7, tcp/25 from 10.0.0.0/8")
    parser.add_argument(
        "--cut", action="store_true", help="end the open connections of the address or prefix that is denied as well"
    )
    _add_quick(parser)


def remove(parser: ArgumentParser) -> None:
    """The arguments of `remove`."""
    _add_words(parser, "the names of quick rules, or the words that one was made with")
    _add_dry_run(parser)
    _add_accept_loss(parser)
    _add_accept_lockout(parser)
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def rules(parser: ArgumentParser) -> None:
    """The arguments of `rules`."""
    _add_output(parser.add_argument, Output.TABLE, Output.WIDE, Output.JSON)


def confirm(parser: ArgumentParser) -> None:
    """The arguments of `confirm`."""
    parser.add_argument(
        "--console",
        action="store_true",
        help="confirm without a new ssh connection, such as on a console",
    )
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def rollback(parser: ArgumentParser) -> None:
    """The arguments of `rollback`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--to", type=int, metavar="NUMBER", help="go back to a stored generation, and accept it")
    which.add_argument(
        "--if-pending",
        metavar="TOKEN",
        help="only if the trial with this token still waits to be confirmed; used at the deadline",
    )
    _add_accept_loss(parser)
    _add_accept_lockout(parser)
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def history(parser: ArgumentParser) -> None:
    """The arguments of `history`."""
    _add_output(parser.add_argument, Output.TABLE, Output.JSON, Output.YAML)


def reload(parser: ArgumentParser) -> None:
    """The arguments of `reload`."""
    _add_accept_loss(parser)
    _add_accept_lockout(parser)
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def status(parser: ArgumentParser) -> None:
    """The arguments of `status`."""
    _add_output(parser.add_argument, Output.TABLE, Output.JSON, Output.YAML)


def get(parser: ArgumentParser) -> None:
    """The arguments of `get`."""
    parser.add_argument("kind", metavar="KIND", help="a kind or its short name, see below")
    parser.add_argument("name", metavar="NAME", nargs="?", help="one resource (default: all of the kind)")
    _add_each_file(parser)
    _add_output(parser.add_argument, Output.TABLE, Output.WIDE, Output.YAML, Output.JSON, Output.NAME)


def describe(parser: ArgumentParser) -> None:
    """The arguments of `describe`."""
    parser.add_argument("kind", metavar="KIND", help="a kind or its short name, as of `get`")
    parser.add_argument("name", metavar="NAME", help="the resource")
    _add_each_file(parser)
    _add_facts(parser, "the host that it is described on")
    _add_output(parser.add_argument, Output.TEXT, Output.JSON, Output.YAML)


def explain(parser: ArgumentParser) -> None:
    """The arguments of `explain`."""
    from hostfw.model.packet import ConntrackState

    parser.add_argument("source", metavar="SRC", help="an address, the name of a HostEndpoint, or `host`")
    parser.add_argument(
        "destination", metavar="DST[:PORT][/PROTO]", help="likewise; without PORT and PROTO it is a ping"
    )
    parser.add_argument("--in", dest="in_interface", metavar="IF", help="the interface that the packet comes in on")
    parser.add_argument("--out", dest="out_interface", metavar="IF", help="the interface that it goes out on")
    parser.add_argument("--sport", dest="source_port", type=int, metavar="N", help="the source port (default: 49152)")
    parser.add_argument("--icmp", metavar="TYPE[/CODE]", help="the ICMP type and code (default: an echo request)")
    parser.add_argument(
        "--state",
        choices=[state.value for state in ConntrackState],
        default=ConntrackState.NEW.value,
        metavar="STATE",
        help=f"{', '.join(ConntrackState)}: the state in connection tracking (default: {ConntrackState.NEW})",
    )
    _add_each_file(parser)
    _add_facts(parser, "the host that the packet meets")
    _add_output(parser.add_argument, Output.TEXT, Output.JSON, Output.YAML)


def exposure(parser: ArgumentParser) -> None:
    """The arguments of `exposure`."""
    _add_files(parser)
    _add_output(parser.add_argument, Output.TABLE, Output.JSON, Output.YAML)


def selector(parser: ArgumentParser) -> None:
    """The arguments of `selector`."""
    parser.add_argument("selector", metavar="EXPR", help="a selector, such as role == 'web'; quote it for the shell")
    parser.add_argument(
        "--label",
        dest="labels",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label to match; repeatable",
    )
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def schema(parser: ArgumentParser) -> None:
    """The arguments of `schema`."""
    parser.add_argument(
        "kind", metavar="KIND", nargs="?", default="", help="a kind as of `get`, or settings (default: all)"
    )


def interfaces(parser: ArgumentParser) -> None:
    """The arguments of `interfaces`."""
    _add_files(parser)
    _add_output(parser.add_argument, Output.TABLE, Output.WIDE, Output.YAML, Output.JSON, Output.NAME)


def drops(parser: ArgumentParser) -> None:
    """The arguments of `drops`."""
    parser.add_argument(
        "--since", type=since, metavar="TIME", help="show events since TIME: 1h, 7d or '2030-01-31 12:00'"
    )
    parser.add_argument("--follow", action="store_true", help="show new events until Ctrl-C")
    parser.add_argument(
        "--for", dest="for_s", type=duration_s, metavar="TIME", help="show new events for TIME, such as 10s or 5m"
    )
    parser.add_argument(
        "--count", dest="most", type=positive, metavar="N", help="show only the last N events, or the first N new ones"
    )
    parser.add_argument("--policy", metavar="NAME", help="only by this policy: NAME, TIER/NAME or profile/NAME")
    for end, where in (("src", "source"), ("dst", "destination")):
        what = f"only where the {where} is this address or within this prefix"
        parser.add_argument(f"--{end}", dest=f"{where}_net", type=cidr, metavar="CIDR", help=what)
    reasons = [reason.value for reason in LOGGED_REASONS]
    parser.add_argument(
        "--reason", choices=reasons, metavar="REASON", help=f"only for this reason: {', '.join(reasons)}"
    )
    parser.add_argument("--top", action="store_true", help="print only a summary of the most frequent at the end")
    _add_output(parser.add_argument, Output.TABLE, Output.JSON)


def counters(parser: ArgumentParser) -> None:
    """The arguments of `counters`."""
    parser.add_argument("--policy", metavar="NAME", help="only of this policy: NAME, TIER/NAME or profile/NAME")
    parser.add_argument(
        "--rate", dest="rate_s", type=duration_s, metavar="TIME", help="also measure packets per second over TIME"
    )
    _add_output(parser.add_argument, Output.TABLE, Output.WIDE, Output.JSON)


def staged(parser: ArgumentParser) -> None:
    """The arguments of `staged`."""
    parser.add_argument("name", metavar="NAME", help="the staged policy: NAME or TIER/NAME")
    _add_output(parser.add_argument, Output.TABLE, Output.JSON)


def promote(parser: ArgumentParser) -> None:
    """The arguments of `promote`."""
    parser.add_argument("name", metavar="NAME", help="the staged policy: NAME or TIER/NAME")
    _add_each_file(parser)


def completion(parser: ArgumentParser) -> None:
    """The arguments of `completion`."""
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "fish", "zsh"), help="bash, fish or zsh")


def block(parser: ArgumentParser) -> None:
    """The arguments of `block`."""
    parser.add_argument("--all", action="store_true", help="block current ssh sessions too")
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def unblock(parser: ArgumentParser) -> None:
    """The arguments of `unblock`."""
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def disable(parser: ArgumentParser) -> None:
    """The arguments of `disable`."""
    parser.add_argument("--remove-rules", action="store_true", help="required, since nothing is denied afterwards")
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def doctor(parser: ArgumentParser) -> None:
    """The arguments of `doctor`."""
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def version(parser: ArgumentParser) -> None:
    """The arguments of `version`."""
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def _add_words(parser: ArgumentParser, what: str) -> None:
    parser.add_argument("words", nargs="+", metavar="WORD", help=what)


def _add_quick(parser: ArgumentParser) -> None:
    """Add what `allow` and `deny` have in common."""
    parser.add_argument("--reason", dest="why", default="", metavar="TEXT", help="why; it is kept with the rule")
    _add_dry_run(parser)
    _add_accept_lockout(parser)
    _add_output(parser.add_argument, Output.TEXT, Output.JSON)


def _add_dry_run(parser: ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show what would be written, and change nothing")


def _add_accept_loss(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="do it even if most policies or HostEndpoints are lost, or no interface is governed any more; let go what "
        "no HostEndpoint claims",
    )


def _add_accept_lockout(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--accept-lockout",
        action="store_true",
        help="put it into force even if it cuts off ssh, DHCP, name servers or the gateway of this host",
    )


def _add_files(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--filename",
        dest="files",
        action="extend",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="files and directories (- is standard input) that make up the whole configuration, settings included, "
        "in place of the configuration directory",
    )
    _add_feeds_anywhere(parser)


def _add_feeds_anywhere(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--feeds-anywhere",
        action="store_true",
        help="with -f: allow Feeds and symbolic links to files elsewhere; their author chooses which files are read",
    )


def _add_each_file(parser: ArgumentParser) -> None:
    """Add `-f` for verbs with arguments of their own, which a list of files would swallow."""
    parser.add_argument(
        "-f",
        "--filename",
        dest="files",
        action="append",
        type=Path,
        default=[],
        metavar="PATH",
        help="a file or directory (- is standard input) to read in place of the configuration directory; repeatable",
    )
    _add_feeds_anywhere(parser)


def _add_facts(parser: ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--facts",
        type=Path,
        metavar="FILE",
        help=f"{what}, as `hostfwctl interfaces -o json` prints it there (default: this host)",
    )


def _add_output(add_argument: Callable[..., object], *choices: Output) -> None:
    add_argument(
        "-o",
        "--output",
        choices=[choice.value for choice in choices],
        default=choices[0].value,
        metavar="FORM",
        help=f"{', '.join(choices[:-1])} or {choices[-1]} (default: {choices[0]})",
    )
