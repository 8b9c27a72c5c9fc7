"""States of Feeds that are downloaded, in words, for `feed list`, `status` and `doctor`."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from hostfw.host.download.files import DownloadRecord, load_record
from hostfw.model.sources import Configuration
from hostfw.model.time.moments import moment_text

STALE = timedelta(days=2)
"""Time without an attempt after which nothing seems to update a Feed: the timer does it every hour."""


def state_of(record: DownloadRecord) -> str:
    """The state of a download in a few words."""
    if record.problem:
        return record.problem
    return "never tried" if record.tried is None else "ok"


def feed_troubles(configuration: Configuration, state_dir: Path, now: datetime) -> Iterator[tuple[str, str, str]]:
    """The Feeds whose last good list is not the last one: name, trouble in a sentence, and the next step."""
    # All of a big configuration would take seconds to read.
    sources = tuple(source for source in configuration.resources if "url" in source.text or "hostnames" in source.text)
    if not any("Feed" in source.text for source in sources):
        return
    from hostfw.manifest.decode import decode

    for feed in decode(Configuration(resources=sources)).resources.feeds:
        if feed.download is None:
            continue
        name = feed.metadata.name
        record = load_record(state_dir, name)
        update = f"hostfwctl feed update {name}"
        if record.tried is None:
            timer = f"`{update}`, and systemctl enable --now hostfw-feed@{name}.timer"
            yield name, f'Feed "{name}" was never downloaded, and holds no addresses', timer
        elif record.origin and record.origin != feed.download.origin:
            yield name, f'the list of Feed "{name}" is still that of {record.origin}', f"`{update}`"
        elif record.problem:
            since = "" if record.checked is None else f"; its list is that of {moment_text(record.checked)}"
            yield name, f'Feed "{name}" could not be updated: {record.problem}{since}', f"`{update}` tries it again"
        elif abs(now - record.tried) > STALE:
            timer = f"systemctl enable --now hostfw-feed@{name}.timer"
            yield name, f'nothing has updated Feed "{name}" since {moment_text(record.tried)}', timer
