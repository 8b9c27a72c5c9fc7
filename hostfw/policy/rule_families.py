"""The IP versions that a rule is for. Nothing of plans is loaded for it: `validate` asks as well."""

from hostfw.model.resources import Rule
from hostfw.model.values import FAMILIES, ICMP, ICMPV6, Family


def rule_families(rule: Rule) -> tuple[Family, ...]:
    """The IP versions that a rule exists in: those that `ipVersion`, its nets, and ICMP leave.

    A net of one family keeps the rule out of the other, negated nets too, as in Calico; `local` is of both.
    `protocol: ICMP` and `ICMPv6` are of one family each; the numbers 1 and 58 are of both until the rule asks for an
    ICMP type, which packets of the other family do not have. `notProtocol` restricts no family.
    """
    families = set(FAMILIES)
    if rule.ip_version is not None:
        families &= {rule.ip_version}
    of_protocols = {protocol.family for protocol in rule.protocols}
    if of_protocols and None not in of_protocols:
        families = {family for family in families if family in of_protocols}
    if rule.icmp is not None and rule.protocol is not None:
        families &= {f for f, icmp in ((Family.V4, ICMP), (Family.V6, ICMPV6)) if icmp.number == rule.protocol.number}
    for side in (rule.source, rule.destination):
        for nets, has_local in ((side.nets, side.local), (side.not_nets, side.not_local)):
            if nets and not has_local:
                families &= {net.family for net in nets}
    return tuple(sorted(families))
