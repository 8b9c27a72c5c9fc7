"""Workloads on one host: which governs which interface, and which policies are whose."""

from dataclasses import replace
from typing import Any

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.model.host.facts import BridgeFacts, HostFacts, Interface
from hostfw.model.plan import Plan
from hostfw.model.problems import Problem, Severity, errors
from hostfw.model.settings import UNIDENTIFIED, Settings, Unselected, Workloads
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import Action, Direction, Family
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import nets
from tests.unit.builders.policy_texts import manifest, policy, resources, said

THEIRS = Settings(workloads=Workloads(("ve-*",)))
HOST = HostFacts("host", (Interface("eth0", 2, default_route=True), Interface("ve-web", 3), Interface("ve-db", 4)))
ADDRESSES = ("10.0.0.77", "10.0.1.1", "10.0.0.1")
UPLINK = manifest("HostEndpoint", "{interfaceName: eth0}", "uplink")


def wep(name: str, spec: str = "", interface: str = "", metadata: str = "") -> str:
    """A WorkloadEndpoint behind the interface of its name."""
    fields = f"interfaceName: {interface or f've-{name}'}, ipNetworks: [10.0.0.2]{spec}"
    return manifest("WorkloadEndpoint", f"{{{fields}}}", name, f"labels: {{app: {name}}}{metadata}")


def _plan(*texts: str, host: HostFacts = HOST, settings: Settings = THEIRS) -> tuple[Plan, list[str]]:
    plan, problems = resolve(resources(*texts), settings, host)
    return plan, [said(problem) for problem in problems]


def _checked(*texts: str, settings: str = "workloads: {interfaces: ['ve-*']}") -> tuple[Problem, ...]:
    sources = tuple(Source(f"{number}.yaml", text) for number, text in enumerate(texts, start=1))
    return check_candidate(Configuration(Source("hostfw.yaml", settings), sources)).problems


def test_a_workload_governs_its_interface_and_nobody_the_others() -> None:
    """Not even a HostEndpoint for every interface."""
    every = manifest("HostEndpoint", "{interfaceName: '*'}", "every")

    plan, _ = _plan(UPLINK, every, wep("web"))

    governing = plan.governing()
    assert [governing(name) for name in ("eth0", "ve-web", "ve-db", "ve-later", "eth1")] == [
        "uplink",
        "default/web",
        UNIDENTIFIED,
        UNIDENTIFIED,
        "every",
    ]


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        ("one interface for two", (wep("web"), wep("other", interface="ve-web")), "is not the only one"),
        ("one name for two", (wep("web"), wep("web", interface="ve-db")), "is not the only one"),
        ("an interface that no setting names", (wep("web", interface="eth0"),), "does not name"),
        ("an unknown profile", (wep("web", ", profiles: [none]"),), "unknown"),
    ],
)
def test_what_is_in_doubt_stays_unidentified(name: str, texts: tuple[str, ...], message: str) -> None:
    """Of what runs now: a file there is written by programs, and what is wrong with it closes."""
    running = tuple(one for text in texts for one in resources(text).workloads)
    host = replace(HOST, workloads=running)

    plan, problems = _plan(UPLINK, host=host)

    assert plan.governing()("ve-web") == UNIDENTIFIED, name
    assert plan.governing()("eth0") == "uplink"
    assert any(message in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((wep("web", interface="eth0"),), "is for eth0, which the setting workloads does not name"),
        ((wep("web"), wep("other", interface="ve-web")), 'is for ve-web, as is "default/other"'),
        ((manifest("HostEndpoint", "{interfaceName: ve-web}", "a"),), "names ve-web, as does the setting workloads"),
        ((wep("web", ", profiles: [none]"),), 'unknown profile "none"'),
    ],
)
def test_a_configuration_is_refused_for_what_would_govern_nothing(texts: tuple[str, ...], message: str) -> None:
    """A person is there to put it right."""
    found = errors(_checked(*texts))

    assert any(message in problem.message for problem in found), found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("WorkloadEndpoint", "is for tap0, which the setting workloads does not name"),
        ("HostEndpoint", "names ve-1, as does the setting workloads"),
    ],
)
@pytest.mark.parametrize("of", ["host", "other"])
def test_the_setting_of_a_host_is_about_its_own_endpoints(text: str, message: str, of: str) -> None:
    """Those of other hosts are there for their labels; who is whose shows where the node is known."""
    fields = "interfaceName: tap0, ipNetworks: [10.0.0.9]" if text == "WorkloadEndpoint" else "interfaceName: ve-1"
    theirs = manifest(text, f"{{node: {of}, {fields}}}", "one")
    third = manifest("HostEndpoint", "{node: third, interfaceName: eth0}", "third")
    expected = of == "host"

    by_setting = errors(_checked(theirs, third, settings="{node: host, workloads: {interfaces: ['ve-*']}}"))
    assert any(message in problem.message for problem in by_setting) is expected

    assert errors(_checked(theirs, third)) == ()
    _, problems = resolve(resources(theirs, third), THEIRS, HOST)
    assert any(message in problem.message for problem in errors(problems)) is expected


