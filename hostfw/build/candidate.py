"""A configuration and its problems, as far as it can be checked without a host."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from hostfw.manifest.decode import DecodeCache, DecodedSource, decode
from hostfw.model.kinds.sets import Feed
from hostfw.model.problems import Problem, Severity, errors, in_order
from hostfw.model.resources import Resources
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration, Source
from hostfw.policy.check.references import CheckCache, check

ReadFeeds = Callable[[Sequence[str]], tuple[tuple[Source, ...], tuple[Problem, ...]]]
"""Reads the files that Feeds name."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration as far as it can be judged without a host: decoded, checked across resources.

    `decoded` are its files one by one.
    """

    configuration: Configuration
    settings: Settings
    resources: Resources
    problems: tuple[Problem, ...]
    decoded: tuple[DecodedSource, ...] = field(default=(), compare=False, repr=False)

    @property
    def is_valid(self) -> bool:
        """True if a generation may be built from it; warnings do not stand in the way."""
        return not errors(self.problems)


@dataclass(slots=True, eq=False, repr=False)
class CandidateCache:
    """Results of the last check, so that the next costs only what changed; kept by repeated callers."""

    decode: DecodeCache = field(default_factory=DecodeCache)
    check: CheckCache = field(default_factory=CheckCache)
    read_problems: tuple[Problem, ...] = ()
    unread: tuple[Problem, ...] = ()
    candidate: Candidate | None = None


def check_candidate(
    configuration: Configuration,
    read_problems: tuple[Problem, ...] = (),
    read_feeds: ReadFeeds | None = None,
    cache: CandidateCache | None = None,
    *,
    warnings: bool = True,
    of_a_host: bool = True,
) -> Candidate:
    """Decode and check a configuration, offline.

    Which files its Feeds name shows only now: `read_feeds` reads those that the configuration does not hold. With
    a cache, the same files give the very object of the last time. Without `warnings` it tells whether
    there are errors: the whole check comes later. What is for many hosts is not `of_a_host`: each has its own settings.
    """
    decoded = decode(configuration, cache.decode if cache else None)
    known = {source.path for source in configuration.feeds}
    wanted = [feed.file for feed in decoded.resources.feeds if feed.has_file and feed.file not in known]
    unread: tuple[Problem, ...] = ()
    if wanted and read_feeds is not None:
        sources, unread = read_feeds(wanted)
        configuration = replace(configuration, feeds=(*configuration.feeds, *sources))
    if cache is not None and (cache.read_problems, cache.unread) == (read_problems, unread):
        last = cache.candidate
        if last is not None and last.configuration == configuration:
            return last
    resources, feed_problems = _with_feeds(decoded.resources, configuration.feeds)
    whole = not errors(decoded.problems)
    checked = check(
        resources,
        decoded.settings,
        cache.check if cache else None,
        whole=whole,
        warnings=warnings,
        of_a_host=of_a_host,
    )
    problems = (*read_problems, *decoded.problems, *unread, *feed_problems, *checked)
    candidate = Candidate(configuration, decoded.settings, resources, in_order(problems), decoded.sources)
    if cache is not None and warnings:
        cache.read_problems, cache.unread, cache.candidate = read_problems, unread, candidate
    return candidate


def _with_feeds(resources: Resources, files: tuple[Source, ...]) -> tuple[Resources, tuple[Problem, ...]]:
    """The resources with what the files of their Feeds hold, and what is wrong with these or not there."""
    if not resources.feeds:
        return resources, ()
    from hostfw.manifest.files.feed_file import filled

    resources, problems = filled(resources, files)
    there = {source.path for source in files}
    return resources, (*problems, *(_not_downloaded(feed) for feed in resources.feeds if _is_missing(feed, there)))


def _is_missing(feed: Feed, there: Collection[str]) -> bool:
    return feed.download is not None and feed.file not in there


def _not_downloaded(feed: Feed) -> Problem:
    """The warning about a Feed whose download never came here; its rules stand and meet nothing."""
    return Problem(
        feed.path_position,
        f'Feed "{feed.metadata.name}" holds no addresses: {feed.file} is not there yet',
        hint=f"hostfwctl feed update {feed.metadata.name}",
        severity=Severity.WARNING,
    )
