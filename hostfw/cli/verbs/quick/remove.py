"""`hostfwctl remove`: take quick rules away, by their names or by the words that made them."""

import shlex
from argparse import ArgumentParser
from collections.abc import Sequence

from hostfw.build.candidate import Candidate
from hostfw.cli.command_line.argument_parser import closest
from hostfw.cli.command_line.arguments import add_accept_lockout, add_accept_loss, add_dry_run, add_output, add_words
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.active_plan import active_plan
from hostfw.cli.other_words.hints import RESET
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.help_page import Page
from hostfw.cli.quick.changes import Directory, alone, read_directory, take_away
from hostfw.cli.quick.rules_in_order import rules_in_order
from hostfw.host.errors import HostError
from hostfw.host.network.sockets.service_names import ports_of_service
from hostfw.manifest.yaml.manifests import manifests_of
from hostfw.model.values import Action
from hostfw.quick.manifests import TIER, is_quick, policy_name
from hostfw.quick.requests import RequestError
from hostfw.quick.slips import words_meant
from hostfw.quick.words import parse_words

_ACTIONS = {"allow": Action.ALLOW, "deny": Action.DENY}
_FIRST_PORT = 22
"""Numbers below it are taken for places in a list, those from it on for ports."""


USAGE = "NAME... | allow WHAT... | deny WHAT... [OPTION...]"
HELP = Page(
    """\
Remove the files of quick rules, and put what is left into force. A rule is
named as `rules` lists it, with or without `quick.` before it, or by the words
that made it. Other policies are removed by removing their files, and
`hostfwctl apply`.""",
    """\
hostfwctl remove allow-tcp-8080
hostfwctl remove allow tcp/8080
hostfwctl remove deny-198-51-100-7 deny-203-0-113-0-24""",
    """\
0  in force without them
1  failed or refused, or there is no such rule; nothing was removed
2  the words mean nothing
3  the configuration is invalid
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_words(parser, "the names of quick rules, or the words that one was made with")
    add_dry_run(parser)
    add_accept_loss(parser)
    add_accept_lockout(parser)
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Remove the files of the rules, and put the configuration directory into force without them."""
    try:
        wanted = _wanted(options.words)
    except RequestError as error:
        console.complain(error.message, _by_number(options) or error.hint)
        return ExitCode.USAGE
    with alone(options):
        return _take_away(wanted, options, console)


def _take_away(wanted: Sequence[str], options: Options, console: Console) -> ExitCode:
    try:
        directory = read_directory(options)
        names = tuple(dict.fromkeys(_known(name, directory.candidate) for name in wanted))
        paths = tuple(_path(name, directory) for name in names)
    except RequestError as error:
        console.complain(error.message, error.hint)
        return ExitCode.FAILED
    return take_away(paths, directory, options, console)


def _wanted(words: Sequence[str]) -> tuple[str, ...]:
    """The names of policies: as given, with or without the tier before them, or what the words of a rule come to."""
    action = _ACTIONS.get(words[0])
    if action is not None and len(words) > 1:
        try:
            return (policy_name(parse_words(action, words[1:], ports_of_service)),)
        except RequestError as error:
            said = words_meant(action, words[1:], ports_of_service)
            if said is None:
                raise
            raise RequestError(error.message, f"`hostfwctl remove {words[0]} {shlex.join(said)}`") from None
    if words[0] in ("all", "everything", "*"):
        raise RequestError(f'"{words[0]}" is the name of no rule', RESET)
    if any(word.isdigit() and int(word) < _FIRST_PORT for word in words):
        raise RequestError("rules have names, not numbers", "`hostfwctl rules` shows them")
    return tuple(f"{TIER}.{word.removeprefix(f'{TIER}.')}" for word in words)


def _by_number(options: Options) -> str:
    """The command for a rule that was named by its number in `rules`, empty where none was or it is no quick one."""
    numbers = [int(word) for word in options.words if word.isdigit()]
    if len(numbers) != 1 or len(options.words) != 1:
        return ""
    try:
        known = active_plan(options)
    except (HostError, PermissionError):
        return ""
    lines = () if known is None else tuple(rules_in_order(known.plan))
    by = lines[numbers[0] - 1].by if 0 < numbers[0] <= len(lines) else ""
    return f"`hostfwctl remove {by.removeprefix(f'{TIER}.')}`" if by.startswith(f"{TIER}.") else ""


def _known(name: str, candidate: Candidate) -> str:
    names = [policy.metadata.name for policy in candidate.resources.policies if is_quick(policy)]
    if name not in names:
        shown = name.removeprefix(f"{TIER}.")
        own = [of.removeprefix(f"{TIER}.") for of in names]
        parts = f"-{shown.replace('/', '-').replace('.', '-').replace(':', '-')}-"
        like = [of for of in own if parts in f"-{of}-"]
        hint = f"`hostfwctl remove {like[0]}`" if like else closest(shown, own)
        raise RequestError(f'there is no quick rule "{shown}"', hint or "`hostfwctl rules` lists what is in force")
    return name


def _path(name: str, directory: Directory) -> str:
    """The file that holds the policy and nothing else."""
    for source in directory.configuration.resources:
        manifests = list(manifests_of(source))
        if any(one.kind == "GlobalNetworkPolicy" and one.name == name for one in manifests):
            if len(manifests) > 1:
                raise RequestError(f"{source.path} holds other resources too", f'take "{name}" out of it by hand')
            return source.path
    raise RequestError(f'the file of "{name}" is not to be found', "remove the policy by hand")
