"""Ssh behind destination NAT of other programs, judged by the port that the peer knows."""

from dataclasses import replace

import pytest

from hostfw.engine.checks.lost_connections import losses
from hostfw.engine.trial.confirm import unproven
from hostfw.model.host.baseline import Baseline, Listener
from hostfw.model.host.services import PublishedPort
from hostfw.model.plan import Plan
from hostfw.model.resources import GlobalNetworkPolicy
from hostfw.model.settings import PublishedPorts, Settings
from hostfw.model.values import TCP, Action, Family
from tests.unit.builders.policy_builders import ALLOW, BOTH, gnp, rule, side
from tests.unit.engine.checks.test_lockout import ALLOW_SSH, CLOSED, FACTS, HOST, cases, plan, session, value

OUTER = gnp("outer", ingress=(rule(Action.ALLOW, TCP, destination=side(ports=(2222,))),), egress=(ALLOW,), types=BOTH)
INNER = gnp("inner", ingress=(ALLOW_SSH,), egress=(ALLOW,), types=BOTH)
THROUGH = replace(session(), original=(value(HOST), 2222))
MINE = Baseline(sessions=(THROUGH,))
THEIRS = replace(CLOSED, published_ports=PublishedPorts.THEIRS)
REDIRECT = PublishedPort(Family.V4, TCP.number, 2222, 0, 22, "ip theirs", local=True)
AWAY = replace(REDIRECT, port=22, target_port=80)
SESSIONS = [
    ("the outer port is open", plan(OUTER), MINE, []),
    ("the inner port is open", plan(INNER), MINE, ["allow tcp port 2222 in an ingress rule"]),
    ("the other program judges, the inner port is open", plan(INNER, settings=THEIRS), MINE, []),
    (
        "the other program judges, the inner port is closed",
        plan(OUTER, settings=THEIRS),
        MINE,
        ["allow tcp port 22 in an ingress rule"],
    ),
    ("no HostEndpoint, and the failsafe of the inner port", plan(endpoints=(), settings=Settings()), MINE, []),
    (
        "an address that is not of the host, which passes through it to a proxy",
        plan(INNER),
        Baseline(sessions=(replace(THROUGH, original=(value("198.51.100.1"), 2222)),)),
        [],
    ),
]


@pytest.mark.parametrize(("candidate", "baseline", "hints"), cases(SESSIONS))
def test_sessions_are_judged_by_the_port_that_the_peer_used(
    candidate: Plan, baseline: Baseline, hints: list[str]
) -> None:
    """Unless the program that publishes it judges, or no HostEndpoint does."""
    found = losses(candidate, FACTS, baseline)

    assert [loss.hint.split(",")[0] for loss in found] == hints


WAYS = [
    ("the outer port alone", OUTER, (REDIRECT,), True),
    ("the inner port alone", INNER, (REDIRECT,), True),
    ("the outer port, which may be translated or not", OUTER, (replace(REDIRECT, certain=False),), True),
    ("the outer port, translated elsewhere first", OUTER, (replace(REDIRECT, target_port=80), REDIRECT), False),
    ("the outer port on another interface", OUTER, (replace(REDIRECT, interfaces=("eth9",)),), False),
    ("the outer port of the other family", OUTER, (replace(REDIRECT, family=Family.V6),), False),
    ("no port, whatever policy says, since the only one leads elsewhere", OUTER, (AWAY,), True),
    ("the inner port, which may lead elsewhere", INNER, (replace(AWAY, certain=False),), True),
    ("the outer port, to a container", OUTER, (replace(REDIRECT, local=False, target=1, out_interface="br0"),), False),
]


@pytest.mark.parametrize(("policy", "published", "is_open"), [pytest.param(*row[1:], id=row[0]) for row in WAYS])
def test_a_server_is_open_if_one_way_to_it_is(
    policy: GlobalNetworkPolicy, published: tuple[PublishedPort, ...], is_open: bool
) -> None:
    """Directly, or through a port that leads to it."""
    baseline = Baseline(listeners=(Listener(Family.V4, 22),), published=published)

    found = losses(plan(policy), FACTS, baseline)

    assert (not found) is is_open


def test_a_server_on_loopback_may_be_published() -> None:
    """Nobody reaches it otherwise."""
    listener = Listener(Family.V4, 22, value("127.0.0.1"))
    baseline = Baseline(listeners=(listener,), published=(replace(REDIRECT, target=value("127.0.0.1")),))

    assert losses(plan(OUTER), FACTS, baseline) == ()
    assert [loss.what for loss in losses(plan(INNER), FACTS, baseline)] == [
        "every ssh connection to sshd on port 22 or through port 2222"
    ]


def test_a_confirmation_is_proven_by_the_port_that_it_came_in_by() -> None:
    """A policy that lets 2222 in let this session in, whatever port its server is at."""
    assert unproven((THROUGH,), plan(OUTER), FACTS) is None
    assert unproven((THROUGH,), plan(INNER), FACTS) is not None
