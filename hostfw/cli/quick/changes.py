"""Shared by `allow`, `deny` and `remove`: they write files of quick rules, and apply the whole configuration."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic

from hostfw.build.candidate import Candidate, CandidateCache, check_candidate
from hostfw.build.refused import Refused
from hostfw.build.stored import remember_stored
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.added_files import not_undone, written
from hostfw.cli.input.configuration import refuse
from hostfw.cli.outcomes import complain_of, load_accepted_of, this_host
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.progress import progress
from hostfw.cli.verbs.in_force.apply import ask_for, report
from hostfw.engine.outcomes import Failed
from hostfw.host.errors import reason
from hostfw.host.lock import files_lock
from hostfw.host.store.atomic_files import WriteError
from hostfw.host.store.configuration.feed_files import read_own_feeds
from hostfw.host.store.configuration.files import read_configuration
from hostfw.manifest.edits.add import NotAdded, added
from hostfw.manifest.yaml.manifests import Manifest, manifests_of
from hostfw.model.kinds.metadata import EXPIRES
from hostfw.model.problems import Problem, errors
from hostfw.model.sources import Configuration, Source
from hostfw.quick.manifests import FOLDER, QuickFile, is_quick
from hostfw.quick.requests import RequestError


@dataclass(frozen=True, slots=True)
class Directory:
    """The configuration directory as it is."""

    configuration: Configuration
    problems: tuple[Problem, ...]
    candidate: Candidate
    cache: CandidateCache


def alone(options: Options) -> AbstractContextManager[object]:
    """One at a time: what another one writes is not in force for a moment, and may be rolled back. Raises HostError."""
    return nullcontext() if options.dry_run else files_lock(options.run_dir)


def read_directory(options: Options) -> Directory:
    """Read it. Raises RequestError where it holds what is not in force: a quick rule is not to put that into force."""
    configuration, problems = read_configuration(options.config_dir)
    accepted = load_accepted_of(options)
    if accepted is not None and _texts(accepted.configuration) != _texts(configuration):
        raise RequestError(
            f"{options.config_dir} has changes that are not in force",
            "`hostfwctl diff` shows them, `hostfwctl apply` puts them into force",
        )
    own_feeds = partial(read_own_feeds, options.config_dir, state_dir=options.state_dir)
    cache = CandidateCache()
    if accepted is not None:
        remember_stored(cache.decode, accepted.configuration, options.state_dir)
    candidate = check_candidate(configuration, problems, own_feeds, cache, warnings=False)
    return Directory(configuration, problems, candidate, cache)


def add(files: Sequence[QuickFile], directory: Directory, options: Options, console: Console) -> ExitCode:
    """Write files of quick rules, show them, and have the directory in force; what is refused is not written."""
    sources = list(directory.configuration.resources)
    changed: list[Source] = []
    for file in files:
        path = str(options.config_dir / FOLDER / file.name)
        new = added(sources, Source(path, file.text), path)
        if isinstance(new, NotAdded):
            return complain_of(Failed(f"{new.position}: {new.message}", new.hint), console)
        paths = {source.path for source in new}
        sources = [*(source for source in sources if source.path not in paths), *new]
        changed = [*(source for source in changed if source.path not in paths), *new]
    return _put(changed, (), directory, options, console)


def take_away(paths: Sequence[str], directory: Directory, options: Options, console: Console) -> ExitCode:
    """Remove files of quick rules, and have the directory in force; what is refused stays."""
    return _put((), paths, directory, options, console)


def _put(
    changed: Sequence[Source], removed: Sequence[str], directory: Directory, options: Options, console: Console
) -> ExitCode:
    started_s = monotonic()
    written_anew = {source.path for source in changed}
    ended = [path for path in _ended(directory, options) if path not in written_anew and path not in removed]
    removed = (*removed, *ended)
    gone = {*removed, *written_anew}
    kept = (source for source in directory.configuration.resources if source.path not in gone)
    whole = replace(directory.configuration, resources=tuple(sorted((*kept, *changed), key=lambda source: source.path)))
    own_feeds = partial(read_own_feeds, options.config_dir, state_dir=options.state_dir)
    # Who puts it into force looks for the warnings, and tells them.
    if errors(check_candidate(whole, directory.problems, own_feeds, directory.cache, warnings=False).problems):
        found = check_candidate(whole, directory.problems, own_feeds, directory.cache).problems
        return refuse(found, whole, console, "nothing was changed")
    if options.dry_run:
        _show(changed, removed, console)
        return ExitCode.DONE
    folder = options.config_dir / FOLDER
    is_new = bool(changed) and not folder.exists()
    if is_new:
        try:
            folder.mkdir(mode=0o755)
        except OSError as error:
            permitted = not isinstance(error, PermissionError)
            hint = "nothing was written" if permitted else ""
            failed = Failed(f"{folder}: cannot be written: {reason(error)}", hint, not_permitted=not permitted)
            return complain_of(failed, console)
    try:
        with written(changed, removed) as undo, progress(console) as doing:
            doing("putting it into force")
            reply = ask_for(options, None, console, directory.cache)
            is_refused = isinstance(reply, Refused | Failed)
            if is_refused:
                not_undone(undo.all(), console)
    except WriteError as error:
        return complain_of(Failed(str(error), "nothing was written"), console)
    finally:
        if is_new:
            with suppress(OSError):
                # One that holds something stays.
                folder.rmdir()
    if not is_refused and options.output is not Output.JSON:
        _show(changed, removed, console)
    return report(reply, None, options, console, round((monotonic() - started_s) * 1000))


def _ended(directory: Directory, options: Options) -> tuple[str, ...]:
    """The files of quick rules that hold nothing but policies which have expired."""
    folder, moment = options.config_dir / FOLDER, this_host().now()
    policies = {policy.metadata.name: policy for policy in directory.candidate.resources.policies}

    def has_ended(one: Manifest) -> bool:
        policy = policies.get(one.name) if one.kind == "GlobalNetworkPolicy" else None
        at = policy.metadata.expires if policy is not None and is_quick(policy) else None
        return at is not None and at <= moment

    return tuple(
        source.path
        for source in directory.configuration.resources
        if Path(source.path).parent == folder
        if EXPIRES in source.text and all(map(has_ended, manifests_of(source)))
    )


def _show(changed: Sequence[Source], removed: Sequence[str], console: Console) -> None:
    for source in changed:
        console.say(f"{source.path}:")
        console.data(source.text.rstrip("\n"))
    for path in removed:
        console.say(f"{path} was removed")


def _texts(configuration: Configuration) -> tuple[tuple[str, str], ...]:
    """The content of a configuration, without the place of its directory."""
    sources = (*configuration.resources, *([configuration.settings] if configuration.settings is not None else []))
    return tuple(sorted((Path(source.path).name, source.text) for source in sources))
