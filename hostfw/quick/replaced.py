"""The parts that a quick rule takes away from the one of the same name that was there."""

from collections.abc import Iterator
from dataclasses import replace

from hostfw.model.kinds.metadata import REASON, TICKET
from hostfw.model.resources import GlobalNetworkPolicy, Resources
from hostfw.quick.manifests import TIER, Notes
from hostfw.quick.requests import QuickRule
from hostfw.quick.words import rule_words


def taken_away(rule: QuickRule, policy: GlobalNetworkPolicy, resources: Resources) -> Iterator[str]:
    """Sentences about the limit and the end that a rule of the same name had, and that the new one has not."""
    before = _before(policy.metadata.name, resources)
    if before is None:
        return
    name = policy.metadata.name.removeprefix(f"{TIER}.")
    limit = next((one.limit.new_connections for one in before.ingress if one.limit is not None), None)
    if limit is not None and rule.limit is None:
        kept = rule_words(replace(rule, limit=limit))
        yield f"this takes away the limit that {name} had; `hostfwctl {kept}` sets it again"
    expires = before.metadata.expires
    if expires is not None and policy.metadata.expires is None:
        yield f"{name} was to expire at {expires:%Y-%m-%d %H:%M:%S} UTC, and does not any more"


def with_earlier(notes: Notes, name: str, resources: Resources) -> Notes:
    """Notes with the reason and the ticket of the policy of that name, where none are given."""
    before = _before(name, resources)
    if before is None:
        return notes
    of = before.metadata
    return replace(notes, reason=notes.reason or of.annotation(REASON), ticket=notes.ticket or of.annotation(TICKET))


def _before(name: str, resources: Resources) -> GlobalNetworkPolicy | None:
    return next((one for one in resources.policies if one.metadata.name == name), None)
