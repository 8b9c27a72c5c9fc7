"""The effect that `apply` would have on a host without rules in force, for people who ask before they dare."""

from typing import TYPE_CHECKING, NamedTuple

from hostfw.cli.command_line.options import Options
from hostfw.host.store.configuration.files import read_configuration
from hostfw.model.problems import Severity
from hostfw.model.wording import counted, listed

if TYPE_CHECKING:
    from hostfw.build.candidate import Candidate
    from hostfw.cli.input.facts import PlannedHere

_NOTHING = "nothing: every packet passes that no other program denies; `hostfwctl init` writes a first configuration"


class FirstApply(NamedTuple):
    """The content of the configuration directory in words, and the interfaces that it would govern, None if unknown."""

    text: str
    interfaces: tuple[str, ...] | None


def first_apply(options: Options) -> FirstApply:
    """Look at the configuration directory and at this host. Nothing of it is an error: `validate` is there for that."""
    configuration, unread = read_configuration(options.config_dir)
    if not (configuration.resources or configuration.settings or (unread and options.config_dir.exists())):
        return FirstApply(_NOTHING, ())
    # The decoder and the resolver take longer than all else that is looked at here.
    from hostfw.cli.input.configuration import contents, read
    from hostfw.cli.input.facts import planned_here

    candidate = read(options)
    if not candidate.is_valid:
        errors = sum(problem.severity is Severity.ERROR for problem in candidate.problems)
        what = f"{options.config_dir} has {counted(errors, 'error')}, which `hostfwctl validate` shows"
        return FirstApply(f"nothing, and `hostfwctl apply` would be refused: {what}", None)
    if not (candidate.resources.endpoints or candidate.resources.enforced):
        return FirstApply(_NOTHING, ())
    here = planned_here(options, candidate)
    if here is None:
        return FirstApply(f"nothing; `hostfwctl apply` would put {contents(candidate.resources)} into force", None)
    return FirstApply(f"nothing; {_would(candidate, here)}", _names(here))


def _would(candidate: "Candidate", here: "PlannedHere") -> str:
    from hostfw.cli.input.configuration import contents
    from hostfw.policy.unmanaged import consequence, ungoverned

    names, others = _names(here), [one.name for one in ungoverned(here.plan, here.facts) if one.up]
    on = listed(names) if names else "no interface"
    would = f"`hostfwctl apply` would govern {on} with {contents(candidate.resources)}"
    if not others:
        return would
    have, them = ("has", "it") if len(others) == 1 else ("have", "them")
    return f"{would}; {listed(others)} {have} no HostEndpoint: {consequence(here.plan.settings, them)}"


def _names(here: "PlannedHere") -> tuple[str, ...]:
    from hostfw.policy.unmanaged import governed

    return tuple(sorted(interface.name for interface in governed(here.plan, here.facts)))
