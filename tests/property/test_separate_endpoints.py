"""The rules of a host are the same with the endpoints that were chosen for it as with those of all hosts."""

from random import Random

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.bundle.selections import (
    NO_WORDS,
    NodeEndpoints,
    endpoint_files_of,
    others_text,
    own_text,
    page_of,
    read_page,
    read_selection,
)
from hostfw.manifest.encode import manifest
from hostfw.model.host.facts import HostFacts
from hostfw.model.kinds.metadata import ENDPOINTS_FOR
from hostfw.model.plan import Plan
from hostfw.model.problems import errors
from hostfw.model.resources import Resources
from hostfw.model.settings import Settings, Workloads
from hostfw.model.sources import Configuration, Source
from hostfw.policy.need import lacking
from hostfw.policy.resolve.plan import resolve
from tests.property.generators.resources import without_positions

_ROLES, _SITES = ("web", "db", "cache", "mail"), ("north", "south")
_PROFILES = """\
---
{apiVersion: projectcalico.org/v3, kind: Profile, metadata: {name: base},
 spec: {labelsToApply: {tier: base}, ingress: [{action: Allow, source: {selector: role == 'cache'}}]}}
---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: office, labels: {role: web}},
 spec: {nets: [198.51.100.0/24]}}
"""


def _selector(random: Random) -> str:
    role, site = random.choice(_ROLES), random.choice(_SITES)
    return random.choice(
        (
            f"role == '{role}'",
            f"role == '{role}' && site == '{site}'",
            f"role in {{'{role}', 'db'}}",
            f"has(extra) && site != '{site}'",
            f"!has(extra) && role == '{role}'",
            f"tier == 'base' && role contains '{role[1:]}'",
            "all()" if random.random() < 0.1 else f"site starts with '{site[:2]}' && role == '{role}'",
        )
    )


def _side(random: Random) -> str:
    parts = []
    if random.random() < 0.7:
        parts.append(f'selector: "{_selector(random)}"')
    if random.random() < 0.3:
        parts.append(f'notSelector: "{_selector(random)}"')
    if random.random() < 0.25:
        parts.append("ports: [http]")
    if random.random() < 0.1:
        parts.append("notPorts: [admin]")
    return f"{{{', '.join(parts)}}}"


def _policy(random: Random, number: int) -> str:
    kind = random.choice(("GlobalNetworkPolicy", "GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"))
    rules = ", ".join(
        f"{{action: {random.choice(('Allow', 'Deny'))}, protocol: TCP, source: {_side(random)}, "
        f"destination: {_side(random)}}}"
        for _ in range(random.randrange(1, 4))
    )
    return (
        f"---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: p{number}}}\n"
        f'spec: {{selector: "{_selector(random)}", types: [Ingress, Egress], ingress: [{rules}], egress: [{rules}]}}\n'
    )


def _endpoint(random: Random, number: int) -> str:
    extra = ", extra: x" if random.random() < 0.3 else ""
    ports = "ports: [{name: http, protocol: TCP, port: 80}, {name: admin, protocol: TCP, port: 81}], "
    return (
        "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\n"
        f"metadata: {{name: e{number},"
        f" labels: {{role: {random.choice(_ROLES)}, site: {random.choice(_SITES)}{extra}}}}}\n"
        f"spec: {{node: n{number % 12}, interfaceName: eth{number // 12}, {ports if random.random() < 0.3 else ''}"
        f"profiles: [{'base' if random.random() < 0.3 else ''}], expectedIPs: [10.0.0.{number}, 'fd00::{number}']}}\n"
    )


def _candidate(*texts: str) -> Resources:
    sources = tuple(Source(f"/c/{place}.yaml", text) for place, text in enumerate(texts))
    settings = Source("/c/hostfw.yaml", "workloads: {interfaces: ['ve-*']}\n")
    found = check_candidate(Configuration(settings, sources))
    assert not errors(found.problems), found.problems
    return found.resources


def _plan(resources: Resources, node: str, settings: Settings) -> tuple[Plan, bool]:
    plan, problems = resolve(resources, settings, HostFacts(node), counted=False)
    return without_positions(plan), bool(errors(problems))


@pytest.mark.parametrize("seed", range(12))
def test_what_was_chosen_for_a_host_gives_it_the_rules_of_the_whole(seed: int) -> None:
    """For every node: the selection for its labels, and the one for every policy if it may have workloads."""
    random = Random(seed)
    policies = _PROFILES + "".join(_policy(random, number) for number in range(random.randrange(1, 9)))
    endpoints = "".join(_endpoint(random, number) for number in range(24))
    whole = _candidate(policies, endpoints)
    separate, endpoint_files = endpoint_files_of(whole)
    assert (separate, endpoint_files) == endpoint_files_of(_candidate(policies, endpoints)), (
        "the same input gives the same bytes"
    )

    fewer = 0
    for node in sorted({one.node for one in whole.endpoints}):
        entry = read_page(endpoint_files[separate.pages[page_of(node, len(separate.pages))]], node)
        assert entry is not None
        for file, settings in (
            (entry.selection, Settings()),
            (separate.policies, Settings(workloads=Workloads(interfaces=("ve-*",)))),
        ):
            selection = read_selection(endpoint_files[file.sha256])
            some = _candidate(policies, own_text(entry.own, selection.words or ()).decode(), _others(selection, entry))
            assert _plan(some, node, settings) == (_plan(whole, node, settings)[0], False)
            fewer += len(some.endpoints) < len(whole.endpoints)
    assert fewer or seed, "otherwise nothing was shown"


