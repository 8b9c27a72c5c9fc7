"""The effect that `apply` would have on a host without rules in force, for people who ask before they dare."""

from typing import NamedTuple

from hostfw.build.candidate import Candidate
from hostfw.cli.configuration import contents, read
from hostfw.cli.facts import PlannedHere, planned_here
from hostfw.cli.options import Options
from hostfw.model.problems import Severity
from hostfw.model.wording import counted, listed
from hostfw.policy.unmanaged import consequence, governed, ungoverned


class FirstApply(NamedTuple):
    """What is in the configuration directory, in words, and the interfaces that it would govern; None if unknown."""

    text: str
    interfaces: tuple[str, ...] | None


def first_apply(options: Options) -> FirstApply:
    """Look at the configuration directory and at this host. Nothing of it is an error: `validate` is there for that."""
    candidate = read(options)
    if not candidate.is_valid:
        errors = sum(problem.severity is Severity.ERROR for problem in candidate.problems)
        what = f"{options.config_dir} has {counted(errors, 'error')}, which `hostfwctl validate` shows"
        return FirstApply(f"nothing, and `hostfwctl apply` would be refused: {what}", None)
    if not (candidate.resources.endpoints or candidate.resources.policies):
        begin = "`hostfwctl init` writes a first configuration"
        return FirstApply(f"nothing: every packet passes that no other program denies; {begin}", ())
    here = planned_here(options, candidate)
    if here is None:
        return FirstApply(f"nothing; `hostfwctl apply` would put {contents(candidate.resources)} into force", None)
    return FirstApply(f"nothing; {_would(candidate, here)}", _names(here))


def _would(candidate: Candidate, here: PlannedHere) -> str:
    names, others = _names(here), [one.name for one in ungoverned(here.plan, here.facts) if one.up]
    on = listed(names) if names else "no interface"
    would = f"`hostfwctl apply` would govern {on} with {contents(candidate.resources)}"
    if not others:
        return would
    have, them = ("has", "it") if len(others) == 1 else ("have", "them")
    return f"{would}; {listed(others)} {have} no HostEndpoint: {consequence(here.plan.settings, them)}"


def _names(here: PlannedHere) -> tuple[str, ...]:
    return tuple(sorted(interface.name for interface in governed(here.plan, here.facts)))
