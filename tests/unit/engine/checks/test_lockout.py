"""Connections of the baseline that a host would lose, and the reaction."""

from dataclasses import replace
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from hostfw.engine.checks.lost_connections import Lockout, check_lockout, losses
from hostfw.lockout.flows import FlowKind
from hostfw.model.host.baseline import Baseline, Gateway, Lease, LeaseKind, Listener, NameServer, Session
from hostfw.model.plan import Plan
from hostfw.model.resources import GlobalNetworkPolicy, HostEndpoint, Resources
from hostfw.model.settings import (
    Failsafe,
    FailsafePort,
    LockoutCheck,
    Loopback,
    NeighbourDiscovery,
    Settings,
    Unmanaged,
    UnmanagedInterfaces,
)
from hostfw.model.values import TCP, Action, Family
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import (
    ALLOW,
    BOTH,
    EGRESS,
    INGRESS,
    LO,
    facts,
    gnp,
    hep,
    link,
    net,
    rule,
    side,
)

PEER, OTHER, HOST = "203.0.113.9", "203.0.113.77", "10.0.0.1"
HOST6, ROUTER6, SERVER6 = "2001:db8::1", "fe80::1", "fe80::2"
ETH0 = link("eth0", HOST, HOST6, "fe80::9", default_route=True)
FACTS = facts(LO, ETH0)
CLOSED = Settings(failsafe=Failsafe((), ()))
WEB = hep("web", "eth0", line=3)
ALLOW_SSH = rule(Action.ALLOW, TCP, destination=side(ports=(22,)), line=11)
DENY_PEER = rule(Action.DENY, source=side(("203.0.113.0/24",)), line=12)


def cases(table: list[tuple[Any, ...]]) -> list[ParameterSet]:
    """A table whose first column is the name of the case."""
    return [pytest.param(*row[1:], id=row[0]) for row in table]


def value(address: str) -> int:
    """An address as a baseline has it."""
    return net(address).address


def session(peer: str = PEER, port: int = 22, *, own: bool = False, interface: str = "eth0") -> Session:
    """An ssh connection from a peer."""
    family = net(peer).family
    return Session(family, value(peer), 40000, value(HOST if family is Family.V4 else HOST6), port, interface, own)


def plan(
    *policies: GlobalNetworkPolicy, settings: Settings = CLOSED, endpoints: tuple[HostEndpoint, ...] = (WEB,)
) -> Plan:
    """The plan of the host with these policies."""
    resources = Resources(endpoints=endpoints, policies=policies)
    return resolve(resources, settings, FACTS)[0]


SSH = gnp("ssh", ingress=(ALLOW_SSH,), egress=(ALLOW,), types=BOTH)
NO_SSH = gnp(
    "web", ingress=(rule(Action.ALLOW, TCP, destination=side(ports=(443,)), line=20),), egress=(ALLOW,), types=BOTH
)
NO_EGRESS = gnp("quiet", ingress=(ALLOW,), types=BOTH)
DENY_ESTABLISHED = gnp("raw", ingress=(rule(Action.DENY, TCP, line=31),), types=INGRESS, untracked=True)
RAW_SSH = gnp("raw", ingress=(ALLOW_SSH,), types=INGRESS, untracked=True)
RAW_BOTH = gnp(
    "raw", ingress=(ALLOW_SSH,), egress=(rule(Action.ALLOW, TCP, side(ports=(22,))),), types=BOTH, untracked=True
)