def test_a_rule_that_asks_for_more_is_refused_and_named() -> None:
    """A policy of the host's own, another label of it, workloads that may come, and the endpoints of another node."""
    policies = "".join(_allow(role) for role in ("web", "db"))
    whole = _candidate(policies, "".join(_labelled(number, role) for number, role in enumerate(("web", "db", "mail"))))
    separate, endpoint_files = endpoint_files_of(whole)
    entry = read_page(endpoint_files[separate.pages[0]], "n0")
    assert entry is not None
    selection = read_selection(endpoint_files[entry.selection.sha256])
    own, others = own_text(entry.own, selection.words or ()).decode(), _others(selection, entry)
    assert selection.words == ('peer == "web"',)

    def asks(*texts: str, node: str = "n0", workloads: Workloads | None = None) -> str:
        problem = lacking(_candidate(*texts), node, workloads or Workloads())
        return "" if problem is None else problem.message

    assert asks(policies, own, others) == ""
    assert 'asks for the selector peer == "mail"' in asks(policies + _allow("mail", "web"), own, others)
    assert 'policy "p-db-db" asks for' in asks(policies, own.replace('"role": "web"', '"role": "db"'), others)
    assert 'the selector peer == "db"' in asks(policies, own, others, workloads=Workloads(interfaces=("ve-*",)))
    elsewhere = _labelled(9, "web").replace("n9", "n1")
    assert "the endpoints that node n1 took" in asks(policies, own, others, elsewhere, node="n1")
    port = _allow("web", "web").replace("selector: peer", "ports: [http], notSelector: peer").replace("p-web", "p-port")
    assert "asks for" in asks(policies + port, own, others)


def test_hosts_that_ask_for_nothing_have_their_own_endpoints_alone() -> None:
    """And it is told apart from having all: a rule with a selector is refused."""
    whole = _candidate(_allow("mail"), "".join(_labelled(number, "web") for number in range(3)))
    separate, endpoint_files = endpoint_files_of(whole)
    entry = read_page(endpoint_files[separate.pages[0]], "n1")
    assert entry is not None
    selection = read_selection(endpoint_files[entry.selection.sha256])
    own = own_text(entry.own, selection.words or ()).decode()
    assert (selection.words, _others(selection, entry)) == ((), "")
    some = _candidate(own)
    assert [one.metadata.annotation(ENDPOINTS_FOR) for one in some.endpoints] == [NO_WORDS]
    assert lacking(_candidate(own, _allow("web")), "n1", Workloads()) is not None


def test_the_annotation_of_an_earlier_bundle_does_not_count() -> None:
    """Somebody may publish what a host has."""
    plain = _candidate(_allow("web"), _labelled(0, "web"))
    noted = _candidate(
        _allow("web"), _labelled(0, "web").replace("labels:", "annotations: {hostfw.io/endpoints-for: all()}, labels:")
    )
    assert endpoint_files_of(plain) == endpoint_files_of(noted)
    assert "endpoints-for" in str(manifest(noted.endpoints[0]))


def test_endpoints_of_a_namespace_that_is_not_described_are_in_every_selection() -> None:
    """A host may have its Namespace, and so labels of theirs that the publisher does not know."""
    workload = (
        "---\n{apiVersion: projectcalico.org/v3, kind: WorkloadEndpoint, metadata: {name: w, namespace: shop},\n"
        " spec: {node: n9, interfaceName: ve-w, orchestrator: x, ipNetworks: [10.9.0.1/32]}}\n"
    )
    whole = _candidate(_allow("web"), _labelled(0, "web") + workload)
    separate, endpoint_files = endpoint_files_of(whole)
    entry = read_page(endpoint_files[separate.pages[page_of("n0", len(separate.pages))]], "n0")
    assert entry is not None
    assert "WorkloadEndpoint/shop/w" in read_selection(endpoint_files[entry.selection.sha256]).endpoints


def _others(selection: object, entry: NodeEndpoints) -> str:
    return others_text(selection, entry.own).decode()  # type: ignore[arg-type]  # a Selection


def _allow(peer: str, role: str = "") -> str:
    return (
        "---\n{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy,"
        f" metadata: {{name: p-{role or peer}-{peer}}},\n"
        f" spec: {{selector: role == '{role or peer}', ingress: [{{action: Allow, protocol: TCP,\n"
        f" source: {{selector: peer == '{peer}'}}}}]}}}}\n"
    )


def _labelled(number: int, role: str) -> str:
    return (
        f"---\n{{apiVersion: projectcalico.org/v3, kind: HostEndpoint,\n"
        f" metadata: {{name: e{number}, labels: {{role: {role}, peer: {role}}}}},\n"
        f" spec: {{node: n{number}, interfaceName: '*', expectedIPs: [10.0.0.{number}]}}}}\n"
    )