def test_endpoints_of_one_node_are_those_of_this_host_before_anybody_knows_its_name() -> None:
    """So whoever writes a first configuration without a node is told offline."""
    alone = manifest("WorkloadEndpoint", "{node: web1, interfaceName: tap0, ipNetworks: [10.0.0.9]}", "one")

    assert any("which the setting workloads does not name" in problem.message for problem in errors(_checked(alone)))


def test_no_policy_is_said_to_select_nothing_where_workloads_may_come() -> None:
    """Nobody knows which run at some time."""
    texts = (UPLINK, policy("{selector: app == 'later', ingress: [{action: Allow, source: {selector: app == 'z'}}]}"))

    assert [said(problem) for problem in _checked(*texts)] == []
    assert any("selects no HostEndpoint" in problem.message for problem in _checked(*texts, settings="{}"))


@pytest.mark.parametrize(
    ("unselected", "orchestrator", "is_open"),
    [
        (Unselected.BY_ORCHESTRATOR, "docker", True),
        (Unselected.BY_ORCHESTRATOR, "k8s", True),
        (Unselected.BY_ORCHESTRATOR, "libvirt", False),
        (Unselected.BY_ORCHESTRATOR, "", False),
        (Unselected.ALLOW, "libvirt", True),
        (Unselected.DENY, "docker", False),
    ],
)
def test_what_no_policy_selects_is_open_by_who_runs_it(
    unselected: Unselected, orchestrator: str, *, is_open: bool
) -> None:
    """Direction by direction, and never against a profile of its own."""
    settings = Settings(workloads=Workloads(("ve-*",), unselected=unselected))
    ingress = policy("{selector: app == 'db', ingress: [{action: Deny}]}")
    own = manifest("Profile", "{}", "own")
    of = f", orchestrator: {orchestrator or chr(39) * 2}"
    texts = (UPLINK, own, ingress, wep("web", of), wep("db", of), wep("last", f"{of}, profiles: [own]", "ve-last"))

    plan, _ = _plan(*texts, settings=settings)

    web, db, last = (plan.endpoint(f"default/{name}") for name in ("web", "db", "last"))
    ways = (web.ingress, web.egress, db.egress)
    assert [bool(way.profiles) for way in ways] == [is_open] * 3
    assert [[rule.action for profile in way.profiles for rule in profile.rules] for way in ways] == [
        [Action.ALLOW] * is_open
    ] * 3
    assert [profile.name for profile in last.egress.profiles] in ([], ["own"])


