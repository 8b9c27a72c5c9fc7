"""The classes of policy on endpoints: untracked, preDNAT, normal, forward; and staged policies among them."""

import pytest

from hostfw.model.plan import AddressSet, Plan, PlannedDirection, PlannedTier
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import HostEndpoint, Resources
from hostfw.model.settings import Loopback, Settings
from hostfw.model.values import TCP, Action, Direction, StagedAction, address_text
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import (
    ALLOW,
    BOTH,
    DENY,
    EGRESS,
    at,
    facts,
    gnp,
    hep,
    rule,
    side,
    staged,
    tier,
)

ON_ETH0 = (hep("eth0", "eth0"),)

Outline = list[tuple[str, list[str]]]


def _resolved(resources: Resources, settings: Settings | None = None) -> tuple[Plan, tuple[Problem, ...]]:
    return resolve(resources, settings or Settings(), facts())


def _plan(resources: Resources, settings: Settings | None = None) -> Plan:
    return _resolved(resources, settings)[0]


def _direction(resources: Resources, direction: Direction = Direction.INGRESS) -> PlannedDirection:
    return _plan(resources).endpoints[0].direction(direction)


def _outline(tiers: tuple[PlannedTier, ...]) -> Outline:
    """Tiers with the names of their policies, staged ones in parentheses."""
    return [(t.name, [f"({p.name})" if p.staged else p.name for p in t.policies]) for t in tiers]


def _classes(planned: PlannedDirection) -> tuple[Outline, Outline, Outline, Outline]:
    return (
        _outline(planned.untracked_tiers),
        _outline(planned.pre_dnat_tiers),
        _outline(planned.tiers),
        _outline(planned.forward_tiers),
    )


def _only(*names: str) -> Outline:
    return [("default", list(names))] if names else []


# ----------------------------------------------------------------------------------------------------------- classes


def test_a_policy_is_met_with_its_class_alone() -> None:
    """Untracked and preDNAT policies have applyOnForward by need, and are in no other class for it."""
    policies = (gnp("plain"), gnp("forward", forward=True), gnp("raw", untracked=True), gnp("before", pre_dnat=True))

    planned = _direction(Resources(policies=policies, endpoints=ON_ETH0))

    assert _classes(planned) == (_only("raw"), _only("before"), _only("forward", "plain"), _only("forward"))


def test_each_class_has_its_own_tiers_in_order() -> None:
    """A tier is in a class only with a policy of that class."""
    policies = (
        gnp("a", tier="first", untracked=True),
        gnp("b", untracked=True, order=2),
        gnp("c", untracked=True, order=1),
        gnp("d", tier="first"),
    )

    planned = _direction(Resources(policies=policies, tiers=(tier("first", 1),), endpoints=ON_ETH0))

    assert _outline(planned.untracked_tiers) == [("first", ["a"]), ("default", ["c", "b"])]
    assert _outline(planned.tiers) == [("first", ["d"])]


def test_untracked_policies_exist_in_the_directions_of_their_types() -> None:
    """Replies need a policy of the other direction."""
    resources = Resources(
        policies=(gnp("in", untracked=True), gnp("out", untracked=True, types=EGRESS)), endpoints=ON_ETH0
    )

    assert [_outline(_direction(resources, d).untracked_tiers) for d in Direction] == [_only("in"), _only("out")]


# ------------------------------------------------------------------------------------------------------ the wildcard


def test_untracked_policies_are_ignored_on_the_wildcard_with_a_warning() -> None:
    """As in Calico; the same policy works where an endpoint names its interface."""
    resources = Resources(
        policies=(gnp("raw", untracked=True, types=BOTH, line=7), gnp("other", untracked=True, selector="has(none)")),
        endpoints=(hep("all", "*"), *ON_ETH0),
        staged_policies=(staged(gnp("try", untracked=True, line=8)), staged(gnp("x"), StagedAction.IGNORE)),
    )

    plan, problems = _resolved(resources)

    assert [_outline(plan.endpoint(name).ingress.untracked_tiers) for name in ("all", "eth0")] == [
        [],
        _only("raw", "(try)"),
    ]
    assert plan.endpoint("all").egress.untracked_tiers == ()
    message = 'a doNotTrack policy is ignored on HostEndpoint "all", whose interfaceName is *'
    hint = "give the interface a HostEndpoint of its own, which names it"
    assert problems == tuple(Problem(at(line), message, "", hint, Severity.WARNING) for line in (7, 8))


def test_without_a_wildcard_untracked_policies_are_no_problem() -> None:
    """A `*` of another node, or one that another comes before, governs nothing."""
    endpoints = (hep("all", "*", node="db1"), *ON_ETH0)

    assert _resolved(Resources(policies=(gnp("raw", untracked=True),), endpoints=endpoints))[1] == ()


