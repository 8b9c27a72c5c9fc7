"""Feeds that shrank: a truncated download must not open the host.

A feed whose file lost more than its `maxShrink` of what was accepted is not believed: the accepted content stays in
force, and stays the accepted one, until the file has recovered or a person says that the loss is meant.
"""

from dataclasses import replace
from pathlib import Path

from hostfw.engine.inspection import Inspected
from hostfw.engine.memory import Memory, accepted_now
from hostfw.model.problems import Problem, Severity, in_order
from hostfw.model.resources import Feed
from hostfw.model.sources import Source
from hostfw.policy.feeds import lost, parse_feed


def believed(inspected: Inspected, state_dir: Path, memory: Memory | None = None) -> Inspected:
    """A configuration with the accepted content of those feeds that lost more than they may, and a warning for each."""
    texts = {source.path: source for source in inspected.configuration.feeds}
    if not texts:
        return inspected
    accepted, _ = accepted_now(state_dir, memory)
    before = {source.path: source for source in accepted.configuration.feeds} if accepted else {}
    kept: dict[str, Source] = {}
    warnings: list[Problem] = []
    for feed in inspected.resources.feeds:
        old = before.get(feed.file)
        if old is None or old == texts.get(feed.file):
            continue
        percent = lost(old, feed)
        if percent:
            kept[feed.file] = old
            warnings.append(_warning(feed, percent))
    if not kept:
        return inspected
    feeds = (replace(f, cidrs=parse_feed(kept[f.file])[0]) if f.file in kept else f for f in inspected.resources.feeds)
    sources = tuple(kept.get(source.path, source) for source in inspected.configuration.feeds)
    return Inspected(
        replace(inspected.configuration, feeds=sources),
        inspected.settings,
        replace(inspected.resources, feeds=tuple(feeds)),
        in_order((*inspected.problems, *warnings)),
    )


def _warning(feed: Feed, percent: int) -> Problem:
    return Problem(
        feed.path_position,
        f'the file of Feed "{feed.metadata.name}" lost {percent}% of what was accepted, which stays in force',
        expected=f"a loss of at most {feed.max_shrink}% (maxShrink)",
        hint="if the loss is meant: hostfwctl apply --accept-shrink",
        severity=Severity.WARNING,
    )
