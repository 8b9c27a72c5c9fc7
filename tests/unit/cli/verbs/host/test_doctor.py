"""The doctor's findings, from given data."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.doctor.environment import UNIT_NAMES
from hostfw.doctor.findings import Check, Finding, Weight
from hostfw.doctor.host import HostReport, Service, examine
from hostfw.doctor.other_firewalls import conflicts
from hostfw.engine.context import Directories
from hostfw.engine.outcomes import Status
from hostfw.engine.reading.block_state import BlockState
from hostfw.host.errors import HostError
from hostfw.host.nftables.base_chains import OtherChain, OtherTable
from hostfw.host.nftables.nf_tables import BaseHook, KernelChain
from hostfw.host.nftables.tables import KernelTable, KernelTables
from hostfw.host.nftables.writing.block_table import BlockTable
from hostfw.host.store.generations.active import ActiveGeneration
from hostfw.host.store.generations.trial import Trial
from hostfw.host.systemd.surroundings import (
    Mode,
    Surroundings,
    Tracking,
    Unit,
    Versions,
    legacy_tables,
    modes,
    tracking,
    ufw_is_on,
    units_of,
    unloadable,
)
from hostfw.model.host.baseline import Baseline, Listener
from hostfw.model.host.facts import BridgeFacts, HostFacts, Interface
from hostfw.model.host.governance import Governance, GovernedInterface
from hostfw.model.host.services import BoundAddress, HostServices, PublishedPort
from hostfw.model.host.services import Service as Listening
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, Severity
from hostfw.model.settings import Failsafe, LockoutCheck, PublishedPorts, Settings, Workloads
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import FAMILIES, TCP, UDP, Family, Learned
from hostfw.nft.worst_packet import Prices
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import link, net
from tests.unit.cli_runs import WEB, Machine, machine

NOW = datetime(2030, 1, 1, tzinfo=UTC)
RUNNING = tuple(Unit(name, "loaded", "enabled", "active") for name in ("hostfw-boot.service", "hostfw.service"))
AROUND = Surroundings(
    units=(
        *RUNNING,
        Unit("nftables.service", "loaded", "disabled", "inactive"),
        Unit("ufw.service", "not-found", "", "inactive"),
    ),
    versions=Versions("1.0.6", "6.1.0-28-amd64", "3.11.2", "0.7.2"),
    modes=(Mode(Path("/var/lib/hostfw"), 0, 0o700), Mode(Path("/run/hostfw"), 0, 0o755)),
    tracking=Tracking(79, 100),
)
TABLES = KernelTables(1, KernelTable(Family.V4, exists=True), KernelTable(Family.V6, exists=True))
LISTED = replace(
    TABLES,
    ip=KernelTable(
        Family.V4,
        exists=True,
        chains=(
            KernelChain("in/tcp/tried.0a", 1, 1, rules=900),
            KernelChain("in/tcp/in-order.0b", 2, 1, rules=900),
            KernelChain("in/tcp.0c", 3, 1, rules=30),
        ),
    ),
)
RECORD = ActiveGeneration("0a1b2c", NOW, 1, ())
ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {node: web1, interfaceName: eth0}
"""


def configuration(text: str = ENDPOINT, settings: str = "") -> Configuration:
    """A configuration of one file, with settings."""
    return Configuration(Source("hostfw.yaml", settings) if settings else None, (Source("host.yaml", text),))


HEALTHY = HostReport(
    Directories(),
    Status(FAMILIES, RECORD, (), TABLES),
    check_candidate(configuration()),
    accepted=check_candidate(configuration()),
    facts=HostFacts("web1"),
    baseline=Baseline(listeners=(Listener(Family.V4, 22),)),
    service=Service(listening=True),
    surroundings=AROUND,
)


def status(**changes: object) -> HostReport:
    """A healthy host, but for its status."""
    return replace(HEALTHY, status=replace(HEALTHY.status, **changes))  # type: ignore[arg-type]


def around(**changes: object) -> HostReport:
    """A healthy host, but for its surroundings."""
    return replace(HEALTHY, surroundings=replace(AROUND, **changes))  # type: ignore[arg-type]


def listening(*listeners: Listener) -> HostReport:
    """A healthy host on which ssh servers listen elsewhere."""
    return replace(HEALTHY, baseline=Baseline(listeners=listeners))


def unit(name: str, load: str = "loaded", file: str = "enabled", active: str = "active") -> HostReport:
    """A healthy host, but for one unit."""
    return around(units=(Unit(name, load, file, active),))


def versioned(**changes: str) -> HostReport:
    """A healthy host with another version of something."""
    return around(versions=replace(AROUND.versions, **changes))