OWN = Baseline(sessions=(session(own=True),))
THERE = "203.0.113.9 to port 22 on eth0 would be lost: "
YOURS = f"another ssh connection like yours from {THERE}"
THAT = f"another ssh connection like that from {THERE}"
OPEN = f"your established ssh connection from {THERE}"
CLOSED_WEB = "no policy for ingress selects HostEndpoint web (policy.yaml:3), which closes it"
END_OF_TIER = "no ingress rule in tier default allows it, whose end denies it for HostEndpoint web (policy.yaml:3)"
BY_RAW = "rule 0 (Deny) of default/raw denies it (policy.yaml:31)"
INVALID = "invalid denies it for HostEndpoint web (policy.yaml:3)"
SESSIONS = [
    ("an ingress rule for the port", plan(SSH), OWN, []),
    (
        "no rule for the port",
        plan(NO_SSH),
        OWN,
        [YOURS + END_OF_TIER],
    ),
    (
        "a rule that denies the peer",
        plan(gnp("ban", order=1, ingress=(DENY_PEER,)), SSH),
        Baseline(sessions=(session(),)),
        [f"{THAT}rule 0 (Deny) of default/ban denies it (policy.yaml:12)"],
    ),
    (
        "no policy at all",
        plan(),
        OWN,
        [YOURS + CLOSED_WEB],
    ),
    (
        "no HostEndpoint, and unmanaged interfaces that deny",
        plan(endpoints=()),
        OWN,
        [f"{YOURS}no HostEndpoint governs eth0, and unmanagedInterfaces.ingress is deny"],
    ),
    ("no HostEndpoint, and the failsafe", plan(endpoints=(), settings=Settings()), OWN, []),
    (
        "a failsafe for another port than sshd's",
        plan(settings=Settings()),
        Baseline(sessions=(session(port=2222),)),
        [THAT.replace("22 ", "2222 ") + CLOSED_WEB],
    ),
    (
        "untracked policy that cuts what is established",
        plan(DENY_ESTABLISHED, SSH),
        OWN,
        [
            OPEN + BY_RAW,
            YOURS + BY_RAW,
        ],
    ),
    (
        "untracked policy that lets ssh in and no answer out",
        plan(RAW_SSH, SSH),
        OWN,
        [
            OPEN + INVALID,
            YOURS + INVALID,
        ],
    ),
    ("untracked policy of both directions", plan(RAW_BOTH, SSH), OWN, []),
    ("answers need no egress rule", plan(gnp("in", ingress=(ALLOW_SSH,)), gnp("out", types=EGRESS)), OWN, []),
    ("a session on lo", plan(), Baseline(sessions=(replace(session("127.0.0.1"), interface="lo"),)), []),
    (
        "a session whose interface only the address tells",
        plan(),
        Baseline(sessions=(session(interface=""),)),
        [THAT + CLOSED_WEB],
    ),
    (
        "a session to an address that is not ours",
        plan(),
        Baseline(sessions=(replace(session(interface=""), local=value("10.0.0.2")),)),
        [],
    ),
    (
        "two sessions of one peer, and that of another",
        plan(),
        Baseline(sessions=(session(), replace(session(), peer_port=40001), session(OTHER, own=True))),
        [
            YOURS.replace(PEER, OTHER) + CLOSED_WEB,
            THAT + CLOSED_WEB,
        ],
    ),
]


@pytest.mark.parametrize(("candidate", "baseline", "expected"), cases(SESSIONS))
def test_sessions_must_be_able_to_come_back(candidate: Plan, baseline: Baseline, expected: list[str]) -> None:
    """A new connection like each that is there passes, and so does what is established."""
    assert [str(loss) for loss in losses(candidate, FACTS, baseline)] == expected


OFFICE = gnp("office", ingress=(rule(Action.ALLOW, TCP, side(("192.0.2.0/24",)), side(ports=(22,))),))
SOME = Settings(failsafe=Failsafe((FailsafePort(TCP, 22, net("192.0.2.0/24")),)))
SSHD = Listener(Family.V4, 22)
EVERY = "every ssh connection to sshd on port"
ELSEWHERE = Baseline(listeners=(Listener(Family.V4, 2222),))
BOUND = Baseline(listeners=(Listener(Family.V4, 22, value(HOST)),))
LISTENERS = [
    ("open to all", plan(SSH), Baseline(listeners=(SSHD,)), []),
    ("open to some that a rule names", plan(OFFICE), Baseline(listeners=(SSHD,)), []),
    ("open as a failsafe to some", plan(settings=SOME), Baseline(listeners=(SSHD,)), []),
    ("open to nobody", plan(NO_SSH), Baseline(listeners=(SSHD,)), [f"{EVERY} 22"]),
    (
        "on a port that is no failsafe",
        plan(settings=Settings()),
        Baseline(listeners=(Listener(Family.V4, 2222),)),
        [f"{EVERY} 2222"],
    ),
    (
        "on an address of ours",
        plan(),
        Baseline(listeners=(Listener(Family.V4, 22, value(HOST)),)),
        [f"{EVERY} 22"],
    ),
    ("on lo alone", plan(), Baseline(listeners=(Listener(Family.V4, 22, value("127.0.0.1")),)), []),
    ("told by its sessions", plan(SSH), Baseline(listeners=(SSHD,), sessions=(session(),)), []),
    (
        "open to somebody over one family",
        plan(gnp("v4", ingress=(rule(Action.ALLOW, TCP, side(("192.0.2.0/24",))),))),
        Baseline(listeners=(SSHD, Listener(Family.V6, 22))),
        [],
    ),
    (
        "two servers at two ports",
        plan(),
        Baseline(listeners=(Listener(Family.V6, 22, server="dropbear"), SSHD, Listener(Family.V4, 2222))),
        ["every ssh connection to dropbear and sshd on port 22", f"{EVERY} 2222"],
    ),
]


