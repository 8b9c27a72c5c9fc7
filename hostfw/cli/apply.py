"""`hostfwctl apply`: put a configuration into force, and say what that took."""

import re
from time import monotonic

from hostfw.cli.configuration import read, refuse, warn
from hostfw.cli.console import Console, ExitCode, counted
from hostfw.cli.documents import Document, document, json_text, problem_item
from hostfw.cli.durations import duration_text
from hostfw.cli.engine import complain_of, extent, open_engine
from hostfw.cli.options import Options, Output
from hostfw.cli.progress import progress
from hostfw.engine.generation import Refused
from hostfw.engine.outcomes import Applied, Failed
from hostfw.host.pending import Pending
from hostfw.nft.change import Change

_NEW_CHAIN = re.compile(r"^add chain \S+ hostfw \S+$", re.MULTILINE)
_SWEPT_CHAIN = re.compile(r"^delete chain ", re.MULTILINE)


def run(options: Options, console: Console) -> ExitCode:
    """Apply, and report to a person on stderr or to a program on stdout."""
    started_s = monotonic()
    with progress(console) as doing:
        doing("reading the configuration")
        inspected = read(options)
        doing("putting it into force")
        outcome = open_engine(options).apply(inspected, options.confirm_within_s, accept_shrink=options.accept_shrink)
    took_ms = round((monotonic() - started_s) * 1000)
    if options.output is Output.JSON:
        console.data(json_text(document("ApplyResult", _result(outcome, took_ms))))
    match outcome:
        case Applied():
            warn(outcome.generation.warnings, inspected.configuration, console)
            for warning in outcome.warnings:
                console.warn(warning)
            console.detail(str(outcome.change).rstrip("\n"))
            console.say(_sentence(outcome, took_ms))
            if outcome.pending is not None:
                console.say(_condition(outcome.pending, options.confirm_within_s or 0))
            return ExitCode.DONE
        case Refused():
            return refuse(outcome.problems, inspected.configuration, console, "nothing was changed")
        case Failed():
            return complain_of(outcome, console, in_force=True)


def _sentence(applied: Applied, took_ms: int) -> str:
    """What is in force now, and what it took."""
    generation = applied.generation
    policies, endpoints = len(generation.inspected.resources.policies), len(generation.plan.endpoints)
    governs = extent(policies, endpoints, generation.governed_interfaces)
    state = f"generation {generation.id} in force: {governs}"
    if applied.change.is_empty:
        return f"no change: {state}"
    new, swept = chain_counts(applied.change)
    return f"{state}; {counted(new, 'chain')} new, {swept} swept, {took_ms} ms"


def _condition(pending: Pending, within_s: int) -> str:
    """Until when it is in force, and what keeps it so."""
    return (
        f"taken back in {duration_text(within_s)}, at {pending.deadline:%H:%M:%S %Z}, "
        "unless `hostfwctl confirm` is run in a new ssh connection before"
    )


def _result(outcome: Applied | Refused | Failed, took_ms: int) -> Document:
    """An ApplyResult: `result` says which of the other fields there are."""
    match outcome:
        case Applied(generation, change, warnings, pending):
            new, swept = chain_counts(change)
            return {
                "result": "unchanged" if change.is_empty else "applied",
                "generation": generation.id,
                "node": generation.plan.node,
                "policies": len(generation.inspected.resources.policies),
                "endpoints": len(generation.plan.endpoints),
                "interfaces": generation.governed_interfaces,
                "chainsNew": new,
                "chainsSwept": swept,
                "milliseconds": took_ms,
                "problems": [problem_item(problem) for problem in generation.warnings],
                "warnings": list(warnings),
                "confirmBy": pending.deadline.isoformat() if pending is not None else None,
            }
        case Refused(problems):
            return {"result": "refused", "problems": [problem_item(problem) for problem in problems]}
        case Failed():
            return {
                "result": "failed",
                "message": outcome.message,
                "hint": outcome.hint,
                "inForce": outcome.in_force,
            }


def chain_counts(change: Change) -> tuple[int, int]:
    """How many chains a change adds, and how many it sweeps away."""
    return len(_NEW_CHAIN.findall(change.prepare)), len(_SWEPT_CHAIN.findall(change.sweep))