def test_one_without_an_address_has_only_a_port_of_a_bridge() -> None:
    """There it is known by its Ethernet address, and may ask for a lease."""
    text = wep("web", MAC).replace("ipNetworks: [10.0.0.2]", "ipNetworks: []")
    plan, problems = _plan(UPLINK, text)
    assert [endpoint.name for endpoint in plan.endpoints] == ["uplink"]
    assert any('"default/web" has no ipNetworks: everything is denied on ve-web' in said for said in problems)

    plan, problems = _plan(UPLINK, text.replace("ve-web", "p-web"), host=BRIDGED, settings=BEHIND)
    ((_, workload),) = plan.bridged
    assert (workload.addresses, workload.port) == ((), "p-web")


def test_normal_policies_alone_are_a_workloads() -> None:
    """With and without applyOnForward; and neither preDNAT nor doNotTrack."""
    plain = policy("{selector: app == 'web', ingress: [{action: Allow}]}", "plain")
    forward = policy("{selector: app == 'web', applyOnForward: true, ingress: [{action: Allow}]}", "forward")
    early = policy("{selector: all(), applyOnForward: true, preDNAT: true, ingress: [{action: Allow}]}", "early")
    raw = policy("{selector: all(), applyOnForward: true, doNotTrack: true, ingress: [{action: Allow}]}", "raw")

    plan, _ = _plan(UPLINK, wep("web"), plain, forward, early, raw)

    met = plan.endpoint("default/web").direction(Direction.INGRESS)
    assert [policy.name for tier in met.tiers for policy in tier.policies] == ["forward", "plain"]
    assert (met.forward_tiers, met.untracked_tiers, met.pre_dnat_tiers) == ((), (), ())


def test_rules_find_workloads_by_their_labels_and_namespaces() -> None:
    """Those of other nodes too, and none that governs nothing."""
    by_namespace = "{namespaceSelector: projectcalico.org/name == 'default', selector: has(app)}"
    text = policy(f"{{selector: all(), ingress: [{{action: Allow, source: {by_namespace}}}]}}")
    elsewhere = wep("far", ", node: other").replace("10.0.0.2", "10.0.0.9")
    running = resources(wep("lost", interface="eth7").replace("10.0.0.2", "10.0.0.7")).workloads

    plan, _ = _plan(UPLINK, wep("web"), elsewhere, text, host=replace(HOST, workloads=running))

    (rule,) = plan.endpoint("uplink").ingress.tiers[0].policies[0].rules
    assert rule.source.address_set is not None
    assert list(map(str, rule.source.address_set.cidrs)) == ["10.0.0.2/32", "10.0.0.9/32"]


def test_an_interface_that_is_a_port_is_told() -> None:
    """Its packets come in on the bridge, where no workload is known."""
    bridge = Interface("br0", 9, kind="bridge")
    host = replace(HOST, interfaces=(*HOST.interfaces, bridge, Interface("ve-port", 10, master="br0")))

    _, problems = _plan(UPLINK, host=host)

    assert any("ve-port, which the setting workloads names, is a port of the bridge br0" in said for said in problems)


BRIDGED = replace(
    HOST,
    interfaces=(
        *HOST.interfaces,
        Interface("br0", 9, kind="bridge", bridge=BridgeFacts(), mac="02:00:00:00:00:09", addresses=nets("10.0.0.1")),
        Interface("br1", 10, kind="bridge", bridge=BridgeFacts(calls_ipv4=True, calls_ipv6=True)),
        Interface("lan", 11, kind="bridge", bridge=BridgeFacts()),
        *(Interface(f"p-{name}", 12 + at, kind="veth", master="br0") for at, name in enumerate(("web", "db"))),
        Interface("p-far", 14, kind="veth", master="br1"),
        Interface("eth1", 15, master="lan"),
    ),
)
BEHIND = Settings(workloads=Workloads(bridges=("br*",)))
MAC = ', mac: "02:00:00:00:00:01"'


