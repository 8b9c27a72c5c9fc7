"""One pull: a bundle fetched, verified, decided on, tried, and made the configuration of this host.

In this order, so that a kill at any step leaves the old bundle or the new one, and the next pull finishes what was
begun:

1. what an interrupted pull left is brought to its end;
2. the bundle is fetched without rights, and its signature, number and waves are looked at before it is unpacked;
3. it is unpacked into a folder of its own, with the endpoints of this host if they are separate, and what is tried is
   written down;
4. it is put into force on trial, through every check of an apply, and confirmed or rolled back;
5. config_dir/bundle leads to it, and then the number is the lowest that is accepted from now on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from hostfw.bundle.manifest import BundleError
from hostfw.bundle.waves import Tally, decide
from hostfw.cli.fleet.bundles.endpoints import complete
from hostfw.cli.fleet.bundles.fetched import Verified, answers, fetched, fetched_endpoints, is_url, verified
from hostfw.cli.fleet.bundles.health import Health
from hostfw.cli.fleet.bundles.status import Pulled, State
from hostfw.cli.fleet.bundles.trial import BETTER, Tried, is_accepted, is_on_trial, try_bundle
from hostfw.control.client import ask
from hostfw.control.messages import Rollback
from hostfw.engine.engine import Engine
from hostfw.host.bundles.folders import ALL, forget_endpoints, forget_others, linked_folder, switch, unpack
from hostfw.host.bundles.state import BundleState, Known, load_state, save_state
from hostfw.host.errors import HostError
from hostfw.host.store.codec import StateError
from hostfw.host.store.generations.trial import load_trial

MOST_ATTEMPTS = 3
"""Pulls of one bundle that may be interrupted before it counts as failed: it may be what interrupts them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The words of a pull: where bundles are, who may sign them, who this host is, and what proves that it is well."""

    source: str
    signers: Path
    node: str
    most_bytes: int
    within_s: float
    ring: str = ""
    name: str = ""
    command: str = ""
    retry: bool = False
    now: bool = False
    accept_loss: bool = False
    all_endpoints: bool = False
    read_tally: Callable[[int], Tally | None] = lambda _: None


def pull(engine: Engine, wanted: Wanted, at: datetime) -> Pulled:
    """Take the bundle that a source has, if it is one to take. Nothing is raised: every end is a result."""
    try:
        state = _finished(engine, load_state(engine.directories.state))
        state = _with_link(engine, state)
        data, state = fetched(wanted.source, engine.directories.state, state, wanted.most_bytes)
    except HostError as error:
        return Pulled(State.UNREACHED, error.message, error.hint)
    try:
        bundle = verified(data, wanted.signers)
    except BundleError as error:
        return Pulled(State.REFUSED, f"the bundle of {wanted.source} was refused: {error.message}", error.hint)
    except HostError as error:
        return Pulled(State.UNREACHED, error.message, error.hint)
    try:
        pulled = _judged(engine, state, bundle, wanted, at) or _taken(engine, state, bundle, wanted)
    except HostError as error:
        pulled = Pulled(State.UNREACHED, f"bundle {bundle.known.number}: {error.message}", error.hint)
    return replace(pulled, offered=bundle.known, signer=bundle.signer)


def _finished(engine: Engine, state: BundleState) -> BundleState:
    """The state after what an interrupted pull left was brought to its end. Raises HostError."""
    trying = state.trying
    if trying is None:
        return state
    trial = is_on_trial(engine, trying)
    if trial is not None:
        ask(engine, Rollback(trial.token))
        return state
    return _accept(engine, state, trying) if is_accepted(engine, trying) else state


def _with_link(engine: Engine, state: BundleState) -> BundleState:
    """The state with the number that the configuration directory leads to, if there is no record of it."""
    linked = linked_folder(engine.directories.config, engine.directories.state)
    if linked is None or state.accepted is not None:
        return state
    number = linked.removesuffix(ALL)
    return replace(state, accepted=Known(int(number), "", "", linked != number))


def _judged(engine: Engine, state: BundleState, bundle: Verified, wanted: Wanted, at: datetime) -> Pulled | None:
    """The end of a pull of a bundle that is not to be taken, or not now; None if it is. Raises HostError."""
    known, manifest = bundle.known, bundle.manifest
    before = state.accepted
    expected = wanted.name or (before.name if before else "")
    if expected and known.name != expected:
        return Pulled(
            State.REFUSED,
            f"bundle {known.number} is called {known.name}, and this host takes those called {expected}",
            "if this host is to change over, give the name with --name",
        )
    if before is not None and known.number <= before.number:
        return _not_newer(engine, before, bundle, wanted)
    if state.lasting and state.failed == known and not wanted.retry:
        return Pulled(State.FAILED, f"bundle {known.number} failed on this host: {state.why}", BETTER)
    if state.trying == known and state.attempts >= MOST_ATTEMPTS and not wanted.retry:
        return Pulled(
            State.FAILED, f"bundle {known.number} was begun {state.attempts} times and interrupted each time", BETTER
        )
    waits = None if wanted.now else decide(manifest, wanted.node, wanted.ring, at, wanted.read_tally(known.number))
    if waits is None:
        return None
    return Pulled(State.STOPPED if waits.stopped else State.WAITING, waits.message, waits.hint, until=waits.until)


def _not_newer(engine: Engine, before: Known, bundle: Verified, wanted: Wanted) -> Pulled | None:
    """The end of a pull of a bundle that is no newer than the one that was accepted here; None to take it again."""
    known = bundle.known
    if known.number < before.number:
        return Pulled(
            State.REFUSED,
            f"bundle {known.number} is older than bundle {before.number}, which was accepted on this host",
            "to go back, publish the earlier content with a higher number",
        )
    if before.digest not in ("", known.digest):
        return Pulled(
            State.REFUSED,
            f"bundle {known.number} is another than the bundle {known.number} that was accepted on this host",
            "give each bundle a number of its own, higher than the last",
        )
    linked = linked_folder(engine.directories.config, engine.directories.state)
    generation = is_accepted(engine, before) if linked == before.folder else ""
    more = wanted.all_endpoints and bundle.manifest.endpoints is not None and not before.all_endpoints
    if generation and not more:
        return Pulled(State.CURRENT, f"bundle {known.number} is in force", generation=generation)
    if wanted.retry or generation:
        return None
    return Pulled(
        State.CHANGED,
        f"bundle {known.number} was accepted, and something else was put into force on this host since",
        "the next bundle is taken; --retry puts this one into force again",
    )


def _taken(engine: Engine, state: BundleState, bundle: Verified, wanted: Wanted) -> Pulled:
    """Unpack a bundle and try it. Raises HostError."""
    known, directory = bundle.known, engine.directories.state
    pending, _ = load_trial(directory)
    if pending is not None:
        return Pulled(
            State.WAITING,
            f"bundle {known.number} is not taken while another change waits to be confirmed",
            "`hostfwctl status` shows it",
        )
    fetch_file = partial(fetched_endpoints, wanted.source, directory)
    try:
        whole = complete(engine, bundle, fetch_file, every=wanted.all_endpoints)
    except BundleError as error:
        return Pulled(State.REFUSED, f"bundle {known.number} was refused: {error.message}", error.hint)
    known = replace(known, all_endpoints=whole.all_endpoints)
    unpack(directory, known.folder, whole.files)
    attempts = state.attempts + 1 if state.trying == known else 1
    state = replace(state, trying=known, attempts=attempts)
    save_state(directory, state)
    reaches = partial(answers, wanted.source, directory, state, wanted.most_bytes) if is_url(wanted.source) else None
    tried = try_bundle(
        engine,
        whole.files,
        known.number,
        wanted.within_s,
        Health(wanted.command, reaches),
        accept_loss=wanted.accept_loss,
    )
    if tried.not_permitted:
        return Pulled(State.UNREACHED, f"bundle {known.number}: {tried.problem}", tried.hint, not_permitted=True)
    if not tried.generation:
        return _failed(directory, state, known, tried)
    _accept(engine, state, known)
    forget_endpoints(directory, whole.digests)
    why = (f"it has the endpoints of all hosts: {whole.why}",) if whole.why else ()
    tell = (*why, *tried.tell)
    done = Pulled(State.APPLIED, f"bundle {known.number} is in force", generation=tried.generation, tell=tell)
    if tried.problem:
        return replace(done, state=State.UNREACHED, message=f"{done.message}, and not saved: {tried.problem}")
    return done


def _failed(directory: Path, state: BundleState, known: Known, tried: Tried) -> Pulled:
    """The end of a bundle that did not hold. One that a check refused may pass later, and is tried again."""
    state = replace(state, trying=None, attempts=0, failed=known, why=tried.problem, lasting=tried.lasting)
    message, hint = f"bundle {known.number} failed: {tried.problem}", tried.hint
    try:
        save_state(directory, state)
    except StateError as error:
        message = f"{message}; {error.message}"
    return Pulled(State.FAILED, message, hint, tell=tried.tell)


def _accept(engine: Engine, state: BundleState, known: Known) -> BundleState:
    """Let the configuration directory lead to a bundle that is in force, and no older one pass. Raises HostError."""
    config, directory = engine.directories.config, engine.directories.state
    before = linked_folder(config, directory)
    try:
        switch(config, directory, known.folder)
        state = replace(state, accepted=known, trying=None, attempts=0, failed=None, why="", lasting=False)
        save_state(directory, state)
    except StateError as error:
        raise HostError(
            f"it is in force and accepted, and {error.message}", error.hint or "the next pull finishes it"
        ) from error
    forget_others(directory, known.folder, before)
    return state
