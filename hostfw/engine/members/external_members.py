"""External sets in the kernel: which there are, what they hold, and a Plan with that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hostfw.compile.object_names import external_sets
from hostfw.engine.context import Host
from hostfw.host.nftables.tables import KernelTables
from hostfw.model.plan import ExternalSet, Member, Plan
from hostfw.model.values import FAMILIES, Family
from hostfw.nft.objects import is_external
from hostfw.policy.resolve.external import with_members


@dataclass(frozen=True, slots=True)
class Held:
    """Everything that an external set holds, of both families."""

    external: ExternalSet
    members: tuple[Member, ...]

    def count(self, family: Family, *, nets: bool) -> int:
        """The number of its prefixes of a family, or of its addresses."""
        return sum(one.cidr.family is family and one.cidr.is_host is not nets for one in self.members)


def find_external(tables: KernelTables, name: str) -> ExternalSet | None:
    """The set of a Feed in the kernel, or None where no rule in force asks for it."""
    for one in tables.ip.sets:
        if is_external(one.name) and one.size is not None:
            external = ExternalSet(name, one.size, one.timeout_ms // 1000 or None)
            if external_sets(external)[0] == one.name:
                return external
    return None


def held(host: Host, external: ExternalSet) -> Held:
    """The members of a set. Raises HostError."""
    found = host.read_members([(family, name) for family in FAMILIES for name in external_sets(external)])
    # An address may be in both sets of a family, once for ever.
    members = sorted((member for members in found.values() for member in members), key=lambda member: member.cidr)
    return Held(external, tuple(members))


def with_members_now(host: Host, plan: Plan, other: Mapping[str, Iterable[Member]] | None = None) -> Plan:
    """The Plan with what its external sets hold at this moment, or what `other` has of them. Raises HostError."""
    if not plan.external:
        return plan
    members = {
        one.name: other[one.name] if other is not None and one.name in other else held(host, one).members
        for one in plan.external
    }
    return with_members(plan, {name: tuple(member.cidr for member in of) for name, of in members.items()})
