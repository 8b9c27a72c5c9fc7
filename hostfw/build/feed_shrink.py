"""Feeds that shrank: a truncated download must not open the host.

If a feed's file lost more than its `maxShrink` of the accepted content, the accepted content stays in force, until the
file has recovered or a person accepts the loss.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from hostfw.build.cache import EngineCache, accepted_now
from hostfw.build.candidate import Candidate
from hostfw.manifest.decode import decode
from hostfw.manifest.files.feed_file import lost, parse_feed
from hostfw.model.kinds.sets import Feed
from hostfw.model.problems import Problem, Severity, in_order
from hostfw.model.sources import Configuration, Source

_ACCEPT = "to accept the loss: hostfwctl apply --accept-shrink"


def keep_accepted_feeds(candidate: Candidate, state_dir: Path, cache: EngineCache | None = None) -> Candidate:
    """A configuration with the accepted content of those feeds that lost more than they may, and a warning for each.

    With a cache the same configuration gives the same value, while the same is accepted.
    """
    if not any(feed.has_file for feed in candidate.resources.feeds):
        return candidate
    accepted, _ = accepted_now(state_dir, cache)
    if accepted is None:
        return candidate
    if cache is None:
        return _keep_accepted_feeds(candidate, accepted.configuration)
    known = cache.feeds
    if known is None or known[0] is not candidate or known[1] is not accepted:
        known = cache.feeds = candidate, accepted, _keep_accepted_feeds(candidate, accepted.configuration)
    return known[2]


def shrunk_feeds(candidate: Candidate) -> Iterator[tuple[Feed, Problem]]:
    """The feeds of a configuration that keep their accepted content since they lost too much, each with its warning."""
    warned = {problem.position: problem for problem in candidate.problems if problem.hint == _ACCEPT}
    for feed in candidate.resources.feeds:
        if feed.path_position in warned:
            yield feed, warned[feed.path_position]


def _keep_accepted_feeds(candidate: Candidate, accepted: Configuration) -> Candidate:
    before = {source.path: source for source in accepted.feeds}
    # A Feed whose file has another name now is told by its own, which takes a look into what was accepted.
    renamed = any(feed.has_file and feed.file not in before for feed in candidate.resources.feeds)
    by_name = _by_name(accepted, before) if renamed else {}
    texts = {source.path: source.text for source in candidate.configuration.feeds}
    kept: dict[str, Source] = {}
    warnings: list[Problem] = []
    for feed in candidate.resources.feeds:
        old = before.get(feed.file) or by_name.get(feed.metadata.name)
        if old is None or old.text == texts.get(feed.file):
            continue
        # A download that is gone is no answer of its source, so nothing was lost there.
        if feed.download is not None and feed.file not in texts:
            kept[feed.file] = replace(old, path=feed.file)
            continue
        percent = lost(old, feed)
        if percent:
            kept[feed.file] = replace(old, path=feed.file)
            warnings.append(_warning(feed, percent))
    if not kept:
        return candidate
    feeds = (replace(f, cidrs=parse_feed(kept[f.file])[0]) if f.file in kept else f for f in candidate.resources.feeds)
    sources = {source.path: source for source in candidate.configuration.feeds} | kept
    return Candidate(
        replace(candidate.configuration, feeds=tuple(sources.values())),
        candidate.settings,
        replace(candidate.resources, feeds=tuple(feeds)),
        in_order((*(one for one in candidate.problems if not _is_about(one, kept)), *warnings)),
    )


def _is_about(problem: Problem, kept: Mapping[str, Source]) -> bool:
    """True if a problem says that a download is missing whose accepted content stays in force."""
    return problem.severity is Severity.WARNING and any(f"{path} is not there yet" in problem.message for path in kept)


def _by_name(accepted: Configuration, contents: Mapping[str, Source]) -> dict[str, Source]:
    """The accepted content of each Feed by its name."""
    feeds = decode(accepted).resources.feeds
    return {feed.metadata.name: contents[feed.file] for feed in feeds if feed.file in contents}


def _warning(feed: Feed, percent: int) -> Problem:
    return Problem(
        feed.path_position,
        f'the file of Feed "{feed.metadata.name}" lost {percent}% of what was accepted, which stays in force',
        expected=f"a loss of at most {feed.max_shrink}% (maxShrink)",
        hint=_ACCEPT,
        severity=Severity.WARNING,
    )