PENDING = Trial("t", 2, "0d", 1, protected=True, deadline=NOW, deadline_uptime_s=9, boot_id="b")
FACTS = HostFacts("web1", (link("eth0", "192.0.2.1"),))
LEASED = HostFacts("web1", (link("eth0", "192.0.2.1", learned=((net("192.0.2.1"), Learned.DHCP),)),))
BY_ADDRESS = check_candidate(configuration(ENDPOINT.replace("interfaceName: eth0", "expectedIPs: [192.0.2.1]")))
SHUT, _ = resolve(check_candidate(configuration()).resources, replace(Settings(), failsafe=Failsafe((), ())), FACTS)
GUESTS = check_candidate(configuration(settings="workloads: {interfaces: ['ve-*']}\n"))
WITH_GUESTS = HostFacts(
    "web1",
    (link("eth0", "192.0.2.1"), link("br0", kind="bridge"), link("ve-a"), replace(link("ve-b"), master="br0")),
    workload_problems=(
        Problem(Position("/run/hostfw/workloads/a.yaml", 1, 1), "is writable by everyone", hint="chmod go-w a.yaml"),
    ),
)
PASS_BY = "its packets come in there, and no workload policy applies to them"
GUESTED, _ = resolve(GUESTS.resources, GUESTS.settings, WITH_GUESTS)
SHUTS = "no policy for ingress selects HostEndpoint uplink (host.yaml:1), which closes it"
NOTHING = "no rules of hostfw are in force: every packet passes that no other program denies"
BAD = check_candidate(configuration(ENDPOINT.replace("interfaceName", "interfaceNam")))
OTHERS = check_candidate(configuration(ENDPOINT.replace("web1", "web2")))
NONE = check_candidate(Configuration())
GARBAGE = Problem(Position("/var/lib/hostfw/accepted", 1, 1), "was not written by hostfw", hint="`hostfwctl apply`")
LOST = "the file of Feed lost 90%"
SHRUNK = Problem(Position("feeds.yaml", 4, 3), LOST, hint="--accept-shrink", severity=Severity.WARNING)
OPEN = check_candidate(configuration(settings="failsafe: {inbound: [2222]}\n"))
LOG = check_candidate(configuration(settings="logging: {group: 7}\n"))
NOBODY = "interfaces are not followed, denied packets not logged, and changes by others not repaired"
TWO = "two firewalls decide about every packet, and both must let it pass"
UNTIL = "nothing protects the host from the boot on until the service runs"
INVALID = "the configuration is invalid, so a reload would fail:"
FULL = "when it is full the kernel drops new connections, whatever policy says"
LEGACY = "they decide about every packet as well, and nft does not show them"
FLUSH = "its start, stop and reload flush every ruleset of the host, ours among them"
DIES = "`nft list ruleset` and scripts with table blocks fail, though hostfw itself works"
GROUPED = """\
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {name: ports}
spec: {match: [{kind: veth}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: ports}
spec: {interfaceGroup: ports}
"""
SEEN = Governance("web1", (GovernedInterface("eth0", "uplink", "interfaceName eth0", 2, "veth", "02:00:00:00:00:02"),))
BECAME = "eth0, which HostEndpoint uplink governs, became a port of it"
NOT_YET = "new connections to it are denied except failsafe tcp 22, and everything from and through it passes"


def unfollowed(*interfaces: Interface, text: str = ENDPOINT, seen: Governance = SEEN, runs: bool = False) -> HostReport:
    """A host whose interfaces are no longer those that the rules in force were compiled for."""
    accepted, facts = check_candidate(configuration(text)), HostFacts("web1", interfaces)
    return replace(
        status(governance=seen),
        accepted=accepted,
        facts=facts,
        plan=resolve(accepted.resources, accepted.settings, facts, governance=seen)[0],
        service=Service(listening=True) if runs else None,
    )