@pytest.mark.parametrize(("candidate", "baseline", "expected"), cases(LISTENERS))
def test_a_server_without_sessions_must_be_open_to_somebody(
    candidate: Plan, baseline: Baseline, expected: list[str]
) -> None:
    """To whom it is open is the policy's business; to nobody at all is a lock-out."""
    assert [loss.what for loss in losses(candidate, FACTS, baseline)] == expected


POLICED = Settings(failsafe=Failsafe((), ()), neighbour_discovery=NeighbourDiscovery.POLICED)
OPEN_ICMP = gnp("all", ingress=(ALLOW,), egress=(ALLOW,), types=BOTH)
BY_ARP = Baseline(gateways=(Gateway(Family.V4, "eth0", value("10.0.0.254")),))
GATEWAY6 = Baseline(gateways=(Gateway(Family.V6, "eth0", value(ROUTER6)),))
LEASE = Lease(LeaseKind.DHCP, Family.V4, "eth0", value(HOST), value("10.0.0.254"))
LEASE6 = Lease(LeaseKind.DHCP, Family.V6, "eth0", value(HOST6), value(SERVER6))
ADVERTISED = Lease(LeaseKind.ROUTER_ADVERTISEMENT, Family.V6, "eth0", value(HOST6))
ONWARD = Session(Family.V4, value("198.51.100.7"), 22, value(HOST), 50000, "eth0")
RESOLVER = NameServer(Family.V4, value("192.0.2.53"), "eth0")
STUB = NameServer(Family.V4, value("127.0.0.53"), "lo", value("127.0.0.1"))
DISCOVERED = "the gateway fe80::1 on eth0, as neighbour discovery"
KEPT = "the address 2001:db8::1 on eth0, which router advertisements keep"
RENEWED = "the address 10.0.0.1 on eth0, which DHCP renews"
RENEWED6 = "the address 2001:db8::1 on eth0, which DHCPv6 renews"
LEASED, LEASED6 = Baseline(leases=(LEASE,)), Baseline(leases=(LEASE6,))
OUT = gnp("out", egress=(ALLOW,), types=BOTH)
NEEDS = [
    (
        "the gateway by ARP",
        plan(settings=POLICED),
        BY_ARP,
        [],
    ),
    ("a link without a gateway", plan(settings=POLICED), Baseline(gateways=(Gateway(Family.V6, "eth0"),)), []),
    ("neighbour discovery that bypasses policy", plan(), GATEWAY6, []),
    (
        "neighbour discovery that is policed",
        plan(settings=POLICED),
        GATEWAY6,
        [DISCOVERED],
    ),
    ("neighbour discovery that is allowed", plan(OPEN_ICMP, settings=POLICED), GATEWAY6, []),
    ("DHCP out", plan(NO_EGRESS), LEASED, [RENEWED]),
    (
        "DHCP of an unknown server",
        plan(NO_EGRESS),
        Baseline(leases=(replace(LEASE, server=None),)),
        [RENEWED],
    ),
    ("DHCP as a failsafe", plan(NO_EGRESS, settings=Settings()), LEASED, []),
    ("DHCP as its answers come", plan(OUT), LEASED, []),
    (
        "DHCPv6 whose answers are no answers",
        plan(OUT),
        LEASED6,
        [RENEWED6],
    ),
    ("DHCPv6 as a failsafe", plan(NO_EGRESS, settings=Settings()), LEASED6, []),
    (
        "router advertisements",
        plan(settings=POLICED),
        Baseline(leases=(ADVERTISED,)),
        [KEPT],
    ),
    (
        "who uses the host as a jump host",
        plan(NO_EGRESS),
        Baseline(outgoing=(ONWARD,)),
        ["another ssh connection from this host to port 22 of 198.51.100.7 on eth0"],
    ),
    ("a jump host that lets them on", plan(OUT), Baseline(outgoing=(ONWARD,)), []),
    ("a name server", plan(NO_EGRESS), Baseline(name_servers=(RESOLVER,)), ["the name server 192.0.2.53 on eth0"]),
    ("a name server as a failsafe", plan(NO_EGRESS, settings=Settings()), Baseline(name_servers=(RESOLVER,)), []),
    ("a stub on lo", plan(NO_EGRESS), Baseline(name_servers=(STUB,)), []),
    (
        "a stub on a policed lo",
        plan(NO_EGRESS, endpoints=(hep("any", "*"),), settings=replace(CLOSED, loopback=Loopback.POLICED)),
        Baseline(name_servers=(STUB,)),
        ["the name server 127.0.0.53 on lo"],
    ),
]