def test_ports_of_a_bridge_are_workloads() -> None:
    """By bridge and address; ports of other bridges are listed apart, and those that nobody names in no list."""
    plan, problems = _plan(UPLINK, wep("web", MAC, "p-web"), host=BRIDGED, settings=BEHIND)

    ((endpoint, workload),) = plan.bridged
    assert (endpoint.name, workload.bridge, workload.port) == ("default/web", "br0", "p-web")
    assert plan.behind("br0", Family.V4, nets("10.0.0.2")[0].address) == "default/web"
    assert plan.behind("br1", Family.V4, nets("10.0.0.2")[0].address) == UNIDENTIFIED
    assert plan.other_ports == ("eth1",)
    assert [(bridge.name, bridge.filtered) for bridge in plan.bridges] == [("br0", False), ("br1", True)]
    assert "p-web" not in [binding.interface for binding in plan.bindings]
    assert problems == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((wep("web", interface="p-web"),), "has no mac"),
        ((wep("web", MAC, "p-web").replace("10.0.0.2]", "10.0.8.0/24]"),), "has 10.0.8.0/24, and p-web is a port"),
        ((wep("web", MAC.replace("01", "09"), "p-web"),), "has 02:00:00:00:00:09, as has the bridge br0"),
        ((wep("web", MAC, "p-web").replace("10.0.0.2", "10.0.0.1"),), "has 10.0.0.1, as has this host on br0"),
        ((wep("web", MAC, "p-web"), wep("db", MAC.replace("01", "02"), "p-db")), "has 10.0.0.2, as has default/"),
        (
            (wep("web", MAC, "p-web"), wep("db", MAC, "p-db").replace("10.0.0.2", "10.0.0.3")),
            "has 02:00:00:00:00:01, as has default/",
        ),
    ],
)
def test_a_port_in_doubt_is_closed(texts: tuple[str, ...], message: str) -> None:
    """An address that another may send from as well tells nobody apart."""
    running = tuple(one for text in texts for one in resources(text).workloads)

    plan, problems = _plan(UPLINK, host=replace(BRIDGED, workloads=running), settings=BEHIND)

    assert plan.bridged == ()
    assert len([problem for problem in problems if message in problem]) == len(texts), problems


def test_one_address_behind_two_bridges_is_two_workloads() -> None:
    """Each bridge has addresses of its own."""
    texts = (wep("web", MAC, "p-web"), wep("far", MAC, "p-far"))

    plan, _ = _plan(UPLINK, *texts, host=BRIDGED, settings=BEHIND)

    assert [workload.bridge for _, workload in plan.bridged] == ["br1", "br0"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bridge_netfilter": False}, "between the ports of br0 would meet no policy: this kernel runs without"),
        ({"interfaces": (Interface("br0", 9, kind="dummy"),)}, "br0, which workloads.bridges names, is not a bridge"),
        (
            {"interfaces": (Interface("br0", 9, kind="bridge", bridge=BridgeFacts(vlan_filtering=True)),)},
            "the bridge br0 filters VLANs",
        ),
        (
            {
                "interfaces": (
                    Interface("br0", 9, kind="bridge", bridge=BridgeFacts()),
                    Interface("eth9", 10, master="br0"),
                )
            },
            "eth9, a port of br0, leads out of this host",
        ),
    ],
)
def test_what_keeps_a_bridge_from_working_is_told(changed: dict[str, Any], message: str) -> None:
    """Without br_netfilter the configuration is refused."""
    _, problems = resolve(resources(), BEHIND, replace(BRIDGED, **changed))

    (found,) = {problem.severity for problem in problems if message in problem.message}
    assert (found is Severity.ERROR) is ("bridge_netfilter" in changed)