BRIDGE = Interface("br0", 3, kind="bridge")
PORT = Interface("eth0", 2, kind="veth", master="br0", mac="02:00:00:00:00:02")
RENAMED = Interface("wan0", 2, kind="veth", mac="02:00:00:00:00:02")
PATIENTS = [
    (
        "a bridge that no service gave the policy of its port",
        unfollowed(BRIDGE, PORT),
        [f"no rule in force is for br0 yet, which HostEndpoint uplink governs ({BECAME}): {NOT_YET}"],
    ),
    ("a bridge that the service follows", unfollowed(BRIDGE, PORT, runs=True), []),
    (
        "an interface that was renamed while no service ran",
        unfollowed(RENAMED),
        ["no HostEndpoint claims wan0, which keeps the policy of uplink: it was eth0, which the HostEndpoint names"],
    ),
    ("an interface with the name of a HostEndpoint", unfollowed(Interface("eth0", 7, kind="veth")), []),
    (
        "an interface that came into a group while no service ran",
        unfollowed(Interface("veth1", 9, kind="veth"), text=GROUPED),
        [f"no rule in force is for veth1 yet, which HostEndpoint ports governs (interfaceGroup ports): {NOT_YET}"],
    ),
    (
        "an interface that keeps its policy",
        status(governance=Governance("web1", (GovernedInterface("wan0", "uplink", "", 2, kept="it was eth0"),))),
        ["no HostEndpoint claims wan0, which keeps the policy of uplink: it was eth0"],
    ),
    ("a healthy host", HEALTHY, []),
    (
        "nothing in force",
        status(families=(), record=None),
        ["no rules of hostfw are in force: every packet passes that no other program denies"],
    ),
    (
        "one IP version without rules",
        status(families=(Family.V6,)),
        ["no IPv4 packet meets rules of hostfw: every one passes that no other program denies"],
    ),
    (
        "no record of what is in force",
        status(record=None),
        ["the active generation is not on record, as after a boot without the service"],
    ),
    (
        "a block",
        replace(HEALTHY, blocked=BlockState(BlockTable(()), None)),
        ["the host is blocked: no packet passes, whatever policy allows"],
    ),
    (
        "a block that another took away",
        replace(HEALTHY, blocked=BlockState(None, None)),
        ["the host was blocked, and another program took the block away"],
    ),
    ("one thing changed", status(drift=("chain x is gone",)), ["another program changed our tables: chain x is gone"]),
    (
        "much changed",
        status(drift=("chain x is gone", "chain y is gone")),
        ["another program changed our tables: chain x is gone, and 1 more"],
    ),
    (
        "a confirmation that waits",
        status(trial=PENDING, left_s=8.6),
        ["generation 0d is rolled back in 9 s, unless confirmed"],
    ),
    ("what could not be rolled back", status(warnings=("it could not",)), ["it could not"]),
    (
        "an invalid configuration",
        replace(HEALTHY, candidate=BAD),
        [f"{INVALID} host.yaml:4:7: the HostEndpoint names no interface, and 1 more"],
    ),
    (
        "the configuration of another host",
        replace(HEALTHY, candidate=OTHERS),
        ["no HostEndpoint is of this host, whose node name is web1: they are of web2"],
    ),
    (
        "no HostEndpoint",
        replace(HEALTHY, candidate=NONE),
        ["the configuration has no HostEndpoint, so it governs no interface"],
    ),
    ("a host that does not tell its name", replace(HEALTHY, candidate=OTHERS, facts=None), []),
    (
        "ssh that policy in force closes",
        replace(listening(Listener(Family.V4, 2222)), accepted=OPEN, plan=SHUT, facts=FACTS),
        [f"policy does not let pass every ssh connection to sshd on port 2222: {SHUTS}"],
    ),
    ("a policy that is not in force", replace(status(families=()), plan=SHUT, facts=FACTS), [NOTHING]),
    (
        "a policy that closes ssh, which nobody wants to hear of",
        replace(HEALTHY, plan=replace(SHUT, settings=replace(SHUT.settings, lockout_check=LockoutCheck.IGNORE))),
        [],
    ),
    (
        "the node name of the settings",
        replace(HEALTHY, candidate=check_candidate(configuration(ENDPOINT.replace("web1", "web2"), "node: web2\n"))),
        [],
    ),
    (
        "ssh elsewhere",
        listening(Listener(Family.V4, 2222, 0x0A000001, "dropbear")),
        ["dropbear listens on port 2222 of 10.0.0.1, which no failsafe opens: a wrong policy may close it"],
    ),
    ("ssh elsewhere with a failsafe", replace(listening(Listener(Family.V4, 2222)), accepted=OPEN), []),
    (
        "a failsafe for nobody",
        replace(HEALTHY, accepted=OPEN),
        ["sshd listens on port 22, which no failsafe opens: a wrong policy may close it"],
    ),
    ("ssh on lo", listening(Listener(Family.V4, 9, 0x7F000001), Listener(Family.V6, 9, 1)), []),
    ("a host that does not tell who listens", replace(HEALTHY, baseline=None), []),
    ("a feed that shrank", replace(HEALTHY, shrunk_feeds=(SHRUNK,)), ["feeds.yaml:4: the file of Feed lost 90%"]),
    (
        "a state that is damaged",
        replace(HEALTHY, accepted=None, accepted_problems=(GARBAGE,)),
        ["/var/lib/hostfw/accepted: was not written by hostfw"],
    ),
    (
        "a script that the boot misses",
        replace(HEALTHY, boots=False),
        ["/var/lib/hostfw/last-good.nft is missing: the next boot enforces the failsafes alone"],
    ),
    (
        "a service in trouble",
        replace(HEALTHY, service=Service(listening=True, trouble="the disk is full")),
        ["the service is in trouble: the disk is full"],
    ),
    (
        "legacy iptables",
        around(legacy=("ip filter", "ip6 filter")),
        [f"tables of legacy iptables are loaded (ip filter, ip6 filter): {LEGACY}"],
    ),
    (
        "a workload that nobody knows",
        replace(HEALTHY, accepted=GUESTS, plan=GUESTED, facts=WITH_GUESTS),
        [
            "/run/hostfw/workloads/a.yaml:1:1: is writable by everyone",
            f"ve-b, which the setting workloads names, is a port of the bridge br0: {PASS_BY}",
            "no WorkloadEndpoint names ve-a: everything from there, and to there, is denied",
        ],
    ),
    (
        "an engine that nobody reads",
        replace(
            HEALTHY,
            accepted=GUESTS,
            plan=GUESTED,
            facts=FACTS,
            surroundings=replace(
                AROUND,
                units=(
                    *RUNNING,
                    Unit("docker.service", "loaded", "enabled", "active"),
                    Unit("hostfw-workloads@docker.service", "loaded", "disabled", "inactive"),
                    Unit("libvirtd.service", "loaded", "enabled", "active"),
                    Unit("hostfw-workloads@libvirt.service", "loaded", "enabled", "active"),
                    Unit("incus.service", "not-found", "", "inactive"),
                ),
            ),
        ),
        [
            "Docker runs, and hostfw-workloads@docker.service does not: policy selects nothing of what Docker runs",
        ],
    ),
    (
        "nftables.service",
        unit("nftables.service", active="inactive"),
        [f"nftables.service is enabled: {FLUSH}"],
    ),
    (
        "firewalld beside us",
        unit("firewalld.service"),
        [f"firewalld.service is enabled and running: {TWO}"],
    ),
    ("ufw that only runs", unit("ufw.service", file="disabled"), [f"ufw.service is running: {TWO}"]),
    ("a masked firewall", unit("ufw.service", load="masked", file="masked", active="inactive"), []),
    (
        "no unit of ours",
        unit("hostfw.service", load="not-found", file="", active="inactive"),
        [f"hostfw.service is not installed: {NOBODY}"],
    ),
    (
        "a masked unit of ours",
        unit("hostfw.service", load="masked", file="masked", active="inactive"),
        [f"hostfw.service is masked: {NOBODY}"],
    ),
    (
        "a boot without us",
        unit("hostfw-boot.service", file="disabled"),
        [f"hostfw-boot.service is not enabled: after a boot {UNTIL}"],
    ),
    ("a unit of ours that failed", unit("hostfw.service", active="failed"), ["hostfw.service failed"]),
    ("a service that is off", unit("hostfw.service", active="inactive"), [f"hostfw.service does not run: {NOBODY}"]),
    ("an old nft", versioned(nft="1.0.5"), ["nft 1.0.5 is older than 1.0.6, the oldest that hostfw is for"]),
    (
        "an old kernel",
        versioned(kernel="4.19.0-27-amd64"),
        ["the kernel 4.19.0-27-amd64 is older than 5.10, the oldest that hostfw is for"],
    ),
    ("no pyroute2", versioned(pyroute2=""), ["pyroute2 is not installed"]),
    ("newer everything", versioned(nft="1.1.3", kernel="6.12.43+deb13-amd64", pyroute2="0.9.post1"), []),
    (
        "sets of a newer nft",
        around(nft_dies=True, noted=("inet newer",)),
        [f"nft 1.0.6 dies of sets that a newer nft wrote (inet newer): {DIES}"],
    ),
    (
        "a state of somebody else's",
        around(modes=(Mode(Path("/var/lib/hostfw"), 1000, 0o700),)),
        ["/var/lib/hostfw belongs to user 1000, who can change the policy of this host"],
    ),
    (
        "a run directory for all",
        around(modes=(Mode(Path("/run/hostfw"), 0, 0o1777),)),
        ["/run/hostfw is writable by others than root (mode 1777)"],
    ),
    ("our own reader", around(readers=frozenset((100,))), []),
    (
        "another's reader",
        replace(around(readers=frozenset((100,))), service=None),
        ["another program reads NFLOG group 100, so denied packets are not in the journal"],
    ),
    ("another's reader of another group", replace(around(readers=frozenset((100,))), service=None, accepted=LOG), []),
    (
        "connection tracking that is nearly full",
        around(tracking=Tracking(80, 100)),
        [f"connection tracking is 80% full (80 of 100): {FULL}"],
    ),
    ("no connection tracking", around(tracking=None), []),
    (
        "an interface that is read wrong",
        around(misread=("eth0",)),
        ["pyroute2 sees eth0 differently than hostfw does, and InterfaceGroups go by the latter"],
    ),
    (
        "an endpoint that a neighbour's address would bind",
        replace(HEALTHY, accepted=BY_ADDRESS, facts=LEASED),
        [
            (
                'host.yaml:1:1: HostEndpoint "uplink" claims no interface now: 192.0.2.1 of eth0 came by DHCP, '
                "and a neighbour may say that"
            )
        ],
    ),
    (
        "a long list in force, beside one for packets with marks of others",
        replace(HEALTHY, status=replace(HEALTHY.status, tables=LISTED)),
        [
            (
                "chain in/tcp/tried.0a of ip hostfw tries 900 rules one after the other, which costs a packet that "
                "none matches about 9 us"
            )
        ],
    ),
    (
        "a long list in force, on a host where costs could be measured",
        replace(HEALTHY, status=replace(HEALTHY.status, tables=LISTED), prices=Prices(20, 60, measured=True)),
        [
            (
                "chain in/tcp/tried.0a of ip hostfw tries 900 rules one after the other, which costs a packet that "
                "none matches about 18 us on this host"
            )
        ],
    ),
    (
        "no journal on a host of systemd",
        replace(HEALTHY, no_history="no journald listens at /run/systemd/journal/socket", has_systemd=True),
        [
            (
                "denied packets leave no history, and `hostfwctl drops --since` has none: no journald listens at "
                "/run/systemd/journal/socket"
            )
        ],
    ),
    ("a kernel that does not tell", around(unseen=("not permitted",)), ["could not be looked at: not permitted"]),
]


