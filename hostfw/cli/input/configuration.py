"""Functions that the verbs share: read a configuration, and report its problems."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hostfw.cli.command_line.options import Options
from hostfw.cli.output.console import Console, ExitCode

if TYPE_CHECKING:
    # What reads and judges a configuration is loaded when there is one to read: no page of help needs it.
    from hostfw.build.candidate import Candidate
    from hostfw.model.problems import Problem
    from hostfw.model.resources import Resources
    from hostfw.model.sources import Configuration


def read(options: Options) -> "Candidate":
    """The configuration that a command line names, as far as it can be judged without a host."""
    from hostfw.build.candidate import check_candidate
    from hostfw.host.store.configuration.feed_files import read_feeds_within, read_own_feeds
    from hostfw.host.store.configuration.files import read_configuration

    if options.files:
        configuration, problems, folders = read_named(options)
        return check_candidate(
            configuration, problems, partial(read_feeds_within, folders, state_dir=options.state_dir)
        )
    return check_candidate(
        *read_configuration(options.config_dir),
        partial(read_own_feeds, options.config_dir, state_dir=options.state_dir),
    )


def read_named(options: Options) -> "tuple[Configuration, tuple[Problem, ...], tuple[str, ...] | None]":
    """The configuration that a command line names with `-f`, what is wrong about reading it, and where Feeds may lead.

    They and symbolic links may lead anywhere, which is None, where it is the configuration directory itself.
    """
    from hostfw.host.store.configuration.files import folders_of, read_paths
    from hostfw.host.store.configuration.path_trust import is_below

    folders = folders_of(options.files)
    own = os.path.realpath(options.config_dir)
    anywhere = options.feeds_anywhere or all(is_below(Path(folder), (own,)) for folder in folders)
    return *read_paths(options.files, anywhere=anywhere), None if anywhere else folders


def refuse(
    problems: "Iterable[Problem]", configuration: "Configuration", console: Console, outcome: str = ""
) -> ExitCode:
    """Say everything that is wrong, and what came of it."""
    from hostfw.cli.output.problems import tally

    found = tuple(problems)
    _say(found, configuration, console)
    console.complain(f"{tally(found)}; {outcome}" if outcome else tally(found))
    return ExitCode.INVALID


def warn(problems: "Iterable[Problem]", configuration: "Configuration", console: Console) -> None:
    """Say what does not stand in the way."""
    from hostfw.model.problems import Severity

    warnings = [problem for problem in problems if problem.severity is Severity.WARNING]
    if console.verbosity >= 0:
        _say(warnings, configuration, console)


def _say(problems: "Iterable[Problem]", configuration: "Configuration", console: Console) -> None:
    from hostfw.cli.output.problems import report

    whole = console.verbosity > 0
    console.message(*report(problems, configuration, colour=console.colour_err, width=console.width_err, whole=whole))


def contents(resources: "Resources") -> str:
    """The number of resources of each kind: policies and endpoints always, the others where there are any."""
    from hostfw.model.wording import counted

    return ", ".join(
        counted(len(found), *nouns)
        for found, nouns, always in (
            (resources.enforced, ("policy", "policies"), True),
            (resources.staged, ("staged policy", "staged policies"), False),
            (resources.endpoints, ("endpoint",), True),
            (resources.workloads, ("workload",), False),
            ((*resources.network_sets, *resources.namespaced_sets), ("network set",), False),
            (resources.namespaces, ("namespace",), False),
            (resources.feeds, ("feed",), False),
            (resources.tiers, ("tier",), False),
            (resources.profiles, ("profile",), False),
            (resources.interface_groups, ("interface group",), False),
            (resources.nft_rules, ("resource of nft rules", "resources of nft rules"), False),
        )
        if found or always
    )