def test_a_workload_whose_interface_has_another_name_keeps_its_policy() -> None:
    """A rename takes no interface out from under policy."""
    from datetime import UTC, datetime

    from hostfw.model.host.governance import NOTHING_GOVERNED
    from hostfw.policy.kept import recorded

    known = resources(UPLINK, wep("web"))
    plan, _ = resolve(known, THEIRS, HOST)
    record = recorded(plan, known, HOST, NOTHING_GOVERNED, datetime(2030, 1, 1, tzinfo=UTC))
    renamed = replace(HOST, interfaces=(HOST.interfaces[0], Interface("odd0", 3), HOST.interfaces[2]))

    now, problems = resolve(known, THEIRS, renamed, governance=record)

    assert now.governing()("odd0") == "default/web"
    assert [p.severity for p in problems if "odd0 keeps the policy of workload default/web" in p.message] == [
        Severity.WARNING
    ]


def test_what_was_a_workload_stays_closed_under_another_name() -> None:
    """Its file goes before its interface: nobody knows any more what is behind that."""
    from datetime import UTC, datetime

    from hostfw.model.host.governance import NOTHING_GOVERNED
    from hostfw.policy.kept import recorded

    now = datetime(2030, 1, 1, tzinfo=UTC)
    running, alone = resources(UPLINK, wep("web")), resources(UPLINK)
    renamed = replace(HOST, interfaces=(HOST.interfaces[0], Interface("odd0", 3), HOST.interfaces[2]))
    plan, _ = resolve(running, THEIRS, HOST)
    record = recorded(plan, running, HOST, NOTHING_GOVERNED, now)
    plan, _ = resolve(running, THEIRS, renamed, governance=record)
    kept = recorded(plan, running, renamed, record, now)

    for before in (record, kept):
        plan, _ = resolve(alone, THEIRS, renamed, governance=before)
        again, _ = resolve(alone, THEIRS, renamed, governance=recorded(plan, alone, renamed, before, now))

        assert [plan.governing()("odd0"), again.governing()("odd0")] == [UNIDENTIFIED, UNIDENTIFIED]
        assert plan.governing()("eth0") == "uplink"
    named = resources(UPLINK, manifest("HostEndpoint", "{interfaceName: odd0}", "mine"))
    plan, _ = resolve(named, THEIRS, renamed, governance=record)
    assert plan.governing()("odd0") == "mine"


@pytest.mark.parametrize("every", ["", manifest("HostEndpoint", "{interfaceName: '*'}", "every")])
def test_a_bridge_is_not_the_workload_that_became_its_port(every: str) -> None:
    """The host itself is behind the bridge, which would be cut off as a sender of foreign addresses."""
    from datetime import UTC, datetime

    from hostfw.model.host.governance import NOTHING_GOVERNED
    from hostfw.policy.kept import recorded

    known = resources(*filter(None, (UPLINK, every)), wep("web"))
    plan, _ = resolve(known, THEIRS, HOST)
    record = recorded(plan, known, HOST, NOTHING_GOVERNED, datetime(2030, 1, 1, tzinfo=UTC))
    bridge = Interface("br0", 9, kind="bridge")
    port = Interface("ve-web", 3, master="br0")
    bridged = replace(HOST, interfaces=(HOST.interfaces[0], bridge, port))

    now, _ = resolve(known, THEIRS, bridged, governance=record)

    assert now.governing()("br0") == ("every" if every else None)
    assert now.governing()("eth0") == "uplink"


def test_workloads_that_may_send_as_others_are_told() -> None:
    """As another workload, or as the host; the address of the host on the workload's own interface is its router."""
    lan = manifest("WorkloadEndpoint", "{interfaceName: ve-db, ipNetworks: [10.0.0.0/24]}", "lan")
    interfaces = tuple(
        replace(one, addresses=nets(address)) for one, address in zip(HOST.interfaces, ADDRESSES, strict=True)
    )

    _, problems = _plan(UPLINK, wep("web"), lan, host=replace(HOST, interfaces=interfaces))

    first, second = (said for said in problems if "send as" in said)
    assert 'WorkloadEndpoints "default/lan" and "default/web" have 10.0.0.0/24 and 10.0.0.2/32: each may send' in first
    assert 'WorkloadEndpoint "default/lan" has 10.0.0.0/24, and this host has 10.0.0.77 on eth0: it may send' in second
