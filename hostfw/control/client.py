"""The client: it asks the daemon where it runs, otherwise an engine of its own under the namespace's lock."""

from collections.abc import Callable
from dataclasses import replace

from hostfw.control.channel import RESTART, TIMEOUT_S, DaemonError, NotReachedError, send
from hostfw.control.handlers import handle, read
from hostfw.control.messages import Apply, Reply, Request, ServiceReport
from hostfw.control.socket import Refusal
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import UNKNOWN, Failed

Handler = Callable[[Engine, Request], Reply]


def ask(
    engine: Engine,
    request: Request,
    timeout_s: float = TIMEOUT_S,
    *,
    insist: bool = False,
    handle_here: Handler = handle,
) -> Reply:
    """Have a request carried out by whoever writes in this network namespace.

    `engine` does it where no daemon runs for its run directory. A daemon that is not reached, since its socket is gone,
    would undo what is done here, so nothing is done. A daemon that does not answer is a failure, and
    nothing is done here, since it may still be at it; unless we `insist`: the lock of the namespace holds either way.
    Then it is also done here what the daemon refuses, as one of another release does, or fails at.
    """
    try:
        answer = send(engine.directories, _with_feeds(engine, request), timeout_s)
    except DaemonError as error:
        if insist:
            return handle_here(engine, request)
        if isinstance(error, NotReachedError):
            return Failed(error.message, error.hint)
        return Failed(error.message, error.hint, in_force=UNKNOWN)
    except PermissionError:
        return Failed("the daemon takes requests of root alone", "run it as root", not_permitted=True)
    match answer:
        case None | Refusal(elsewhere=True):
            return handle_here(engine, request)
        case Refusal() | ServiceReport() | Failed() if insist:
            return handle_here(engine, request)
        case Refusal():
            return Failed(answer.message, answer.hint)
        case ServiceReport():
            return Failed("the daemon's answer does not match the request", RESTART, in_force=UNKNOWN)
        case _:
            return answer


def _with_feeds(engine: Engine, request: Request) -> Request:
    """The request with the files that its Feeds name, which the daemon in its sandbox may not be able to read."""
    if not isinstance(request, Apply) or request.files is None:
        return request
    if not any("Feed" in source.text for source in request.files.configuration.resources):
        return request
    candidate = read(engine, request.files)
    return replace(request, files=replace(request.files, configuration=candidate.configuration))
