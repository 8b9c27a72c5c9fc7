"""Checks across resources: each rule of `check`, reported with both places where there are two."""

import pytest

from hostfw.model.kinds.metadata import Metadata, SelectorText
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.problems import errors
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, HostEndpoint, Profile, Resources, Rule, Tier
from hostfw.model.settings import Settings
from hostfw.model.values import Action
from hostfw.policy.check.references import check
from tests.unit.builders.policy_texts import HOSTFW, decoded, manifest, policy, said
from tests.unit.timing import processor_s


def test_resources_that_agree_have_no_problems() -> None:
    """Every kind of reference, the built-in ones too."""
    assert (
        _wrong(
            manifest("Tier", "{order: 5}", "platform"),
            policy("{tier: platform, selector: has(a)}"),
            policy("{tier: default}", name="b"),
            manifest("Profile", name="p"),
            manifest("InterfaceGroup", "{match: [{name: eth0}]}", "g", version=HOSTFW),
            manifest("HostEndpoint", "{node: a, interfaceGroup: g, profiles: [p]}", metadata="labels: {a: b}"),
            manifest("HostEndpoint", "{node: a, interfaceName: '*', profiles: [projectcalico-default-allow]}", "all"),
        )
        == []
    )


def test_a_name_that_is_given_twice_is_told_with_the_place_of_the_first() -> None:
    """Across files, however often, but for other kinds."""
    tier = manifest("Tier", name="a")

    assert _wrong(f"{tier}---\n{tier}", manifest("Profile", name="a"), tier) == [
        (
            '1.yaml:6:1 Tier "a" is already given at 1.yaml:1:1; expected each name once in a kind'
            "; hint: rename or remove one of the two"
        ),
        (
            '3.yaml:1:1 Tier "a" is already given at 1.yaml:1:1; expected each name once in a kind'
            "; hint: rename or remove one of the two"
        ),
    ]


def test_policies_foo_and_default_foo_are_two() -> None:
    """Names are taken as they are."""
    assert _wrong(policy(name="foo"), policy(name="default.foo")) == []


def test_a_policy_and_a_staged_one_may_have_one_name() -> None:
    """They are two kinds, of which each has a name once."""
    proposal = manifest("StagedGlobalNetworkPolicy")

    assert _wrong(policy(), proposal) == []
    assert _wrong(proposal, proposal) == [
        (
            '2.yaml:1:1 StagedGlobalNetworkPolicy "case" is already given at 1.yaml:1:1'
            "; expected each name once in a kind; hint: rename or remove one of the two"
        )
    ]


REFERENCES = [
    (
        (manifest("StagedGlobalNetworkPolicy", "{stagedAction: Delete, tier: platform}"),),
        '4:36 unknown tier "platform"; expected one of default; hint: declare the tier',
    ),
    (
        (policy("{tier: platfrom}"), manifest("Tier", name="platform")),
        '1.yaml:4:14 unknown tier "platfrom"; expected one of default, platform; hint: did you mean "platform"?',
    ),
    (
        (manifest("HostEndpoint", "{node: a, interfaceName: '*', profiles: [projectcalico-default-allow, web]}"),),
        '4:77 unknown profile "web"; expected one of projectcalico-default-allow; hint: declare the profile',
    ),
    (
        (manifest("HostEndpoint", "{node: a, interfaceGroup: uplinks}"),),
        ('4:33 unknown InterfaceGroup "uplinks"; expected a declared InterfaceGroup; hint: declare the InterfaceGroup'),
    ),
]


@pytest.mark.parametrize(("texts", "expected"), REFERENCES, ids=["tier of a staged policy", "tier", "profile", "group"])
def test_a_name_that_nothing_has_is_told_where_it_is_used(texts: tuple[str, ...], expected: str) -> None:
    """With what there is, and the nearest of it."""
    assert _wrong(*texts) == [expected]


