"""Reading a fleet: `shared/` for all hosts, and `hosts/NAME/` with the facts and the files of each.

A file of a host's own `etc/` takes the place of the shared one of the same path. Hosts are judged one after the other
with the caches of the one before, so that what they share is decoded and laid out once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hostfw.build.candidate import CandidateCache, check_candidate
from hostfw.build.generation import Generation, GenerationCache, build
from hostfw.build.refused import Refused
from hostfw.cli.output.problems import manifests
from hostfw.host.store.configuration.feed_files import read_feeds_within
from hostfw.host.store.configuration.files import folders_of, read_paths
from hostfw.manifest.files.facts_file import decode_facts
from hostfw.model.host.facts import HostFacts
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, Severity, in_order
from hostfw.model.sources import Configuration, Source

SHARED, HOSTS, OWN, FACTS = "shared", "hosts", "etc", "facts.json"


@dataclass(frozen=True, slots=True)
class FleetHost:
    """One host: its generation, or None where its configuration or its facts are refused, and every problem."""

    name: str
    generation: Generation | None
    problems: tuple[Problem, ...]


class NoFleetError(Exception):
    """A directory that holds no fleet; the text says what is missing."""


def read_fleet(folder: Path, state_dir: Path) -> Iterator[FleetHost]:
    """Every host of a fleet, by name. Raises NoFleetError."""
    names = sorted(path.name for path in (folder / HOSTS).glob("*") if path.is_dir())
    if not names:
        raise NoFleetError(f"{folder / HOSTS} holds no directory of a host")
    shared, problems = _read(folder / SHARED)
    candidates, generations = CandidateCache(), GenerationCache()
    for name in names:
        own, own_problems = _read(folder / HOSTS / name / OWN)
        facts, facts_problems = _facts(folder / HOSTS / name / FACTS)
        configuration = _merged(shared, folder / SHARED, own, folder / HOSTS / name / OWN)
        folders = folders_of([one for one in (folder / SHARED, folder / HOSTS / name / OWN) if one.is_dir()])
        candidate = check_candidate(
            configuration,
            in_order((*problems, *own_problems)),
            partial(read_feeds_within, folders, state_dir=state_dir),
            candidates,
        )
        if facts is None:
            yield FleetHost(name, None, _relative((*candidate.problems, *facts_problems), folder))
            continue
        built = build(candidate, facts, generations)
        if isinstance(built, Refused):
            yield FleetHost(name, None, _relative((*built.problems, *facts_problems), folder))
        else:
            yield FleetHost(name, built, _relative((*built.warnings, *facts_problems), folder))


def of_position(position: Position, folder: Path) -> Position:
    """A position in the files of a fleet as the repository has it: below `shared`, or below the host's directory."""
    for top in (folder / SHARED, folder / HOSTS):
        path = Path(position.path)
        if position.path and path.is_relative_to(top):
            return Position(str(path.relative_to(top)), position.line, position.column)
    return position


def _relative(problems: tuple[Problem, ...], folder: Path) -> tuple[Problem, ...]:
    return in_order(replace(problem, position=of_position(problem.position, folder)) for problem in problems)


def _read(folder: Path) -> tuple[Configuration, tuple[Problem, ...]]:
    """The files of a directory, which need not be there."""
    return read_paths([folder], anywhere=False) if folder.is_dir() else (Configuration(), ())


def _merged(shared: Configuration, top: Path, own: Configuration, own_top: Path) -> Configuration:
    """The files of all with those of a host in their place, in the order of their paths."""
    by_path: dict[str, Source] = {}
    for sources, folder in ((shared.resources, top), (own.resources, own_top)):
        by_path |= {str(Path(source.path).relative_to(folder)): source for source in sources}
    return Configuration(own.settings or shared.settings, tuple(by_path[path] for path in sorted(by_path)))


def _facts(path: Path) -> tuple[HostFacts | None, tuple[Problem, ...]]:
    configuration, problems = read_paths([path])
    found = manifests(configuration)
    if problems or len(found) != 1:
        return None, problems or (Problem(Position(str(path), 1, 1), "is not there", "the facts of the host"),)
    return decode_facts(found[0])


def warnings_of(host: FleetHost) -> tuple[Problem, ...]:
    """The problems that refuse nothing."""
    return tuple(problem for problem in host.problems if problem.severity is Severity.WARNING)