@pytest.mark.parametrize(("candidate", "baseline", "expected"), cases(NEEDS))
def test_what_a_host_needs_must_pass(candidate: Plan, baseline: Baseline, expected: list[str]) -> None:
    """Gateways, leases and name servers, each by the packets that netfilter sees of it."""
    assert [loss.what for loss in losses(candidate, FACTS, baseline)] == expected


CUT = losses(plan(NO_SSH), FACTS, OWN)
WARNING = replace(CLOSED, lockout_check=LockoutCheck.WARN)
SILENT = replace(CLOSED, lockout_check=LockoutCheck.IGNORE)
JUDGEMENTS = [
    ("nothing is lost", plan(SSH), None, False, Lockout()),
    ("the first generation cuts", plan(NO_SSH), None, False, Lockout(refused=CUT)),
    ("a change cuts", plan(NO_SSH), plan(SSH), False, Lockout(refused=CUT)),
    ("it is lost already", plan(NO_SSH), plan(), False, Lockout(warned=CUT)),
    ("a loss that is accepted", plan(NO_SSH), plan(SSH), True, Lockout(warned=CUT)),
    ("lockoutCheck: warn", plan(NO_SSH, settings=WARNING), plan(SSH), False, Lockout(warned=CUT)),
    ("lockoutCheck: ignore", plan(NO_SSH, settings=SILENT), plan(SSH), False, Lockout()),
]


@pytest.mark.parametrize(("candidate", "present", "accepted", "expected"), cases(JUDGEMENTS))
def test_only_what_a_change_cuts_is_refused(
    candidate: Plan, present: Plan | None, accepted: bool, expected: Lockout
) -> None:
    """Unless the settings or the person say otherwise."""
    assert check_lockout(candidate, present, FACTS, OWN, accepted=accepted) == expected


def test_a_refusal_says_what_why_and_how_to_go_on() -> None:
    """The first loss of all, how many more there are, how to keep it, and how to accept that it goes."""
    baseline = replace(OWN, name_servers=(RESOLVER,))
    lockout = check_lockout(plan(gnp("nothing", types=BOTH)), None, FACTS, baseline)

    refusal = lockout.refusal
    assert refusal is not None
    assert refusal.message == (
        "this would cut the host off: another ssh connection like yours from 203.0.113.9 to port 22 on eth0 would be "
        "lost: no ingress rule in tier default allows it, whose end denies it for HostEndpoint web (policy.yaml:3) "
        "(and 1 more; -v lists them)"
    )
    assert refusal.more == tuple(map(str, lockout.refused[1:]))
    assert refusal.hint == (
        "allow tcp port 22 in an ingress rule, or in failsafe.inbound of hostfw.yaml; "
        "to do it anyway, add --accept-lockout"
    )
    assert Lockout().refusal is None