OWN = gnp("own", pre_dnat=True, selector="has(own)")
STAGED_OWN = gnp("own-staged", pre_dnat=True, selector="has(own)")
WILDCARDS = gnp("wild", pre_dnat=True, selector="has(wild)")

SHARING_CASES: list[tuple[str, Resources, Settings, Outline]] = [
    (
        "an endpoint without preDNAT policy has the wildcard's",
        Resources(policies=(WILDCARDS,), endpoints=(hep("e", "eth0"),)),
        Settings(),
        _only("wild"),
    ),
    (
        "one with its own has its own alone",
        Resources(policies=(WILDCARDS, OWN), endpoints=(hep("e", "eth0", labels={"own": ""}),)),
        Settings(),
        _only("own"),
    ),
    (
        "one with a staged policy alone has both",
        Resources(
            policies=(WILDCARDS,),
            endpoints=(hep("e", "eth0", labels={"own": ""}),),
            staged_policies=(staged(STAGED_OWN),),
        ),
        Settings(),
        _only("(own-staged)", "wild"),
    ),
    (
        "an exempt lo that has an endpoint has its own alone",
        Resources(policies=(WILDCARDS,), endpoints=(hep("e", "lo"),)),
        Settings(),
        [],
    ),
    (
        "a policed lo is like any other",
        Resources(policies=(WILDCARDS,), endpoints=(hep("e", "lo"),)),
        Settings(loopback=Loopback.POLICED),
        _only("wild"),
    ),
    (
        "other classes of the wildcard are its own",
        Resources(
            policies=(gnp("n", selector="has(wild)"), gnp("f", selector="has(wild)", forward=True)),
            endpoints=(hep("e", "eth0"),),
        ),
        Settings(),
        [],
    ),
]


@pytest.mark.parametrize(
    ("name", "resources", "settings", "expected"), SHARING_CASES, ids=[c[0] for c in SHARING_CASES]
)
def test_the_wildcards_pre_dnat_policies_apply_where_there_are_none(
    name: str, resources: Resources, settings: Settings, expected: Outline
) -> None:
    """Calico's asymmetry: of all classes, preDNAT alone reaches interfaces that have an endpoint of their own."""
    wildcard = hep("all", "*", labels={"wild": ""})
    with_wildcard = Resources(
        policies=resources.policies,
        endpoints=(*resources.endpoints, wildcard),
        staged_policies=resources.staged_policies,
    )

    planned = _plan(with_wildcard, settings).endpoint("e")

    assert _outline(planned.ingress.pre_dnat_tiers) == expected, name
    assert (planned.ingress.tiers, planned.ingress.forward_tiers, planned.egress) == ((), (), PlannedDirection())


# -------------------------------------------------------------------------------------------------- staged policies


def test_staged_policies_take_their_place_in_every_class() -> None:
    """By tier and order like the others; with applyOnForward among the forward policies too."""
    proposals = (
        gnp("b", order=2),
        gnp("d", order=4, forward=True),
        gnp("f", untracked=True),
        gnp("h", pre_dnat=True),
        gnp("z", tier="last"),
    )
    resources = Resources(
        policies=(gnp("a", order=1), gnp("c", order=3, forward=True), gnp("e", order=5)),
        tiers=(tier("last", 2_000_000),),
        endpoints=ON_ETH0,
        staged_policies=tuple(map(staged, proposals)),
    )

    planned = _direction(resources)

    assert _classes(planned) == (
        _only("(f)"),
        _only("(h)"),
        [("default", ["a", "(b)", "c", "(d)", "e"]), ("last", ["(z)"])],
        _only("c", "(d)"),
    )
    assert [t.is_enforced for t in planned.tiers] == [True, False]


def test_a_policy_comes_before_the_staged_one_of_its_name() -> None:
    """Both may exist, and the kind breaks the tie."""
    resources = Resources(
        policies=(gnp("same"), gnp("same-2")), endpoints=ON_ETH0, staged_policies=(staged(gnp("same")),)
    )

    assert _outline(_direction(resources).tiers) == _only("same-2", "same", "(same)")


