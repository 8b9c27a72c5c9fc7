"""A new download of a Feed into force, with what was accepted of everything else.

Nothing here reads the configuration directory: a timer must not put into force what somebody is still writing there.
"""

from dataclasses import replace

from hostfw.build.cache import accepted_now
from hostfw.build.candidate import check_candidate
from hostfw.build.refused import Refused
from hostfw.engine.apply.acceptance import unsaved_of
from hostfw.engine.apply.applied import Applied
from hostfw.engine.apply.apply import apply
from hostfw.engine.checks.lockout import LockoutRequest
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import Failed
from hostfw.host.download.lists import read_download
from hostfw.manifest.decode import decode
from hostfw.manifest.files.feed_file import lost
from hostfw.model.kinds.sets import Feed
from hostfw.model.problems import Problem, errors
from hostfw.model.resources import Resources
from hostfw.model.settings import LockoutCheck


def update_feed(
    writer: Writer, name: str, lockout: LockoutRequest | None, *, accept_shrink: bool = False
) -> Applied | Refused | Failed:
    """Put the download of a Feed that waits in the state directory into force, and accept it.

    One that lost more than its Feed's maxShrink of what was accepted is a failure, unless `accept_shrink`.
    """
    state = writer.directories.state
    accepted, problems = accepted_now(state, writer.cache)
    if accepted is None or problems:
        return Failed("no configuration is accepted that could be read", "hostfwctl apply")
    if unsaved_of(writer) is not None:
        return Failed("what is in force could not be saved, so nothing is added to it", "hostfwctl doctor")
    feed = downloaded_feed(decode(accepted.configuration).resources, name)
    if feed is None:
        return Failed(f'no Feed "{name}" with a url or hostnames is in force', "hostfwctl apply")
    source = read_download(name, state, "next")
    if source is None or isinstance(source, Problem):
        return Failed(f'nothing was downloaded of Feed "{name}"' if source is None else str(source))
    old = next((one for one in accepted.configuration.feeds if one.path == feed.file), None)
    others = tuple(one for one in accepted.configuration.feeds if one.path != feed.file)
    configuration = replace(accepted.configuration, feeds=(*others, source))
    candidate = check_candidate(configuration, cache=writer.cache.candidate if writer.cache else None)
    if wrong := errors(candidate.problems):
        return Failed(f"{wrong[0].position}: {wrong[0].message}", wrong[0].hint)
    new = downloaded_feed(candidate.resources, name)
    percent = lost(old, new) if old is not None and new is not None and not accept_shrink else 0
    if percent:
        return Failed(
            f'the download of Feed "{name}" lost {percent}% of what was accepted, which stays in force',
            f"to accept the loss: hostfwctl feed update {name} --accept-shrink",
        )
    if candidate.settings.lockout_check is LockoutCheck.IGNORE:
        lockout = None
    return apply(writer, candidate, None, lockout)


def downloaded_feed(resources: Resources, name: str) -> Feed | None:
    """The Feed of a name, if it has a source that it is downloaded from."""
    return next((one for one in resources.feeds if one.metadata.name == name and one.download is not None), None)
