"""A source as it was understood, and what there is to say of rules whatever their form."""

from collections.abc import Iterator
from dataclasses import dataclass

from hostfw.importer.notes import Note
from hostfw.importer.rule_set import Continue, ForeignRule, ForeignRules, Jump, Return, Verdict
from hostfw.model.packets.packet import ConntrackState
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.ranges import intersection
from hostfw.model.values import ICMPV6, Family
from hostfw.model.wording import counted

PROGRAMS = ("DOCKER", "LIBVIRT_", "NETAVARK", "CNI-", "KUBE-", "cali-", "f2b-")
"""Beginnings of the chains of programs that set up their rules by themselves, and go on doing so."""
HOP_LIMITS = ("-m hl", "ip6 hoplimit")
"""Matches of the hop limit, which policy has no word for."""
_NEIGHBOURS = (133 * 256, 138 * 256)
"""The types of neighbour discovery, with every code (RFC 4861)."""
_FOLLOWED = frozenset((ConntrackState.ESTABLISHED, ConntrackState.RELATED))
_BROADCAST = (
    "the broadcast addresses of this host's networks (as 192.0.2.255 of 192.0.2.0/24) are not known here: rules treat "
    "them as addresses of the host, and only 0.0.0.0 and 255.255.255.255 as broadcasts"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A source as it was understood: its rules, what to say of it, and what is wrong with it."""

    rules: ForeignRules
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


def loops(rules: ForeignRules) -> Iterator[Problem]:
    """Chains that lead back to themselves, which the kernel refuses."""
    done: set[str] = set()

    def visit(chain: str, above: tuple[str, ...]) -> Iterator[Problem]:
        for rule in rules.chains.get(chain, ()):
            if isinstance(rule.target, Jump):
                name = rule.target.chain
                if name in (*above, chain):
                    yield Problem(rule.position, f"the chain {name} leads back to itself", "chains without a loop")
                elif name not in done:
                    yield from visit(name, (*above, chain))
        done.add(chain)

    for chain in rules.chains:
        if chain not in done:
            yield from visit(chain, ())


def notes_on(rules: ForeignRules) -> Iterator[Note]:
    """Tell what is not in the result: rules that cannot be said, chains of other programs, rejects."""
    others: dict[str, Position] = {}
    neighbours: list[Position] = []
    deciding = _deciding(rules)
    for name, listed in rules.chains.items():
        for rule in listed:
            program = next((begin for begin in PROGRAMS if name.startswith(begin)), "")
            if program:
                others.setdefault(program, rule.position)
            elif _is_neighbour_discovery(rule):
                neighbours.append(rule.position)
            elif rule.note:
                yield Note(rule.position, rule.note)
            elif rule.unsaid and name in deciding and _has_consequence(rule, deciding):
                yield Note(rule.position, _unsaid_text(rule))
            elif rule.target is Verdict.DENY and rule.condition.states <= _FOLLOWED:
                yield Note(
                    rule.position, f"connections that are there go on in hostfw, whatever a rule says ({rule.text})"
                )
    of_kind = next((one for listed in rules.chains.values() for one in listed if one.by_kind and not one.unsaid), None)
    if of_kind is not None and rules.family is Family.V4:
        yield Note(of_kind.position, _BROADCAST)
    rejecting = next((rule for listed in rules.chains.values() for rule in listed if _rejects(rule)), None)
    if rejecting is not None:
        yield Note(rejecting.position, "what is rejected is dropped, unless hostfw.yaml says denyAction: reject")
    if neighbours:
        yield Note(
            neighbours[0],
            f"{counted(len(neighbours), 'rule')} for neighbour discovery with hop limit 255 from here on: hostfw "
            "allows just that by itself (neighbourDiscovery)",
        )
    for program, position in others.items():
        yield Note(position, f"chains {program.rstrip('-_')}* belong to another program, which goes on filling them")


def _deciding(rules: ForeignRules) -> frozenset[str]:
    """The chains in which something may be decided about a packet; others log and count."""
    found = {name for name, listed in rules.chains.items() if any(_decides(rule) for rule in listed)}
    growing = True
    while growing:
        more = {
            name
            for name, listed in rules.chains.items()
            if any(isinstance(rule.target, Jump) and rule.target.chain in found for rule in listed)
        }
        growing = not more <= found
        found |= more
    return frozenset(found)


def _decides(rule: ForeignRule) -> bool:
    """True for a verdict, for what does not come back, and for what is not known."""
    match rule.target:
        case Jump(chain=chain, goto=goto):
            return goto or not chain
        case Verdict():
            return True
        case Continue():
            return bool(rule.unsaid)
        case Return():
            return False


def _has_consequence(rule: ForeignRule, deciding: frozenset[str]) -> bool:
    """False for a rule that leads only to what logs and counts."""
    match rule.target:
        case Jump(chain=chain, goto=False) if chain:
            return chain in deciding
        case _:
            return True


def _is_neighbour_discovery(rule: ForeignRule) -> bool:
    """True for a rule that allows what hostfw exempts: neighbour discovery that no router has passed on (RFC 4861)."""
    condition = rule.condition
    return (
        rule.unsaid in HOP_LIMITS
        and rule.target is Verdict.ALLOW
        and condition.protocols == (ICMPV6.number, ICMPV6.number + 1)
        and bool(condition.icmp)
        and intersection(condition.icmp, _NEIGHBOURS) == condition.icmp
    )


def _rejects(rule: ForeignRule) -> bool:
    """True for a rule that answers whom it denies, in the words of iptables or of nftables."""
    denies = rule.target is Verdict.DENY or bool(rule.note)
    return denies and any(word in rule.text.split() for word in ("REJECT", "reject"))


def _unsaid_text(rule: ForeignRule) -> str:
    match rule.target:
        case Verdict.DENY:
            result = "what it denies is not denied by it any more"
        case Verdict.ALLOW:
            result = "what it allows is not allowed by it any more"
        case _:
            result = "it is left out"
    return f"policy cannot say {rule.unsaid}: {result} ({rule.text})"
