"""Notices of sets: Feeds and the members that somebody puts in, as the fields of journal entries."""

from collections.abc import Sequence

from hostfw.journal.entry import NOTICE, UNKNOWN_ACTOR, WARNING, Actor, Fields, by_actor, entry, lines
from hostfw.journal.message_ids import MessageId
from hostfw.model.problems import Problem


def feed_shrunk(problem: Problem, feed: str = "", path: str = "") -> Fields:
    """A feed's file lost more than it may, so its accepted content stays in force; `problem` is the warning of it."""
    return entry(
        MessageId.FEED_SHRUNK,
        WARNING,
        f"{problem.position.file_line}: {problem.message}",
        FEED=feed,
        FILE=path,
        ORIGIN=problem.position.file_line,
        HINT=problem.hint,
    )


def feed_updated(feed: str, source: str, elements: int) -> Fields:
    """A Feed was downloaded and is in force, with so many prefixes."""
    return entry(
        MessageId.FEED_UPDATED,
        NOTICE,
        f"Feed {feed} was updated: {elements} prefixes",
        FEED=feed,
        SOURCE=source,
        ELEMENTS=str(elements),
    )


def feed_not_updated(feed: str, source: str, cause: str) -> Fields:
    """A Feed could not be downloaded, or not be put into force; what was in force of it stays."""
    return entry(
        MessageId.FEED_NOT_UPDATED,
        WARNING,
        f"Feed {feed} was not updated, what is in force of it stays: {cause}",
        FEED=feed,
        SOURCE=source,
        CAUSE=cause,
    )


def members_changed(
    name: str, added: Sequence[str], removed: Sequence[str], for_s: int | None = None, actor: Actor = UNKNOWN_ACTOR
) -> Fields:
    """Somebody put members into a set, for so many seconds or as long as the set says, or took some out."""
    for_text = f" for {for_s} s" if for_s is not None else ""
    said = [
        f"{_few(members)} {what}"
        for members, what in ((added, f"put into {name}{for_text}"), (removed, f"taken out of {name}"))
        if members
    ]
    by = f", by {actor}" if str(actor) else ""
    return entry(
        MessageId.MEMBERS_CHANGED,
        NOTICE,
        f"{' and '.join(said)}{by}",
        SET=name,
        ADDED=lines(added),
        REMOVED=lines(removed),
        SECONDS=for_s,
        **by_actor(actor),
    )


def _few(members: Sequence[str]) -> str:
    more = f" and {len(members) - 3} more" if len(members) > 3 else ""
    return f"{', '.join(members[:3])}{more}"