def test_a_reference_without_a_place_of_its_own_is_told_at_its_resource() -> None:
    """Resources need not come from files."""
    here = Position("a.yaml", 3, 1)
    endpoint = HostEndpoint(Metadata("e", position=here), "a", "eth0", profiles=("p",))
    resources = Resources(
        policies=(GlobalNetworkPolicy(Metadata("p", position=here), tier="t"),), endpoints=(endpoint,)
    )

    assert [problem.position for problem in errors(check(resources, Settings()))] == [here, here]


TIERS = [
    ("default", "{}", "order: 1000000 and defaultAction: Deny", "it exists without being declared; leave it out"),
    ("default", "{order: 1000000, defaultAction: Pass}", "order: 1000000 and defaultAction: Deny",
     "it exists without being declared; leave it out"),
    ("kube-admin", "{order: 1000}", "order: 1000 and defaultAction: Pass",
     "it exists without being declared; leave it out"),
    ("kube-baseline", "{order: 1, defaultAction: Pass}", "order: 10000000 and defaultAction: Pass",
     "it exists without being declared; leave it out"),
]  # fmt: skip


@pytest.mark.parametrize("tier", ["kube-admin", "kube-baseline"])
def test_policies_may_name_calicos_own_tiers(tier: str) -> None:
    """Undeclared, as on a cluster."""
    assert _wrong(policy(f"{{tier: {tier}, ingress: [{{action: Pass}}]}}", f"{tier}.mine")) == []


@pytest.mark.parametrize(("name", "spec", "expected", "hint"), TIERS)
def test_calicos_own_tiers_are_fixed(name: str, spec: str, expected: str, hint: str) -> None:
    """Order and default action."""
    assert _wrong(manifest("Tier", spec, name)) == [
        f'1:1 the tier "{name}" is Calico\'s and fixed; expected {expected}; hint: {hint}'
    ]


def test_calicos_own_tiers_may_be_declared_as_they_are() -> None:
    """As exported manifests have them."""
    assert (
        _wrong(
            manifest("Tier", "{order: 1000000, defaultAction: Deny}", "default"),
            manifest("Tier", "{order: 1000, defaultAction: Pass}", "kube-admin"),
            manifest("Tier", "{order: 10000000, defaultAction: Pass}", "kube-baseline"),
        )
        == []
    )


def test_the_built_in_profile_is_not_redefined() -> None:
    """It allows everything, whatever somebody wrote."""
    assert _wrong(manifest("Profile", name="projectcalico-default-allow")) == [
        (
            '1:1 the profile "projectcalico-default-allow" is built in and allows everything; expected another name'
            "; hint: leave it out; HostEndpoints can name it"
        )
    ]


def test_selectors_that_decoding_did_not_judge_are_parsed() -> None:
    """In policies and on every side of every rule; resources made otherwise may have them."""
    bad = SelectorText("a = 'b'", Position("a.yaml", 2, 2))
    rules = (Rule(Action.ALLOW, source=EntityRule(selector=bad), destination=EntityRule(not_selector=bad)),)
    resources = Resources(
        policies=(GlobalNetworkPolicy(Metadata("p"), selector=SelectorText("has(", NOWHERE), egress=rules),),
        profiles=(Profile(Metadata("q"), ingress=rules),),
    )

    assert [said(problem, path=True) for problem in errors(check(resources, Settings()))] == [
        (
            ':0:0 the selector "has(" does not parse: the selector ends where has( needs a label'
            "; expected a label without quotes"
        ),
        'a.yaml:2:2 the selector "a = \'b\'" does not parse: a single "="; expected ==',
    ]


def test_problems_come_in_the_order_of_places() -> None:
    """Errors and warnings together."""
    resources = Resources(
        policies=(
            GlobalNetworkPolicy(Metadata("b", position=Position("b.yaml", 1, 1)), tier="x"),
            GlobalNetworkPolicy(Metadata("a", position=Position("a.yaml", 1, 1)), tier="x"),
        ),
        tiers=(Tier(Metadata("default", position=Position("a.yaml", 9, 1))),),
    )

    places = [str(problem.position) for problem in check(resources, Settings())]

    assert places == ["a.yaml:1:1", "a.yaml:1:1", "a.yaml:9:1", "b.yaml:1:1"]