@pytest.mark.parametrize(("report", "expected"), [pytest.param(*case[1:], id=case[0]) for case in PATIENTS])
def test_each_trouble_is_one_finding(report: HostReport, expected: list[str]) -> None:
    """In one sentence, and with a next step."""
    found = examine(report)

    assert [finding.message for finding in found] == expected
    assert [finding for finding in found if not finding.next] == []


def test_of_nftables_service_stopping_is_not_the_next_step() -> None:
    """Its stop flushes every ruleset."""
    (found,) = examine(unit("nftables.service"))

    assert found.next == "`systemctl disable nftables.service`, without --now, which would flush everything"


def test_every_check_has_a_case() -> None:
    """So that none of them is without a test; the tables of others, interfaces and services have their own."""
    tried = {finding.check for _, report, _ in PATIENTS for finding in examine(report)}

    assert set(Check) - {Check.ENDPOINT, Check.PUBLISHED, Check.SERVICE, Check.BRIDGE} == tried


def test_the_page_of_the_command_line_lists_every_check() -> None:
    """Programs tell findings apart by these names."""
    page = (Path(__file__).parents[5] / "docs/hostfwctl.md").read_text()
    listed = " ".join(page.split()).partition("`check` is one of ")[2].partition(".")[0]

    assert sorted(listed.split(", ")) == sorted(Check)


