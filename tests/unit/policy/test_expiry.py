"""Expiry: resources that count at a moment, those that stay expired, and the rest without everything that ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation, GenerationCache, build
from hostfw.explain.verdict import explain
from hostfw.model.host.governance import NOTHING_GOVERNED, Governance
from hostfw.model.resources import GlobalNetworkPolicy, Resources
from hostfw.model.sources import Configuration, Source
from hostfw.model.time.expiry import Expired
from hostfw.model.values import Action
from hostfw.policy.expiry import in_time, lasting
from hostfw.policy.kept import recorded
from hostfw.selector.evaluate import matches, parse
from tests.unit.builders.packet_builders import arriving
from tests.unit.builders.policy_builders import facts

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ENDING = "annotations: {hostfw.io/expires: '2030-01-01T12:00:00Z'}"
HEAD = "apiVersion: projectcalico.org/v3\n"
STAYING = (
    HEAD + "kind: HostEndpoint\nmetadata: {name: up, labels: {role: web}}\nspec: {node: web1, interfaceName: eth0}\n"
)


def policy(name: str, action: str, ending: str = "", more: str = "", rule: str = "") -> str:
    """A policy with one ingress rule."""
    return (
        f"{HEAD}kind: GlobalNetworkPolicy\nmetadata: {{name: {name}, {ending}}}\n"
        f"spec: {{selector: all(), {more} ingress: [{{action: {action}, {rule}}}]}}\n"
    )


def read(*texts: str) -> Resources:
    """The resources of some manifests, which are valid."""
    candidate = check_candidate(Configuration(resources=(Source("a.yaml", "---\n".join(texts)),)))
    assert candidate.is_valid, candidate.problems
    return candidate.resources


def opens(policy: GlobalNetworkPolicy) -> bool:
    """True if a policy has an ingress rule that can let somebody in."""
    return any(
        rule.action is Action.ALLOW and (rule.source.selector is None or rule.source.selector.text != "!all()")
        for rule in policy.ingress
    )


def names(resources: Resources) -> list[str]:
    """The names of all resources."""
    return sorted(resource.metadata.full_name for resource in resources.all())


OWN_PROFILE = (
    f"{HEAD}kind: Profile\nmetadata: {{name: open, {ENDING}}}\nspec: {{ingress: [{{action: Allow}}]}}\n"
    "---\n"
    f"{HEAD}kind: HostEndpoint\nmetadata: {{name: up}}\n"
    "spec: {node: web1, interfaceName: eth0, profiles: [open]}\n"
)
OWN_SET = (
    f"{HEAD}kind: GlobalNetworkSet\nmetadata: {{name: office, labels: {{set: office}}, {ENDING}}}\n"
    "spec: {nets: [192.0.2.0/24]}\n"
)
TWO_OF_A_NAME = tuple(
    f"{HEAD}kind: NetworkSet\nmetadata: {{name: office, namespace: {namespace}, {ending}}}\nspec: {{nets: [{net}]}}\n"
    for namespace, net, ending in (("shop", "192.0.2.0/24", ENDING), ("bank", "198.51.100.0/24", "labels: {}"))
)
CASES = [
    ("a set of one namespace, and not its namesake of another", TWO_OF_A_NAME, ["bank/office"]),
    ("a policy", (policy("a", "Allow", ENDING), policy("b", "Allow")), ["b"]),
    ("a profile that is listed", (OWN_PROFILE,), ["up"]),
    ("a set", (OWN_SET, policy("a", "Allow", rule="source: {selector: set == 'office'}")), ["a"]),
]


@pytest.mark.parametrize(("texts", "left"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_has_expired_does_not_count(texts: tuple[str, ...], left: list[str]) -> None:
    """From the very moment on, with what cannot be without it; a moment before, all of it counts."""
    resources = read(*texts)

    before = in_time(resources, NOON - timedelta(microseconds=1), NOTHING_GOVERNED)
    after = in_time(resources, NOON, NOTHING_GOVERNED)

    assert before.resources is resources
    assert (before.expired, before.next_expiry) == ((), NOON)
    assert names(after.resources) == left
    assert after.next_expiry is None
    assert [one.at for one in after.expired] == [NOON]


def test_a_profile_that_has_expired_is_listed_no_more() -> None:
    """The HostEndpoint stays, closed."""
    endpoint = in_time(read(OWN_PROFILE), NOON, NOTHING_GOVERNED).resources.endpoints[0]

    assert (endpoint.profiles, endpoint.profile_positions) == ((), ())


def test_a_clock_that_is_set_back_opens_nothing_again() -> None:
    """Until the resource has another moment."""
    resources = read(policy("a", "Allow", ENDING))
    record = Governance(expired=(Expired("GlobalNetworkPolicy", "a", NOON),))

    assert names(in_time(resources, NOON - HOUR, record).resources) == []
    anew = read(policy("a", "Allow", ENDING.replace("T12", "T13")))
    assert names(in_time(anew, NOON - HOUR, record).resources) == ["a"]


def test_what_waits_for_a_clock_that_is_right_counts_again_after_it() -> None:
    """A clock from before the last apply is wrong: what ends allows nothing, what denies stays."""
    resources = read(STAYING, policy("a", "Allow", ENDING), policy("b", "Deny", ENDING), policy("c", "Allow"))
    record = Governance(applied=NOON - HOUR)

    behind = in_time(resources, NOON - 30 * HOUR, record)

    assert [opens(one) for one in behind.resources.policies] == [False, False, True]
    assert [one.name for one in behind.expired] == ["a"]
    assert behind.next_expiry == record.applied
    right = in_time(resources, NOON - HOUR / 2, record)
    assert right.resources is resources
    assert names(in_time(resources, NOON - HOUR - timedelta(seconds=50), record).resources) == ["a", "b", "c", "up"]


def test_a_record_keeps_what_has_expired_and_not_what_waits() -> None:
    """The record of a plan is what the next one goes by."""
    candidate = check_candidate(
        Configuration(resources=(Source("a.yaml", "---\n".join((STAYING, policy("a", "Allow", ENDING)))),))
    )
    host = facts()
    expired = [Expired("GlobalNetworkPolicy", "a", NOON)]
    for now, record, kept in (
        (NOON, NOTHING_GOVERNED, expired),
        (NOON - HOUR, Governance(expired=tuple(expired)), expired),
        (NOON - 9 * HOUR, Governance(applied=NOON - HOUR), []),
        (NOON - HOUR, NOTHING_GOVERNED, []),
    ):
        at = replace(host, now=now)
        built = build(candidate, at, governance=record)
        assert isinstance(built, Generation)
        after = recorded(built.plan, candidate.resources, at, record, now)
        assert list(after.expired) == kept
        assert after.applied == record.applied


def test_only_what_allows_is_left_out_of_what_lasts() -> None:
    """A denial stays; a rule that lets in a set which ends lets in nobody, at the place that it had."""
    rule = "source: {selector: set == 'office'}"
    resources = read(
        STAYING, OWN_SET, policy("a", "Allow", ENDING), policy("b", "Deny", ENDING), policy("c", "Allow", rule=rule)
    )

    left = lasting(resources)

    assert [opens(one) for one in left.policies] == [False, False, True]
    closed = next(one for one in left.policies if one.metadata.name == "c").ingress[0]
    assert closed.source.selector is not None
    parsed = parse(closed.source.selector.text)
    assert not any(matches(parsed, dict(one.metadata.labels)) for one in left.network_sets)
    assert lasting(read(STAYING, policy("b", "Deny", ENDING))) == read(STAYING, policy("b", "Deny", ENDING))


def test_what_a_policy_denies_beside_what_it_allows_stays() -> None:
    """A clock that is wrong lets nobody in past the Deny rule of a policy that has not expired."""
    mixed = policy("a", "Deny", ENDING, rule="source: {nets: [192.0.2.0/24]}}, {action: Allow")

    kept = next(one for one in lasting(read(STAYING, mixed, policy("b", "Allow"))).policies if one.metadata.name == "a")

    assert [rule.action for rule in kept.ingress] == [Action.DENY, Action.ALLOW]
    assert kept.ingress[0].source.selector is None
    assert kept.ingress[1].source.selector is not None
    assert kept.ingress[1].source.selector.text == "!all()"


def test_the_end_of_a_tier_still_denies() -> None:
    """A clock that is wrong lets nobody through to a later tier; what has expired leaves its tier as if deleted."""
    tier = f"{HEAD}kind: Tier\nmetadata: {{name: own}}\nspec: {{order: 5}}\n"
    office = policy("own.a", "Allow", ENDING, "tier: own,", "source: {nets: [198.51.100.0/24]}")
    text = "---\n".join((STAYING, tier, office, policy("z", "Allow")))
    candidate = check_candidate(Configuration(resources=(Source("a.yaml", text),)))
    record = Governance(applied=NOON - HOUR)

    def lets_in(now: datetime) -> list[bool]:
        built = build(candidate, replace(facts(), now=now), governance=record)
        assert isinstance(built, Generation)
        return [explain(built.plan, arriving(source=source)).allowed for source in ("198.51.100.7", "192.0.2.7")]

    assert lets_in(NOON - HOUR / 2) == [True, False]
    assert lets_in(NOON - 30 * HOUR) == [False, False]
    assert lets_in(NOON) == [True, True]


GROUP = "apiVersion: hostfw.io/v1\nkind: InterfaceGroup\n"
UNENDING = [
    ("a HostEndpoint", STAYING.replace("name: up,", f"name: up, {ENDING},")),
    ("an InterfaceGroup", f"{GROUP}metadata: {{name: lan, {ENDING}}}\nspec: {{match: [{{name: 'eth*'}}]}}\n"),
    ("a Tier", f"{HEAD}kind: Tier\nmetadata: {{name: own, {ENDING}}}\nspec: {{order: 5}}\n"),
    ("a rule", policy("a", "Allow", rule=f"metadata: {{{ENDING}}}")),
]


@pytest.mark.parametrize(("noun", "text"), UNENDING, ids=[case[0] for case in UNENDING])
def test_what_would_open_a_host_by_its_end_does_not_expire(noun: str, text: str) -> None:
    """An interface would be ungoverned, a tier would end without its Deny; a rule ends with its policy."""
    candidate = check_candidate(Configuration(resources=(Source("a.yaml", text),)))

    (problem,) = [one for one in candidate.problems if "expire" in one.message]
    assert problem.message == f"{noun} does not expire"
    assert "policy" in problem.expected
    assert not candidate.is_valid


def test_a_generation_is_built_anew_when_something_expires() -> None:
    """With the same configuration and facts but their moment; and it has the script of what lasts before that."""
    office = policy("a", "Allow", ENDING, rule="protocol: TCP, destination: {ports: [8443]}")
    candidate = check_candidate(Configuration(resources=(Source("a.yaml", f"{STAYING}---\n{office}"),)))
    cache = GenerationCache()

    first, again, after = (
        build(candidate, replace(facts(), now=now), cache) for now in (NOON - HOUR, NOON - HOUR / 2, NOON)
    )

    assert isinstance(first, Generation)
    assert isinstance(after, Generation)
    assert again is first
    assert first.lasting is not None
    assert first.lasting.until == NOON
    assert "8443" in first.script
    assert "8443" not in first.lasting.script + after.script
    assert after.lasting is None
    assert after.id != first.id


@pytest.mark.parametrize(
    "text", ["tomorrow", "2030-01-01", "2030-01-01T12:00:00", "20300101T120000Z", "2030-13-01T12:00:00Z", "2h"]
)
def test_a_moment_that_is_none_is_an_error(text: str) -> None:
    """And never a resource without an end."""
    candidate = check_candidate(
        Configuration(
            resources=(Source("a.yaml", policy("a", "Allow", f"annotations: {{hostfw.io/expires: '{text}'}}")),)
        )
    )

    (problem,) = [one for one in candidate.problems if "expires" in one.message]
    assert text in problem.message
    assert problem.expected.endswith("(RFC 3339), such as 2030-01-31T12:00:00Z, from 1970 to 9998")
    assert not candidate.is_valid


def test_what_waited_for_a_right_clock_and_has_expired_by_then_is_gone() -> None:
    """A cache gives the same as none: a denial ends too, nothing is waited for, and all of it is put on record."""
    text = "---\n".join((STAYING, policy("a", "Allow", ENDING), policy("b", "Deny", ENDING, "order: 1,")))
    candidate = check_candidate(Configuration(resources=(Source("a.yaml", text),)))
    cache, record = GenerationCache(), Governance(applied=NOON - HOUR)
    build(candidate, replace(facts(), now=NOON - 30 * HOUR), cache, record)
    right = replace(facts(), now=NOON + HOUR)

    built, afresh = build(candidate, right, cache, record), build(candidate, right, governance=record)

    assert isinstance(built, Generation)
    assert isinstance(afresh, Generation)
    assert (built.id, built.plan.next_expiry) == (afresh.id, None)
    after = recorded(built.plan, candidate.resources, built.facts, record, NOON + HOUR)
    assert [one.name for one in after.expired] == ["a", "b"]


TRUSTED = "trusted: 'yes'"
SETS = tuple(
    f"{HEAD}kind: GlobalNetworkSet\nmetadata: {{name: {name}, labels: {{{TRUSTED}}}, {ending}}}\n"
    f"spec: {{nets: [{net}]}}\n"
    for name, net, ending in (("guests", "192.0.2.0/24", ENDING), ("admins", "198.51.100.0/24", ""))
)
NAMESPACED = tuple(
    text.replace("GlobalNetworkSet", "NetworkSet").replace("{name: ", "{namespace: shop, name: ") for text in SETS
)
EXPLAINED = [
    ("allowed by name", policy("a", "Allow", rule="source: {selector: trusted == 'yes'}")),
    (
        "spared by a denial",
        policy("a", "Deny", rule="source: {notSelector: trusted == 'yes'}}, {action: Allow"),
    ),
]


@pytest.mark.parametrize("sets", [SETS, NAMESPACED], ids=["of no namespace", "of a namespace"])
@pytest.mark.parametrize("text", [case[1] for case in EXPLAINED], ids=[case[0] for case in EXPLAINED])
def test_a_set_that_ends_is_let_in_no_more_and_one_that_stays_is(text: str, sets: tuple[str, ...]) -> None:
    """Beside each other in one selector, and whether the rule names them or denies all others."""
    candidate = check_candidate(Configuration(resources=(Source("a.yaml", "---\n".join((STAYING, *sets, text))),)))
    record = Governance(applied=NOON - HOUR)
    host = replace(facts(), now=NOON - 30 * HOUR)

    behind = build(candidate, host, governance=record)
    right = build(candidate, replace(host, now=NOON - HOUR / 2), governance=record)

    assert isinstance(behind, Generation)
    assert isinstance(right, Generation)
    assert [explain(right.plan, arriving(source=source)).allowed for source in ("192.0.2.7", "198.51.100.7")] == [
        True,
        True,
    ]
    assert [explain(behind.plan, arriving(source=source)).allowed for source in ("192.0.2.7", "198.51.100.7")] == [
        False,
        True,
    ]
    assert right.lasting is not None
    assert right.lasting.script == behind.script
    assert behind.lasting is None
