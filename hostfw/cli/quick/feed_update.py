"""One update of a Feed that is downloaded: fetched without rights, judged, put into force, and written down.

Whatever goes wrong leaves what is in force of the Feed, and is said: in the record of the Feed, in the journal and by
the exit status.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hostfw.build.refused import Refused
from hostfw.control.client import ask
from hostfw.control.messages import InForceNow, Reply, UpdateFeed
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import Failed
from hostfw.host.download.files import (
    Answers,
    DownloadRecord,
    drop_next,
    folder,
    keep_next,
    load_record,
    only_one,
    save_record,
    write_next,
)
from hostfw.host.download.lists import read_download
from hostfw.host.download.messages import Answer, DownloadError, Request
from hostfw.host.download.process import fetch
from hostfw.host.errors import HostError
from hostfw.journal.set_notices import feed_not_updated, feed_updated
from hostfw.model.host.baseline import Baseline
from hostfw.model.kinds.feed_sources import Download
from hostfw.model.kinds.sets import Feed
from hostfw.model.problems import errors
from hostfw.model.sources import Source

WITHIN_S = 300.0
"""Seconds that a download may take."""
SANDBOXED = "HOSTFW_SANDBOXED"
"""In the environment of hostfw-feed@.service, which sees no other processes."""
KEPT = timedelta(days=1)
"""Time that an address of a name stays after the resolver gave it last, whatever time to live it has."""
MOST_OF_NAME = 256
"""Most addresses that are kept of a name; the resolver's last ones are among them."""


@dataclass(frozen=True, slots=True)
class Updated:
    """The result for one Feed: prefixes in force, whether they are others than before, or what was wrong."""

    name: str
    elements: int = 0
    changed: bool = False
    problem: str = ""
    hint: str = ""


def update(
    engine: Engine,
    feed: Feed,
    announce: Callable[[Mapping[str, str]], None],
    *,
    accept_shrink: bool = False,
    accept_lockout: bool = False,
    within_s: float = WITHIN_S,
) -> Updated:
    """Download a Feed, put it into force, and announce that or what was wrong with it."""
    name, download = feed.metadata.name, feed.download
    if download is None:
        raise AssertionError("only a Feed with a source is downloaded")
    state = engine.directories.state
    now = engine.host.now()
    record = load_record(state, name)
    try:
        with only_one(state, name):
            result, record = _update(engine, feed, download, record, within_s, accept_shrink, accept_lockout)
            record = replace(record, tried=now, problem=result.problem)
            if not result.problem:
                record = replace(record, checked=now, changed=now if result.changed else record.changed)
            save_record(state, name, record)
    except HostError as error:
        result = Updated(name, problem=error.message, hint=error.hint)
    if result.problem:
        announce(feed_not_updated(name, download.origin, result.problem))
    elif result.changed:
        announce(feed_updated(name, download.origin, result.elements))
    return result


def _update(
    engine: Engine,
    feed: Feed,
    download: Download,
    record: DownloadRecord,
    within_s: float,
    accept_shrink: bool,  # noqa: FBT001  the words of the command, handed on as they are
    accept_lockout: bool,  # noqa: FBT001  as before
) -> tuple[Updated, DownloadRecord]:
    """The result, and the record as far as it belongs to what is kept now. Raises HostError."""
    name, state = feed.metadata.name, engine.directories.state
    current = read_download(name, state)
    kept = current if isinstance(current, Source) else None
    same = kept is not None and record.origin == download.origin
    # With a digest to check all of it is sent: what was kept may have come before the digest was asked for.
    validates = same and not download.sha256
    request = Request(
        download.url,
        download.hostnames,
        download.sha256,
        download.most_bytes,
        record.etag if validates else "",
        record.modified if validates else "",
        within_s,
    )
    try:
        answer = fetch(request, folder(state))
        text, answers, missing = _content(answer, download, record, engine.host.now(), kept if same else None)
    except DownloadError as error:
        return Updated(name, problem=str(error)), record
    write_next(state, name, text)
    reply = ask(engine, UpdateFeed(name, accept_shrink, accept_lockout, _baseline(engine)))
    if not isinstance(reply, InForceNow):
        drop_next(state, name)
        return _refused(name, reply), record
    keep_next(state, name)
    changed = kept is None or kept.text.encode() != text
    new = replace(record, origin=download.origin, answers=answers)
    if not answer.unchanged:
        new = replace(new, etag=answer.etag, modified=answer.modified)
    problem = "; ".join((*reply.unsaved, *missing))
    return Updated(name, text.count(b"\n"), changed, problem), new


def _baseline(engine: Engine) -> Baseline | None:
    """The connections that the host depends on; within a sandbox they are better looked for by the service."""
    return None if SANDBOXED in os.environ else engine.host.baseline()


def _content(
    answer: Answer, download: Download, record: DownloadRecord, now: datetime, kept: Source | None
) -> tuple[bytes, Answers, tuple[str, ...]]:
    """The text to put into force, the answers that it is made of, and what is missing of it. Raises DownloadError."""
    if download.hostnames:
        answers = merged(dict(record.answers), answer.addresses or {}, download.hostnames, now)
        missing = tuple(
            f"{name}: {why}{', its last addresses stay' if dict(answers).get(name) else ''}"
            for name, why in (answer.unresolved or {}).items()
        )
        addresses = sorted({address for _, found in answers for address, _ in found})
        if not addresses:
            raise DownloadError("; ".join(missing) or "the resolver gave no address")
        return "".join(f"{address}\n" for address in addresses).encode(), answers, missing
    if answer.unchanged:
        if kept is None:
            raise DownloadError("the server says that nothing changed, and nothing of it is here")
        return kept.text.encode(), (), ()
    if not answer.text:
        raise DownloadError("it holds no addresses")
    return answer.text, (), ()


def merged(
    before: Mapping[str, tuple[tuple[str, datetime], ...]],
    now_given: Mapping[str, tuple[str, ...]],
    names: tuple[str, ...],
    now: datetime,
) -> Answers:
    """The addresses of each name: those given now, those given lately, and all last ones where none were given now."""
    found: list[tuple[str, tuple[tuple[str, datetime], ...]]] = []
    for name in names:
        old, new = dict(before.get(name, ())), now_given.get(name, ())
        if new:
            old = {address: at for address, at in old.items() if abs(now - at) <= KEPT}
        together = old | dict.fromkeys(new, now)
        latest = sorted(together.items(), key=lambda one: (one[1], one[0]), reverse=True)
        found.append((name, tuple(latest[:MOST_OF_NAME])))
    return tuple(found)


def _refused(name: str, reply: Reply) -> Updated:
    match reply:
        case Failed():
            return Updated(name, problem=reply.message, hint=reply.hint)
        case Refused(problems=problems):
            wrong = errors(problems)
            return Updated(name, problem=str(wrong[0]) if wrong else "the configuration was refused")
        case _:
            raise AssertionError(f"{type(reply).__name__} does not answer an update of a Feed")