def base(
    name: str, hook: str, priority: int = 0, *, denies: bool = False, to: tuple[str, ...] | None = ()
) -> OtherChain:
    """A base chain of another program."""
    return OtherChain(name, BaseHook("filter", hook, priority, "accept"), denies, to)


def chain(name: str, *, denies: bool = False, to: tuple[str, ...] = ()) -> OtherChain:
    """A regular chain of another program."""
    return OtherChain(name, None, denies, to)


def table(title: str, *chains: OtherChain) -> OtherTable:
    """A table of another program."""
    family, _, name = title.partition(" ")
    return OtherTable(family, name, chains)


NAT = OtherChain("POSTROUTING", BaseHook("nat", "postrouting", 100, "accept"), denies=True)
DENIES = " denies packets as well:"
STILL = "what policy allows it may still deny at"
CONFLICTS = [
    ("a chain that denies nothing", [table("inet x", base("c", "input"))], []),
    ("a nat chain", [table("inet x", NAT)], []),
    ("a bridge", [table("bridge x", base("c", "forward", denies=True))], []),
    ("a denial that nothing leads to", [table("inet x", base("c", "input"), chain("d", denies=True))], []),
    (
        "a denial two jumps away, round in a circle",
        [table("inet x", base("c", "input", to=("d",)), chain("d", to=("e", "c")), chain("e", denies=True, to=("d",)))],
        [f"the table inet x{DENIES} {STILL} input (0)"],
    ),
    (
        "a denial behind a verdict map",
        [table("inet x", base("c", "output", 7, to=None), chain("d", denies=True))],
        [f"the table inet x{DENIES} {STILL} output (7)"],
    ),
    (
        "before and behind",
        [table("inet x", base("a", "input", -5, denies=True), base("b", "postrouting", -9, denies=True))],
        [f"the table inet x{DENIES} what it denies at input (-5) never reaches policy, and {STILL} postrouting (-9)"],
    ),
    (
        "one program in both families",
        [
            table("ip kube-proxy", base("f", "forward", denies=True)),
            table("ip6 kube-proxy", base("f", "forward", denies=True)),
        ],
        [f"kube-proxy (ip kube-proxy, ip6 kube-proxy){DENIES} {STILL} forward (0)"],
    ),
    (
        "a ban of fail2ban's own name",
        [table("ip f2b-table", base("f", "input", -1, denies=True))],
        ["fail2ban (ip f2b-table) denies packets as well: what it denies at input (-1) never reaches policy"],
    ),
    (
        "one program by the chains that it has in iptables",
        [
            table(
                "ip filter",
                base("INPUT", "input", to=("KUBE-FIREWALL", "f2b-sshd")),
                chain("KUBE-FIREWALL", denies=True),
                chain("f2b-sshd"),
            )
        ],
        [f"kube-proxy (ip filter){DENIES} {STILL} input (0)"],
    ),
    (
        "rules of iptables that are nobody's",
        [table("ip filter", base("INPUT", "input", denies=True))],
        [f"iptables (ip filter){DENIES} {STILL} input (0)"],
    ),
]


@pytest.mark.parametrize(("others", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CONFLICTS])
def test_only_who_denies_is_a_conflict(others: list[OtherTable], expected: list[str]) -> None:
    """By what its base chains lead to, and what that does to our verdicts."""
    found = conflicts(others)

    assert [finding.message for finding in found] == expected
    assert {finding.check for finding in found} <= {Check.OTHER_TABLE}


@pytest.mark.parametrize(
    ("title", "weight"),
    [
        ("ip docker-bridges", Weight.NOTE),
        ("inet f2b-table", Weight.NOTE),
        ("inet firewalld", Weight.PROBLEM),
        ("inet filter", Weight.PROBLEM),
        ("inet nobody-knows", Weight.PROBLEM),
    ],
)
def test_who_goes_well_beside_policy_is_only_noted(title: str, weight: Weight) -> None:
    """Another firewall is a problem, and so is what nobody can name."""
    (found,) = conflicts([table(title, base("c", "input", denies=True))])

    assert found.weight is weight


# ------------------------------------------------------------------------------------------------- what is around


def test_units_are_read_as_systemctl_shows_them() -> None:
    """Those that are not there, too."""
    shown = (
        "Id=hostfw.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n"
        "Id=ufw.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
    )

    assert list(units_of(shown)) == [
        Unit("hostfw.service", "loaded", "enabled", "active"),
        Unit("ufw.service", "not-found", "", "inactive"),
    ]
    assert list(units_of("")) == []


def test_legacy_iptables_shows_in_proc(tmp_path: Path) -> None:
    """The tables that are loaded, of both families; without its modules there is nothing."""
    net = tmp_path / "thread-self/net"
    net.mkdir(parents=True)
    assert legacy_tables(tmp_path) == ()
    (net / "ip_tables_names").write_text("nat\nfilter\n")
    (net / "ip6_tables_names").write_text("filter\n")
    assert legacy_tables(tmp_path) == ("ip filter", "ip nat", "ip6 filter")


UFW = [
    ("", False),
    ("# ENABLED=yes\nENABLED=no\n", False),
    ("LOGLEVEL=low\nENABLED=yes\n", True),
    ('enabled="yes"\n', True),
]