def test_the_time_grows_with_the_number_of_names_that_are_wrong() -> None:
    """Not with its square: a prefix that was changed in one place is wrong in thousands."""
    small, large = (_time_of_wrong_names(count) for count in (500, 2_000))

    assert 0 < large < 6 * small + 0.1


def _time_of_wrong_names(count: int) -> float:
    """The seconds that it takes to tell that each of as many profiles is misspelt."""
    resources = Resources(
        profiles=tuple(Profile(Metadata(f"profile-{n}")) for n in range(count)),
        endpoints=tuple(
            HostEndpoint(Metadata(f"e{n}"), node="a", interface_name=f"e{n}", profiles=(f"porfile-{n}",))
            for n in range(count)
        ),
    )
    assert sum(problem.hint.startswith("did you mean") for problem in check(resources, Settings())) == count
    return processor_s(lambda: check(resources, Settings()))


def _wrong(*texts: str) -> list[str]:
    """The errors of manifests that decode."""
    result = decoded(*texts)
    assert result.problems == ()
    return [said(p, path=len(texts) > 1) for p in errors(check(result.resources, result.settings))]


EARLY = "annotations: {hostfw.io/before-failsafes: 'true'}"
NAMED = "{action: Deny, source: {nets: [192.0.2.7/32]}}"
LIMITED_SSH = "{action: Allow, protocol: TCP, destination: {ports: [22]}, limitPerSource: {newConnections: 6/minute}}"
HALF = "{action: Deny, source: {nets: ['::/1']}}"


def test_peers_that_cannot_be_read_are_not_taken_for_everybody() -> None:
    """One mistake is one problem."""
    result = decoded(
        f"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: p, {EARLY}}}\n"
        "spec: {ingress: [{action: Deny, source: {nets: [192.0.2.7]}}]}\n"
    )
    assert len(result.problems) == 1

    assert errors(check(result.resources, result.settings, whole=False)) == ()


BEFORE_FAILSAFES: list[tuple[str, str, str, str]] = [
    ("GlobalNetworkPolicy", f"{{ingress: [{{action: Log}}, {NAMED}]}}", EARLY, ""),
    ("GlobalNetworkPolicy", "{egress: [{action: Deny, destination: {selector: has(banned)}}]}", EARLY, ""),
    ("GlobalNetworkPolicy", "{ingress: [{action: Allow}]}", EARLY.replace("true", "false"), ""),
    ("StagedGlobalNetworkPolicy", f"{{ingress: [{NAMED}]}}", EARLY, ""),
    ("GlobalNetworkPolicy", "{ingress: [{action: Allow}]}", EARLY, "4:18 Allow in a policy that comes before"),
    ("GlobalNetworkPolicy", "{ingress: [{action: Pass}]}", EARLY, "4:18 Pass in a policy that comes before"),
    ("GlobalNetworkPolicy", "{ingress: [{action: Deny}]}", EARLY, "names no source, so it is for everybody"),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Deny, source: {nets: [0.0.0.0/0]}}]}",
        EARLY,
        "4:18 this Deny comes before failsafes, and the sources that are denied up to here are all of IPv4",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Deny, source: {nets: [0.0.0.0/1, 128.0.0.0/1], notNets: [10.0.0.0/8]}}]}",
        EARLY,
        "sources that are denied up to here are all of IPv4",
    ),
    (
        "GlobalNetworkPolicy",
        "{egress: [{action: Deny, destination: {nets: [8000::/1, '::/2', '4000::/2']}}]}",
        EARLY,
        "destinations that are denied up to here are all of IPv6",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Deny, source: {nets: [0.0.0.0/1]}}, {action: Deny, source: {nets: [128.0.0.0/1]}}]}",
        EARLY,
        "4:63 this Deny comes before failsafes, and the sources",
    ),
    (
        "GlobalNetworkPolicy",
        f"{{ingress: [{HALF}, {{action: Deny, protocol: TCP, source: {{nets: ['8000::/1']}}}}]}}",
        EARLY,
        "",
    ),
    ("GlobalNetworkPolicy", "{ingress: [{action: Deny, source: {nets: [0.0.0.0/1, '8000::/1']}}]}", EARLY, ""),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Deny, source: {notNets: [10.0.0.0/8]}}]}",
        EARLY,
        "names no source, so it is for everybody",
    ),
    (
        "GlobalNetworkPolicy",
        "{egress: [{action: Deny, source: {nets: [192.0.2.7/32]}}]}",
        EARLY,
        "names no destination, so it is for everybody",
    ),
    (
        "GlobalNetworkPolicy",
        f"{{doNotTrack: true, applyOnForward: true, ingress: [{NAMED}]}}",
        EARLY,
        "a policy with doNotTrack does not come before failsafes",
    ),
    ("GlobalNetworkPolicy", f"{{ingress: [{LIMITED_SSH}]}}", EARLY, ""),
    ("GlobalNetworkPolicy", f"{{ingress: [{LIMITED_SSH}]}}".replace("22", "22, 80"), EARLY, "opens more than they do"),
    ("GlobalNetworkPolicy", f"{{ingress: [{LIMITED_SSH}]}}".replace("22", "21:22"), EARLY, "opens more than they do"),
    ("GlobalNetworkPolicy", f"{{ingress: [{LIMITED_SSH}]}}".replace("TCP", "UDP"), EARLY, "opens more than they do"),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, limitPerSource: {newConnections: 6/hour}}]}",
        EARLY,
        "opens more",
    ),
    ("GlobalNetworkPolicy", "{}", EARLY.replace("true", "yes"), 'is "yes"; expected one of "true", "false"'),
    ("Profile", "{}", EARLY, "a Profile does not come before failsafes"),
    ("StagedGlobalNetworkPolicy", "{ingress: [{action: Deny}]}", EARLY, "names no source"),
]


