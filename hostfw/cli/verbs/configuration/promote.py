"""`hostfwctl promote`: the change of files that would enforce a staged policy."""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import unified_diff

from hostfw.build.candidate import Candidate, check_candidate
from hostfw.cli.command_line.arguments import add_each_file
from hostfw.cli.command_line.options import Options
from hostfw.cli.input.configuration import read, refuse
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.help_page import Page
from hostfw.manifest.edits.promote import NotPromoted, promoted
from hostfw.model.resources import StagedGlobalNetworkPolicy, StagedNetworkPolicy
from hostfw.model.sources import Source

_CONTEXT_LINES = 3


USAGE = "NAME [-f PATH...]"
HELP = Page(
    """\
Print a patch of the files that makes a StagedGlobalNetworkPolicy a GlobalNetworkPolicy,
in the place of the enforced one of its name if there is one. If its stagedAction is
Delete, the patch removes both. Nothing is written: comments and layout stay as they
are, and the patch is yours to read and to apply.""",
    """\
hostfwctl promote web
hostfwctl promote web | patch -p1 -d /
hostfwctl promote web -f staging/""",
    """\
0  printed
1  no such policy is staged, or it has to be taken out of a list first
3  the configuration is invalid, or would be""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("name", metavar="NAME", help="the staged policy: NAME or TIER/NAME")
    add_each_file(parser)


def run(options: Options, console: Console) -> ExitCode:
    """Print a patch of the files; nothing is written."""
    candidate = read(options)
    if not candidate.is_valid:
        return refuse(candidate.problems, candidate.configuration, console)
    staged = _staged(candidate, options.name or "")
    of_namespace = _of_namespace(candidate, options.name or "") if staged is None else None
    if of_namespace is not None:
        where, name = of_namespace.metadata.position, of_namespace.metadata.full_name
        console.complain(
            f'{where}: "{name}" is a StagedNetworkPolicy, which no patch is made of',
            "write kind: NetworkPolicy in its file, without stagedAction, in the place of an enforced one of its name",
        )
        return ExitCode.FAILED
    if staged is None:
        known = ", ".join(policy.metadata.full_name for policy in candidate.resources.staged)
        hint = f"staged are: {known}" if known else "no policy of this configuration is staged"
        console.complain(f'there is no staged policy "{options.name}"', hint)
        return ExitCode.FAILED
    sources = candidate.configuration.resources
    changed = promoted(sources, staged.policy.metadata.name)
    if isinstance(changed, NotPromoted):
        console.complain(f"{changed.position}: {changed.message}", changed.hint)
        return ExitCode.FAILED
    after = check_candidate(replace(candidate.configuration, resources=_with(sources, changed)))
    if not after.is_valid:
        return refuse(after.problems, after.configuration, console, "it cannot be enforced as it is")
    console.data(*_patch(sources, changed))
    command = f"hostfwctl promote {options.name} | patch -p1 -d /"
    console.say(f"to make this change: `{command}`, then `hostfwctl diff` and `hostfwctl apply`")
    return ExitCode.DONE


def _staged(candidate: Candidate, name: str) -> StagedGlobalNetworkPolicy | None:
    """The staged policy of a name, or of TIER/NAME."""
    for staged in candidate.resources.staged_policies:
        if name in (staged.policy.metadata.name, f"{staged.policy.tier}/{staged.policy.metadata.name}"):
            return staged
    return None


def _of_namespace(candidate: Candidate, name: str) -> StagedNetworkPolicy | None:
    """The staged policy of a namespace, by both names, or behind its tier."""
    for staged in candidate.resources.staged_network_policies:
        if name in (staged.metadata.full_name, f"{staged.policy.tier}/{staged.metadata.full_name}"):
            return staged
    return None


def _with(sources: Sequence[Source], changed: Sequence[Source]) -> tuple[Source, ...]:
    by_path = {source.path: source for source in changed}
    return tuple(by_path.get(source.path, source) for source in sources)


def _lines(text: str) -> list[str]:
    """Lines as patch(1) and git count them: YAML knows more ends of lines."""
    return [f"{line}\n" for line in text.split("\n")[:-1]] + ([last] if (last := text.rpartition("\n")[2]) else [])


def _patch(sources: Sequence[Source], changed: Sequence[Source]) -> Iterator[str]:
    """A unified diff of what changes, with the paths as patch(1) and git want them."""
    before = {source.path: source.text for source in sources}
    for source in changed:
        path = source.path.lstrip("/")
        lines = unified_diff(
            _lines(before[source.path]),
            _lines(source.text),
            f"a/{path}",
            f"b/{path}",
            n=_CONTEXT_LINES,
        )
        for line in lines:
            yield line.removesuffix("\n")
            if not line.endswith("\n"):
                yield "\\ No newline at end of file"