@pytest.mark.parametrize(("text", "expected"), UFW)
def test_ufw_is_on_if_its_configuration_says_so(tmp_path: Path, text: str, expected: bool) -> None:
    """Its unit is enabled by the package whether or not."""
    (tmp_path / "ufw.conf").write_text(text)

    assert ufw_is_on(tmp_path / "ufw.conf") is expected
    assert not ufw_is_on(tmp_path / "none")


def test_connection_tracking_shows_in_proc(tmp_path: Path) -> None:
    """Unless nothing is tracked."""
    folder = tmp_path / "sys/net/netfilter"
    folder.mkdir(parents=True)
    assert tracking(tmp_path) is None
    (folder / "nf_conntrack_count").write_text("12\n")
    (folder / "nf_conntrack_max").write_text("65536\n")
    assert tracking(tmp_path) == Tracking(12, 65536)


def test_directories_that_are_not_there_have_no_permissions(tmp_path: Path) -> None:
    """And the others have theirs."""
    there = tmp_path / "there"
    there.mkdir(mode=0o750)
    there.chmod(0o750)

    assert modes((there, tmp_path / "not")) == (Mode(there, there.stat().st_uid, 0o750),)


# ----------------------------------------------------------------------------------------------------- the verb


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host in memory whose surroundings are sound."""
    made = machine(tmp_path, monkeypatch)
    monkeypatch.setattr("hostfw.cli.verbs.host.doctor.look_around", lambda *_: AROUND)
    monkeypatch.setattr("hostfw.cli.verbs.host.doctor.why_no_history", lambda: "")
    made.write(host=ENDPOINT, web=WEB)
    return made


def test_a_sound_host_is_told_so(host: Machine) -> None:
    """With exit status 0 and nothing to read."""
    assert host.hostfwctl("apply").status == 0
    status, out, err = host.hostfwctl("doctor")

    assert (status, out, err) == (0, "", "no problems found\n")


def test_rules_that_do_nothing_are_drift_until_a_reload_takes_them_away(host: Machine) -> None:
    """Somebody meant something by `nft add rule`, and no packet meets it."""
    host.hostfwctl("apply")
    assert host.kernel.meddle("add rule ip hostfw input tcp dport 25 accept\n").ok
    examined = host.hostfwctl("doctor")
    assert (examined.status, examined.err) == (1, "1 problem\n")
    assert examined.out == (
        "drift: another program changed our tables: table ip hostfw: 1 rule behind the last one of chain input was "
        "added by another program. Next: `hostfwctl reload` puts them right; `nft monitor` shows who changes them\n"
    )

    host.hostfwctl("reload")

    assert host.hostfwctl("doctor").out == ""


def test_findings_are_lines_with_the_next_step(host: Machine) -> None:
    """And exit status 1."""
    status, out, err = host.hostfwctl("doctor")

    assert (status, err) == (1, "1 problem\n")
    assert out == (
        "in-force: no rules of hostfw are in force: every packet passes that no other program denies. "
        "Next: `hostfwctl apply`\n"
    )


@pytest.mark.parametrize(
    ("blocked", "status", "said"),
    [
        (False, 0, "no problems, 1 note\n"),
        (True, 1, "1 problem, 1 note\n"),
    ],
)
def test_a_note_alone_is_no_failure(
    host: Machine, monkeypatch: pytest.MonkeyPatch, blocked: bool, status: int, said: str
) -> None:
    """Notes, which may be intended, are listed behind the problems."""
    host.hostfwctl("apply")
    note = Finding(Check.OTHER_TABLE, "fail2ban denies packets as well", "nothing", Weight.NOTE)
    problem = Finding(Check.BLOCK, "the host is blocked", "`hostfwctl unblock`")
    monkeypatch.setattr("hostfw.cli.verbs.host.doctor.examine", lambda _: (note, problem) if blocked else (note,))

    examined = host.hostfwctl("doctor")
    summary = json.loads(host.hostfwctl("doctor", "-o", "json").out)["summary"]

    assert (examined.status, examined.err) == (status, said)
    assert examined.out.splitlines()[-1] == "other-table (note): fail2ban denies packets as well. Next: nothing"
    assert summary == {"findings": 1 + blocked, "problems": int(blocked)}


def test_programs_get_a_list(host: Machine) -> None:
    """Of the same findings, empty where there are none."""
    status, out, _ = host.hostfwctl("doctor", "-o", "json")
    found = json.loads(out)
    host.hostfwctl("apply")
    sound = json.loads(host.hostfwctl("doctor", "-o", "json").out)

    assert status == 1
    assert (found["kind"], found["summary"]) == ("FindingList", {"findings": 1, "problems": 1})
    assert found["items"] == [
        {
            "check": "in-force",
            "weight": "problem",
            "message": "no rules of hostfw are in force: every packet passes that no other program denies",
            "next": "`hostfwctl apply`",
            "more": [],
        }
    ]
    assert sound["items"] == []


def test_what_a_host_does_not_tell_is_left_out(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks that need it are; the others go on."""

    def refused(_: Machine, __: str | None) -> HostFacts:
        raise HostError("the interfaces of this host cannot be read")

    host.hostfwctl("apply")
    host.write(host=ENDPOINT.replace("web1", "web2"))
    before = host.hostfwctl("doctor").status
    monkeypatch.setattr(Machine, "observed", refused)

    assert (before, host.hostfwctl("doctor").status) == (1, 0)


