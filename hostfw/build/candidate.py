"""A configuration and its problems, as far as it can be checked without a host."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hostfw.manifest.decode import Decoding, decode
from hostfw.manifest.feed_file import filled
from hostfw.model.problems import Problem, errors, in_order
from hostfw.model.resources import Resources
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration, Source
from hostfw.policy.check.references import Checking, check

ReadFeeds = Callable[[Sequence[str]], tuple[tuple[Source, ...], tuple[Problem, ...]]]
"""Reads the files that Feeds name."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A configuration as far as it can be judged without a host: decoded, checked across resources."""

    configuration: Configuration
    settings: Settings
    resources: Resources
    problems: tuple[Problem, ...]

    @property
    def is_valid(self) -> bool:
        """True if a generation may be built from it; warnings do not stand in the way."""
        return not errors(self.problems)


@dataclass(slots=True)
class Inspection:
    """Results of the last check, so that the next costs only what changed; kept by repeated callers."""

    decoding: Decoding = field(default_factory=Decoding)
    checking: Checking = field(default_factory=Checking)
    read_problems: tuple[Problem, ...] = ()
    unread: tuple[Problem, ...] = ()
    inspected: Inspected | None = None


def inspect(
    configuration: Configuration,
    read_problems: tuple[Problem, ...] = (),
    read_feeds: ReadFeeds | None = None,
    memory: Inspection | None = None,
) -> Inspected:
    """Decode and check a configuration, offline.

    Which files its Feeds name shows only now: `read_feeds` reads those that the configuration does not hold. With
    a memory, the same files give the very object of the last time.
    """
    decoded = decode(configuration, memory.decoding if memory else None)
    known = {source.path for source in configuration.feeds}
    wanted = [feed.file for feed in decoded.resources.feeds if feed.path and feed.file not in known]
    unread: tuple[Problem, ...] = ()
    if wanted and read_feeds is not None:
        sources, unread = read_feeds(wanted)
        configuration = replace(configuration, feeds=(*configuration.feeds, *sources))
    if memory is not None and (memory.read_problems, memory.unread) == (read_problems, unread):
        last = memory.inspected
        if last is not None and last.configuration == configuration:
            return last
    resources, feed_problems = filled(decoded.resources, configuration.feeds)
    whole = not errors(decoded.problems)
    checked = check(resources, decoded.settings, memory.checking if memory else None, whole=whole)
    problems = (*read_problems, *decoded.problems, *unread, *feed_problems, *checked)
    inspected = Inspected(configuration, decoded.settings, resources, in_order(problems))
    if memory is not None:
        memory.read_problems, memory.unread, memory.inspected = read_problems, unread, inspected
    return inspected