def test_a_staged_policy_has_the_kind_of_its_own_in_policy_and_rules() -> None:
    """So its counters are never those of the policy that it may become."""
    proposal = gnp("p", ingress=(ALLOW, DENY), selector="has(x)", line=9)
    endpoints = (hep("e", "eth0", labels={"x": ""}), hep("f", "eth1"))

    selected, other = _plan(Resources(endpoints=endpoints, staged_policies=(staged(proposal),))).endpoints

    (policy,) = selected.ingress.tiers[0].policies
    assert (policy.kind, policy.staged, policy.position) == ("StagedGlobalNetworkPolicy", True, at(9))
    assert [(r.identity.kind, r.identity.policy, r.action) for r in policy.rules] == [
        ("StagedGlobalNetworkPolicy", "p", Action.ALLOW),
        ("StagedGlobalNetworkPolicy", "p", Action.DENY),
    ]
    assert (selected.egress, other.ingress) == (PlannedDirection(), PlannedDirection())


@pytest.mark.parametrize(
    ("action", "evaluated"),
    [
        (StagedAction.SET, True),
        (StagedAction.LEARN, True),
        (StagedAction.DELETE, False),
        (StagedAction.IGNORE, False),
    ],
)
def test_proposals_to_delete_and_to_ignore_are_as_good_as_absent(action: StagedAction, evaluated: bool) -> None:
    """Learn proposes rules as Set does."""
    resources = Resources(endpoints=ON_ETH0, staged_policies=(staged(gnp("p"), action),))

    assert _outline(_direction(resources).tiers) == (_only("(p)") if evaluated else [])


# ----------------------------------------------------------------------------------------------- learned addresses

HERE = {"where": "here"}


@pytest.mark.parametrize(
    ("name", "endpoints", "learn", "expected"),
    [
        ("not unless the settings say so", (hep("e", "eth0", labels=HERE),), False, []),
        ("those of a named interface", (hep("e", "eth0", labels=HERE),), True, ["10.0.0.1", "2001:db8::1"]),
        (
            "beside the expected ones, each once",
            (hep("e", "eth0", labels=HERE, ips=("10.0.0.1", "10.0.0.7")),),
            True,
            ["10.0.0.1", "10.0.0.7", "2001:db8::1"],
        ),
        (
            "of all interfaces of one that is bound by address",
            (hep("e", labels=HERE, ips=("10.0.0.1", "192.168.1.1")),),
            True,
            ["10.0.0.1", "192.168.1.1", "2001:db8::1"],
        ),
        (
            "of every interface without its own for the wildcard, lo left out",
            (hep("e", "*", labels=HERE), hep("f", "eth0")),
            True,
            ["192.168.1.1"],
        ),
        ("of lo where an endpoint names it", (hep("e", "lo", labels=HERE),), True, ["127.0.0.1", "::1"]),
        ("not of an endpoint that another comes before", (hep("a", "eth0"), hep("e", "eth0", labels=HERE)), True, []),
        ("not of another node", (hep("e", "eth0", labels=HERE, node="db1"), hep("f", "eth1")), True, []),
        ("of no interface that is absent", (hep("e", "eth7", labels=HERE),), True, []),
    ],
)
def test_selectors_know_learned_addresses(
    name: str, endpoints: tuple[HostEndpoint, ...], learn: bool, expected: list[str]
) -> None:
    """`learnAddresses` makes the addresses of governed interfaces those of their endpoint."""
    probe = gnp("probe", ingress=(rule(Action.ALLOW, source=side(selector="where == 'here'")),), types=BOTH)
    watcher = hep("zz-watcher", "wg0")
    resources = Resources(policies=(probe,), endpoints=(*endpoints, watcher))

    plan = _plan(resources, Settings(learn_addresses=learn))

    source = plan.endpoint("zz-watcher").ingress.tiers[0].policies[0].rules[0].source.address_set
    assert isinstance(source, AddressSet)
    assert [address_text(c.family, c.address) for c in source.cidrs] == expected, name


def test_named_ports_know_learned_addresses() -> None:
    """A port name stands for expectedIPs with the port, learned ones among them."""
    allow = rule(Action.ALLOW, TCP, destination=side(ports=("http",)))
    endpoint = hep("e", "eth1", ports=(("http", TCP, 80),))
    resources = Resources(policies=(gnp("p", ingress=(allow,)),), endpoints=(endpoint,))

    plan = _plan(resources, Settings(learn_addresses=True))

    (ports,) = plan.endpoints[0].ingress.tiers[0].policies[0].rules[0].destination.port_sets
    assert [(address_text(m.family, m.address), m.port) for m in ports.members] == [("192.168.1.1", 80)]


def test_learned_addresses_bind_nothing() -> None:
    """Interfaces are bound before; their addresses follow from that."""
    endpoints = (hep("by-address", ips=("10.0.0.1",)), hep("named", "eth1"))

    without, with_learned = (
        _plan(Resources(endpoints=endpoints), Settings(learn_addresses=learn)) for learn in (False, True)
    )

    assert without.bindings == with_learned.bindings