def test_the_units_that_are_asked_for_are_known() -> None:
    """Ours, and those of every other firewall that is reported."""
    ours, others = {"hostfw.service", "hostfw-boot.service"}, {"nftables.service", "firewalld.service", "ufw.service"}
    assert ours | others < set(UNIT_NAMES)


# ------------------------------------------------------------------------------------------- interfaces and services

ANY = tuple(BoundAddress(family) for family in FAMILIES)
DATABASE = Listening(TCP.number, 5432, ANY, unit="postgresql.service")


def network(
    text: str,
    facts: HostFacts,
    services: HostServices | None = None,
    settings: Settings | None = None,
    **around: object,
) -> list[Finding]:
    """The findings about interfaces and services where a configuration is in force on a host."""
    candidate = check_candidate(configuration(text))
    plan, _ = resolve(candidate.resources, settings or candidate.settings, facts)
    surroundings = replace(AROUND, **around)  # type: ignore[arg-type]
    report = replace(
        HEALTHY,
        candidate=candidate,
        accepted=candidate,
        plan=plan,
        facts=facts,
        services=services,
        baseline=None,
        surroundings=surroundings,
    )
    kinds = (Check.ENDPOINT, Check.INTERFACES, Check.PUBLISHED, Check.SERVICE, Check.BRIDGE, Check.STATE)
    return [finding for finding in examine(report) if finding.check in kinds]


def host_of(*links: Interface) -> HostFacts:
    """A host with these interfaces."""
    return HostFacts("web1", links)


ETH0 = Interface("eth0", 2, addresses=(net("192.0.2.1/32"),), default_route=True)
BRIDGE = Interface("virbr0", 3, kind="bridge", addresses=(net("192.168.122.1/32"),))
CLOSED = "new connections to it are denied except failsafe tcp 22"


def test_an_endpoint_without_an_interface_is_a_problem_while_another_is_ungoverned() -> None:
    """As after a rename: what it leaves open is said, and the same endpoint beside a governed uplink is only noted."""
    renamed = network(ENDPOINT.replace("eth0", "ens3"), host_of(ETH0))
    message = "HostEndpoint uplink names the interface ens3, which this host does not have"
    assert [(f.check, f.weight) for f in renamed] == [
        (Check.ENDPOINT, Weight.PROBLEM),
        (Check.INTERFACES, Weight.PROBLEM),
    ]
    assert renamed[0].message == f"{message}, and no HostEndpoint governs eth0: {CLOSED}"
    assert renamed[1].message == f"eth0 has the default route and no HostEndpoint: {CLOSED}"

    waiting = ENDPOINT + "---\n" + ENDPOINT.replace("uplink", "vpn").replace("eth0", "wg0")
    assert [(f.message, f.weight) for f in network(waiting, host_of(ETH0))] == [
        ("HostEndpoint vpn names the interface wg0, which this host does not have", Weight.NOTE)
    ]


def test_a_service_that_nobody_reaches_is_noted() -> None:
    """Once it is open to anybody, there is nothing to say."""
    services = HostServices((DATABASE,))
    (closed,) = network(ENDPOINT, host_of(ETH0), services)
    assert (closed.message, closed.weight) == (
        "no packet from the network can reach tcp/5432 postgresql.service",
        Weight.NOTE,
    )

    allowing = ENDPOINT.replace("{name: uplink}", "{name: uplink, labels: {role: web}}") + "---\n" + WEB
    assert network(allowing.replace("[80]", "[5432]"), host_of(ETH0), services) == []


def test_a_published_port_is_noted_with_who_reaches_it() -> None:
    """Ingress policy says who, and nobody does past it; where nothing governs the interface, that is the next step."""
    port = PublishedPort(Family.V4, TCP.number, 80, 0xC0A87A02, 8080, "ip nat", out_interface="virbr0")
    allowing = ENDPOINT.replace("{name: uplink}", "{name: uplink, labels: {role: web}}") + "---\n" + WEB
    what = "another program publishes tcp/80 -> 192.168.122.2:8080 (table ip nat)"

    (closed,) = network(ENDPOINT, host_of(ETH0, BRIDGE), HostServices(published=(port,)))
    (opened,) = network(allowing, host_of(ETH0, BRIDGE), HostServices(published=(port,)))
    found = network(ENDPOINT.replace("eth0", "eth9"), host_of(ETH0, BRIDGE), HostServices(published=(port,)))

    assert (closed.message, closed.next) == (f"{what}: nobody can reach it on eth0 (no policy selects uplink)", "")
    assert opened.message.startswith(f"{what}: 0.0.0.0/0 can reach it on eth0 (web, ")
    assert opened.next == "ingress policy decides who may, as of every port of this host"
    assert {closed.weight, opened.weight} == {Weight.NOTE}
    (ungoverned,) = (one for one in found if one.check is Check.PUBLISHED)
    assert ungoverned.next.startswith("a HostEndpoint for eth0 has policy decide who may")


