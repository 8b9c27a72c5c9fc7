"""A bundle put into force on trial, judged by the health of the host, and kept or rolled back."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from hostfw.build.refused import Refused
from hostfw.cli.fleet.bundles.composed import composed, is_from
from hostfw.cli.fleet.bundles.health import Health
from hostfw.cli.quick.feed_update import SANDBOXED
from hostfw.control.client import ask
from hostfw.control.messages import Apply, Confirm, InForceNow, Reply, Rollback
from hostfw.engine.apply.asked import Asked
from hostfw.engine.checks.exposure import services_of
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import Confirmed, Failed, RolledBack, TooLate
from hostfw.host.bundles.folders import files_of
from hostfw.host.bundles.state import Known
from hostfw.host.store.generations.generations import load_accepted, load_generation
from hostfw.host.store.generations.trial import Trial, load_trial
from hostfw.model.problems import errors

MARGIN_S = 5.0
"""Seconds before the deadline of a trial at which nobody waits for the health of the host any more."""


BETTER = "publish a better bundle with a higher number, or try this one again with --retry"
"""The next step after a bundle that failed."""


class Tried(NamedTuple):
    """The end of a trial: what was wrong, or the generation that is in force and accepted.

    `tell` is what a person should know of it: warnings, and what it closed and opened. `lasting` says that the
    bundle itself was found wrong, so that another attempt would end alike, `not_permitted` that nobody judged it.
    """

    problem: str = ""
    hint: str = ""
    generation: str = ""
    tell: tuple[str, ...] = ()
    lasting: bool = False
    not_permitted: bool = False


def try_bundle(
    engine: Engine, files: Mapping[str, bytes], number: int, within_s: float, health: Health, *, accept_loss: bool
) -> Tried:
    """Put a bundle into force for as long as it takes to see that the host is well, and accept it or roll it back.

    Raises HostError. Whoever is killed in the middle leaves a trial that the host itself ends at its deadline.
    """
    whole = composed(engine.directories, files)
    request = Apply(
        whole,
        within_s,
        accept_loss=accept_loss,
        # Within a sandbox whom this could cut off is better looked for by the service.
        baseline=None if SANDBOXED in os.environ else engine.host.baseline(),
        services=services_of(engine.host),
        asked=Asked.RELOAD,
    )
    reply = ask(engine, request)
    if not isinstance(reply, InForceNow):
        return _refused(reply)
    tell = (*reply.warnings, *(change.text for change in reply.exposure))
    if reply.trial is None:
        return Tried("; ".join(reply.unsaved), "", reply.generation, tell)
    why = health.objection(max(within_s - MARGIN_S, within_s / 2), number)
    if why:
        back = ask(engine, Rollback(reply.trial.token))
        return Tried(f"{why}; {_back(back)}", BETTER, "", tell, lasting=True)
    confirmed = ask(engine, Confirm((), console=True))
    match confirmed:
        case Confirmed():
            return Tried("; ".join(confirmed.unsaved), "", confirmed.generation, (*tell, *confirmed.warnings))
        case TooLate(event):
            return Tried(f"it was rolled back before it was confirmed: {event.reason}", "", "", tell)
        case Failed():
            return Tried(f"{confirmed.message}; {confirmed.in_force}", confirmed.hint, "", tell)
        case _:
            raise AssertionError(f"{type(confirmed).__name__} does not answer a confirm")


def is_on_trial(engine: Engine, known: Known) -> Trial | None:
    """The trial of a bundle that a pull before this one began and did not end. Raises HostError."""
    trial, _ = load_trial(engine.directories.state)
    if trial is None:
        return None
    stored, _ = load_generation(engine.directories.state, trial.number)
    if stored is None:
        return None
    files = files_of(engine.directories.state, known.folder)
    return trial if files and is_from(stored.configuration, engine.directories.config, files) else None


def is_accepted(engine: Engine, known: Known) -> str:
    """The id of the accepted generation if it is the one of a bundle, or nothing. Raises HostError."""
    accepted, _ = load_accepted(engine.directories.state, with_scripts=False)
    files = files_of(engine.directories.state, known.folder)
    if accepted is None or not files or not is_from(accepted.configuration, engine.directories.config, files):
        return ""
    return accepted.id


def _refused(reply: Reply) -> Tried:
    match reply:
        case Failed():
            in_force = f"; {reply.in_force}" if reply.in_force else ""
            hint = reply.hint or ("run it as root" if reply.not_permitted else "")
            return Tried(f"{reply.message}{in_force}", hint, not_permitted=reply.not_permitted)
        case Refused(problems=problems):
            wrong = errors(problems)
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            return Tried(
                f"{wrong[0]}{more}" if wrong else "the configuration was refused", wrong[0].hint if wrong else ""
            )
        case _:
            raise AssertionError(f"{type(reply).__name__} does not answer an apply")


def _back(reply: Reply) -> str:
    match reply:
        case RolledBack(generation=generation):
            return f"it was rolled back: {'nothing' if generation is None else f'generation {generation}'} is in force"
        case Failed():
            return f"it could not be rolled back at once ({reply.message}), and is at its deadline"
        case _:
            return "it was rolled back already"