@pytest.mark.parametrize(("kind", "spec", "metadata", "expected"), BEFORE_FAILSAFES)
def test_before_failsafes_some_peers_are_denied_and_nothing_else(
    kind: str, spec: str, metadata: str, expected: str
) -> None:
    """Whoever allowed something there, or denied everybody, would have made failsafes mean nothing."""
    found = _wrong(manifest(kind, spec, metadata=metadata))

    assert len(found) == bool(expected), found
    assert expected in "".join(found)


@pytest.mark.parametrize(
    ("nets", "everybody"),
    [
        ("[0.0.0.0/0]", True),
        ("[128.0.0.0/1, 0.0.0.0/1]", True),
        ("[8000::/1, '::/1', 192.0.2.7/32]", True),
        ("[0.0.0.0/2, 128.0.0.0/1]", False),
    ],
)
def test_before_failsafes_a_set_of_everybody_is_denied_no_more_than_its_prefixes(nets: str, everybody: bool) -> None:
    """A set that holds every address of a family says what a rule without peers says."""
    deny = "{ingress: [{action: Deny, source: {selector: has(banned)}}]}"

    found = _wrong(
        manifest("GlobalNetworkPolicy", deny, metadata=EARLY),
        manifest("GlobalNetworkSet", f"{{nets: {nets}}}", metadata="labels: {banned: ''}"),
    )

    assert ["sources that are denied up to here are all of IPv" in one for one in found] == [True] * everybody


def test_before_failsafes_a_large_set_of_everybody_is_noticed_as_well() -> None:
    """Thousands of prefixes are packed, and are everybody all the same if they fill the world."""
    prefixes = [f"{number >> 5}.{(number & 31) << 3}.0.0/13" for number in range(1 << 13)]
    deny = "{ingress: [{action: Deny, source: {selector: has(banned)}}]}"

    def found(nets: list[str]) -> list[str]:
        whole = f"{{nets: [{', '.join(nets)}]}}"
        policy = manifest("GlobalNetworkPolicy", deny, metadata=EARLY)
        return _wrong(policy, manifest("GlobalNetworkSet", whole, metadata="labels: {banned: ''}"))

    assert len(found(prefixes)) == 1
    assert found(prefixes[:-1]) == []