def test_a_published_port_past_ingress_policy_is_a_problem() -> None:
    """With who reaches it; where policy allows the port as well, it is only noted."""
    port = PublishedPort(Family.V4, TCP.number, 5432, 0xC0A87A02, 5432, "ip nat", out_interface="virbr0")
    theirs = Settings(published_ports=PublishedPorts.THEIRS)
    (found,) = network(ENDPOINT, host_of(ETH0, BRIDGE), HostServices(published=(port,)), theirs)
    assert found.weight is Weight.PROBLEM
    assert found.message == (
        "another program publishes tcp/5432 -> 192.168.122.2:5432 (table ip nat): 0.0.0.0/0 can reach it on eth0 "
        "(no applyOnForward policy denies it), though ingress policy denies the port there (no policy selects uplink)"
    )

    assert found.next.startswith("`publishedPorts: policy` in hostfw.yaml has ingress policy decide")

    open_too = ENDPOINT.replace("spec: {", "spec: {profiles: [projectcalico-default-allow], ")
    (noted,) = network(open_too, host_of(ETH0, BRIDGE), HostServices(published=(port,)), theirs)
    assert (noted.check, noted.weight) == (Check.PUBLISHED, Weight.NOTE)


def test_guests_that_get_no_dhcp_and_dns_are_told_of() -> None:
    """Of a bridge on which a server for them listens and policy closes it."""
    bound = (BoundAddress(Family.V4, None, "virbr0"),)
    dhcp = Listening(UDP.number, 67, bound, "dnsmasq")
    dns = Listening(UDP.number, 53, (BoundAddress(Family.V4, 0xC0A87A01),), "dnsmasq")
    (found, _) = network(ENDPOINT, host_of(ETH0, BRIDGE), HostServices((dhcp, dns)))

    assert (found.check, found.weight) == (Check.BRIDGE, Weight.PROBLEM)
    assert found.message == (
        "guests of the bridge virbr0 get no DHCP and DNS from this host: nobody there reaches udp/53 dnsmasq, "
        "udp/67 dnsmasq (no HostEndpoint)"
    )


def test_br_netfilter_is_noted_where_there_is_a_bridge() -> None:
    """With what it changes for explain."""
    (found,) = network(ENDPOINT, host_of(ETH0, BRIDGE), bridge_filter=True)

    assert (found.check, found.weight) == (Check.BRIDGE, Weight.NOTE)
    assert "--in virbr0 --out virbr0" in found.next
    assert network(ENDPOINT, host_of(ETH0), bridge_filter=True) == []
    assert network(ENDPOINT, host_of(ETH0, BEHIND_IT[0]), settings=GOVERNED, bridge_filter=True) == []


GOVERNED = Settings(workloads=Workloads(bridges=("docker0", "br-*")))
_CALLS = BridgeFacts(calls_ipv4=True, calls_ipv6=True)
BEHIND_IT = (
    Interface("docker0", 3, kind="bridge", bridge=_CALLS, addresses=(net("172.17.0.1/32"),)),
    Interface("br-1", 4, kind="bridge", bridge=_CALLS, addresses=(net("172.18.0.1/32"),)),
    Interface("p-web", 5, master="docker0"),
    Interface("p-shop", 6, master="br-1"),
)


def test_a_published_port_is_reached_from_behind_a_bridge_as_the_workloads_there_may() -> None:
    """By egress policy of the one that sends and ingress policy of the one that it reaches; that is no problem."""
    port = PublishedPort(Family.V4, TCP.number, 5432, 0xAC110002, 5432, "ip nat", out_interface="docker0")
    text = ENDPOINT + "".join(
        "---\napiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\n"
        f"metadata: {{name: {name}}}\nspec: {{orchestrator: docker, interfaceName: p-{name}, "
        f"mac: '02:00:00:00:00:{last}', ipNetworks: [{address}]}}\n"
        for name, last, address in (("web", "11", "172.17.0.2"), ("shop", "12", "172.18.0.2"))
    )
    policy = (
        "---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: web, namespace: default}\n"
        "spec: {selector: name == 'shop', types: [Egress]}\n"
    )
    facts = host_of(ETH0, *BEHIND_IT)

    found = network(text, facts, HostServices(published=(port,)), GOVERNED)
    said = [one for one in found if one.check is Check.PUBLISHED and "br-1" in one.message]
    assert [(one.weight, "172.18.0.2/32 can reach it on br-1" in one.message) for one in said] == [(Weight.NOTE, True)]
    assert said[0].next.startswith("the egress policy of these workloads decides")

    closed = network(
        text.replace("metadata: {name: shop}", "metadata: {name: shop, labels: {name: shop}}") + policy,
        facts,
        HostServices(published=(port,)),
        GOVERNED,
    )
    said = [one for one in closed if one.check is Check.PUBLISHED and "br-1" in one.message]
    assert [(one.weight, "nobody can reach it on br-1" in one.message) for one in said] == [(Weight.NOTE, True)]


def test_a_script_that_a_boot_would_not_load_is_a_problem(tmp_path: Path) -> None:
    """With nft's own first line of why."""
    script = tmp_path / "last-good.nft"
    assert unloadable(script) == ""
    script.write_text("add table ip t\n")
    assert unloadable(script) == ""
    script.write_text("add nonsense\n")
    why = unloadable(script)
    assert "syntax error" in why

    (found,) = (f for f in examine(replace(HEALTHY, unloadable=why)) if f.check is Check.STATE)
    cannot = "since it cannot load /var/lib/hostfw/last-good.nft"
    assert found.message == f"the next boot would enforce the failsafes alone, {cannot}: {why}"


def test_what_a_finding_only_counts_is_beside_it() -> None:
    """The sentence stays one; `-v` and the JSON have the rest."""
    drift = ("chain x is gone", "chain y is gone", "chain z is gone")

    (found,) = (one for one in examine(status(drift=drift)) if one.check is Check.DRIFT)

    assert found.message.endswith("chain x is gone, and 2 more")
    assert found.more == drift[1:]