QUESTIONS = [
    ("ssh", plan(NO_SSH), OWN, "hostfwctl explain 203.0.113.9 10.0.0.1:22/tcp --in eth0 --sport 49152"),
    (
        "ssh over IPv6",
        plan(NO_SSH),
        Baseline(sessions=(session("2001:db8::9"),)),
        "hostfwctl explain 2001:db8::9 [2001:db8::1]:22/tcp --in eth0 --sport 49152",
    ),
    (
        "a name server",
        plan(NO_EGRESS),
        Baseline(name_servers=(RESOLVER,)),
        "hostfwctl explain 10.0.0.1 192.0.2.53:53/udp --out eth0 --sport 49152",
    ),
    (
        "what is established",
        plan(DENY_ESTABLISHED, SSH),
        OWN,
        "hostfwctl explain 203.0.113.9 10.0.0.1:22/tcp --in eth0 --sport 40000 --state established",
    ),
    (
        "neighbour discovery",
        plan(settings=POLICED),
        GATEWAY6,
        "hostfwctl explain fe80::9 fe80::1 --out eth0 --icmp 135 --state untracked",
    ),
]


@pytest.mark.parametrize(("candidate", "baseline", "expected"), cases(QUESTIONS))
def test_a_loss_names_the_command_that_explains_it(candidate: Plan, baseline: Baseline, expected: str) -> None:
    """So that the whole way to the verdict is one paste away."""
    assert losses(candidate, FACTS, baseline)[0].explain == expected


HINTS = [
    (plan(NO_SSH), OWN, "allow tcp port 22 in an ingress rule, or in failsafe.inbound of hostfw.yaml"),
    (
        plan(NO_EGRESS),
        Baseline(name_servers=(RESOLVER,)),
        "allow udp port 53 in an egress rule, or in failsafe.outbound of hostfw.yaml",
    ),
    (plan(DENY_ESTABLISHED), OWN, "allow it in the doNotTrack policy, or make its Deny rule narrower"),
    (
        plan(RAW_SSH, SSH),
        OWN,
        "let a doNotTrack policy allow the answers too (types: [Ingress, Egress]), or track what they answer",
    ),
    (
        plan(settings=POLICED),
        GATEWAY6,
        "say neighbourDiscovery: accept in hostfw.yaml, or allow the ICMPv6 types 133 to 136",
    ),
]


@pytest.mark.parametrize(("candidate", "baseline", "expected"), HINTS)
def test_a_loss_says_how_to_keep_it(candidate: Plan, baseline: Baseline, expected: str) -> None:
    """By a rule, a failsafe, a setting, or another doNotTrack policy."""
    assert losses(candidate, FACTS, baseline)[0].hint == expected


def test_what_is_lost_is_listed_by_what_matters_most() -> None:
    """One's own session first, the name servers last."""
    baseline = Baseline(
        sessions=(session(OTHER), session(own=True)),
        outgoing=(ONWARD,),
        listeners=(Listener(Family.V4, 2222),),
        gateways=GATEWAY6.gateways,
        leases=(LEASE,),
        name_servers=(RESOLVER,),
    )

    assert [loss.kind for loss in losses(plan(gnp("shut", types=BOTH), settings=POLICED), FACTS, baseline)] == [
        FlowKind.OWN_SESSION,
        FlowKind.SSH_SESSION,
        FlowKind.SSH_OUTGOING,
        FlowKind.SSH_SERVER,
        FlowKind.GATEWAY,
        FlowKind.LEASE,
        FlowKind.NAME_SERVER,
    ]


def test_unmanaged_egress_that_is_denied_says_so() -> None:
    """The setting decides where no HostEndpoint does."""
    settings = replace(CLOSED, unmanaged_interfaces=UnmanagedInterfaces(Unmanaged.ALLOW, Unmanaged.DENY))
    found = losses(plan(endpoints=(), settings=settings), FACTS, Baseline(name_servers=(RESOLVER,)))

    assert [loss.decided_by for loss in found] == [
        "no HostEndpoint governs eth0, and unmanagedInterfaces.egress is deny"
    ]
