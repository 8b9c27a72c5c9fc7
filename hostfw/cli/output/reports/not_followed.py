"""Interfaces that no rule in force is for, where no service runs that would follow them, as `status` tells of them."""

from typing import TYPE_CHECKING, NamedTuple

from hostfw.cli.command_line.options import Options
from hostfw.cli.outcomes import directories_of
from hostfw.cli.output.console import Style
from hostfw.cli.output.documents import Document
from hostfw.cli.output.reports.service_lines import Line, line
from hostfw.engine.context import Host
from hostfw.engine.outcomes import Status
from hostfw.host.errors import HostError
from hostfw.host.store.generations.generations import Accepted

if TYPE_CHECKING:
    from hostfw.model.plan import Binding


class NotFollowed(NamedTuple):
    """The lines and the items of a page about them."""

    lines: tuple[Line, ...] = ()
    ungoverned: tuple[Document, ...] = ()
    kept: tuple[Document, ...] = ()


def not_followed(options: Options, host: Host, status: Status, accepted: Accepted | None) -> NotFollowed:
    """The interfaces that came or changed since rules were last compiled, by comparing the host with the record."""
    if not status.families:
        return NotFollowed()
    # With the reader of links and what plans, 0.1 s: only where no service does it all the time.
    from hostfw.build.stored import stored_content
    from hostfw.engine.reading.stored_active import stored_active
    from hostfw.policy.unfollowed import bare_plan, unfollowed, without_rules_text

    directories = directories_of(options)
    try:
        stored = stored_active(directories, accepted)
        if stored is None:
            return NotFollowed()
        resources, settings = stored_content(stored.configuration, directories.state, policies=False)
        facts = host.facts(settings.node)
    except HostError as error:
        why = f"cannot be compared with the rules in force: {error.message}"
        return NotFollowed((line("Interfaces", why, Style.WARNING),))
    plan = bare_plan(resources, settings, facts, status.governance)
    found = unfollowed(plan, resources.endpoints, status.governance, facts)
    step = "`hostfwctl reload` has it governed"
    return NotFollowed(
        (
            *(line("Kept", _kept_text(binding), Style.WARNING) for binding in found.kept),
            *(
                line("Ungoverned", f"{without_rules_text(binding, settings)}; {step}", Style.ERROR)
                for binding in found.without_rules
            ),
        ),
        tuple(_item(binding) for binding in found.without_rules),
        tuple({**_item(binding), "since": None} for binding in found.kept),
    )


def _kept_text(binding: "Binding") -> str:
    return f"{binding.interface} under HostEndpoint {binding.endpoint}, which no longer claims it: {binding.reason}"


def _item(binding: "Binding") -> Document:
    return {"interface": binding.interface, "endpoint": binding.endpoint, "reason": binding.reason}
