"""A request carried out by an engine: in the daemon, or in hostfwctl itself where no daemon runs."""

from dataclasses import replace
from functools import partial

from hostfw.control.requests import Apply, Confirm, Files, Reply, Request, Rollback, RollbackTo, in_force_now
from hostfw.engine.engine import Engine
from hostfw.engine.inspection import Inspected, inspect
from hostfw.engine.outcomes import Applied
from hostfw.host.files import read_configuration, read_feeds


def perform(engine: Engine, request: Request) -> Reply:
    """Do what is asked for and say what came of it."""
    match request:
        case Apply():
            outcome = engine.apply(
                read(engine, request.files), request.confirm_within_s, accept_shrink=request.accept_shrink
            )
            return in_force_now(outcome, verbose=request.verbose) if isinstance(outcome, Applied) else outcome
        case Confirm():
            host = replace(engine.host, ancestors=lambda: request.ancestors)
            return replace(engine, host=host).confirm(console=request.console)
        case Rollback():
            return engine.rollback(request.if_pending)
        case RollbackTo():
            return engine.rollback_to(request.number)


def read(engine: Engine, files: Files | None) -> Inspected:
    """A configuration that was given, or the one in the configuration directory, as far as it can be judged offline.

    Files that Feeds name are read here in either case: they are named in the configuration, not on the command line.
    """
    if files is None:
        return inspect(*read_configuration(engine.directories.config), partial(read_feeds, trusted=True))
    return inspect(files.configuration, files.problems, partial(read_feeds, trusted=False))
