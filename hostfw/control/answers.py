"""The reply to an `apply` of what is in force already, kept from the last one: see `engine/checks/unchanged.py`.

Commands that run by themselves keep it. The service has what it compiled in memory.
"""

from hostfw.control.codec import CodecError, decode, encode
from hostfw.control.messages import Apply, InForceNow
from hostfw.engine.apply.applied import Applied
from hostfw.engine.checks.unchanged import Unchanged
from hostfw.engine.engine import Engine
from hostfw.host.store.answers import Answer, Basis, forget_answer, load_answer, save_answer
from hostfw.model.sources import Configuration


def kept_reply(engine: Engine, request: Apply, configuration: Configuration) -> InForceNow | None:
    """The reply to an `apply` that would change nothing; None where that is not certain without compiling."""
    answer = load_answer(engine.directories.run) if _is_plain(engine, request) else None
    if answer is None:
        return None
    try:
        reply = decode(InForceNow, answer.reply)  # type: ignore[arg-type]  # checked by decoding
    except CodecError:
        return None
    found = engine.unchanged(answer, configuration, request.asked)
    if not isinstance(found, Unchanged):
        return None
    return _of_now(reply, found.unsaved)


def keep_reply(engine: Engine, request: Apply, applied: Applied, reply: InForceNow) -> None:
    """Keep the reply to an `apply` for the next one that finds all as it is now."""
    if not _is_plain(engine, request):
        return
    run = engine.directories.run
    basis = None
    if not (applied.warnings or applied.unsaved or applied.trial):
        basis = engine.basis(applied.generation, request.asked)
    if isinstance(basis, Basis):
        node = applied.generation.candidate.settings.node
        save_answer(run, Answer(basis, reply.generation, node, encode(_of_now(reply, ()))))
    else:
        forget_answer(run)


def _is_plain(engine: Engine, request: Apply) -> bool:
    """True if an answer may stand for an `apply`: not on trial, accepting no loss, and not telling what was sent."""
    accepts = request.accept_loss or request.accept_shrink
    return engine.cache is None and request.confirm_within_s is None and not accepts and not request.verbose


def _of_now(reply: InForceNow, unsaved: tuple[str, ...]) -> InForceNow:
    """The reply as it is once nothing changes any more."""
    return InForceNow(
        reply.generation,
        reply.node,
        reply.policies,
        reply.endpoints,
        reply.interfaces,
        unchanged=True,
        chains_new=0,
        chains_swept=0,
        problems=reply.problems,
        unsaved=unsaved,
    )
