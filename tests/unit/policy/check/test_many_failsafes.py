"""Hundreds of failsafe ports: what is said of them is what is said of each, and no policy costs a look at each."""

from collections.abc import Callable
from random import Random

import pytest

from hostfw.model.resources import GlobalNetworkPolicy, HostEndpoint, Resources, Rule
from hostfw.model.settings import Failsafe, FailsafePort, Settings
from hostfw.model.values import TCP, UDP, Action, Direction
from hostfw.policy.check import failsafe_warnings, port_index
from hostfw.policy.check.warnings import lint
from tests.unit.builders.policy_builders import gnp, gns, hep, net, rule, side
from tests.unit.timing import calls_of

NETS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.0/24", "127.0.0.0/8", "2001:db8::/32", "2001:db8:1::/48")
PORTS = (22, 53, 80, 123, (20, 60), (1, 65535), "ssh")
SELECTORS = ("kind == 'near'", "kind == 'far'", "has(kind)", "has(nothing)")
ENDPOINT: HostEndpoint = hep("web", labels={"role": "web"})


def _failsafes(random: Random, count: int) -> tuple[FailsafePort, ...]:
    def one() -> FailsafePort:
        nets = None if random.random() < 0.3 else net(random.choice(NETS))
        return FailsafePort(random.choice((TCP, UDP)), random.choice((22, 53, 80, 123, 443)), nets)

    return tuple(dict.fromkeys(one() for _ in range(count)))


def _rule(random: Random) -> Rule:
    peers = side(
        nets=tuple(random.sample(NETS, random.choice((0, 0, 1, 2)))),
        not_nets=tuple(random.sample(NETS, random.choice((0, 0, 0, 1)))),
        selector=random.choice((None, None, *SELECTORS)),
        ports=tuple(random.sample(PORTS, random.choice((0, 0, 0, 1)))),
    )
    other = side(ports=tuple(random.sample(PORTS, random.choice((0, 1, 1, 2)))))
    ends = (peers, other) if random.random() < 0.7 else (other, peers)
    action = random.choice((Action.ALLOW, Action.DENY, Action.DENY, Action.PASS, Action.LOG))
    return rule(action, random.choice((None, TCP, UDP)), *ends, line=random.randrange(1, 99))


def _policy(random: Random, number: int) -> GlobalNetworkPolicy:
    ingress, egress = (tuple(_rule(random) for _ in range(random.choice((1, 2, 4)))) for _ in Direction)
    untracked = random.random() < 0.2
    return gnp(f"p{number}", order=number, ingress=ingress, egress=egress, types=tuple(Direction), untracked=untracked)


@pytest.mark.parametrize("seed", range(40))
def test_many_ports_are_told_as_few_are(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few are asked about one by one; many are looked up by what the rules name."""
    random = Random(seed)
    settings = Settings(failsafe=Failsafe(_failsafes(random, 24), _failsafes(random, 24)))
    resources = Resources(
        endpoints=(ENDPOINT,),
        policies=tuple(_policy(random, number) for number in range(6)),
        network_sets=(
            gns("near", "10.1.2.0/24", "192.0.2.0/24", labels={"kind": "near"}),
            gns("far", "2001:db8:1::/48", labels={"kind": "far"}),
        ),
    )
    told = []
    for few in (1_000, 1):
        for module in (port_index, failsafe_warnings):
            monkeypatch.setattr(module, "FEW", few)
        told.append(sorted(map(str, lint(resources, settings))))

    assert told[0] == told[1]
    assert seed or told[0]


def _deny_a_net(number: int) -> GlobalNetworkPolicy:
    return gnp(f"p{number}", ingress=(rule(Action.DENY, source=side((f"172.16.{number % 250}.0/24",))),))


def _deny_a_port(number: int) -> GlobalNetworkPolicy:
    return gnp(f"p{number}", ingress=(rule(Action.DENY, TCP, destination=side(ports=(2000 + number,))),))


def _untracked(number: int) -> GlobalNetworkPolicy:
    denial = rule(Action.DENY, destination=side((f"172.16.{number % 250}.0/24",)))
    return gnp(f"p{number}", egress=(denial,), types=(Direction.EGRESS,), untracked=True)


def _allow_a_port(number: int) -> GlobalNetworkPolicy:
    return gnp(f"p{number}", ingress=(rule(Action.ALLOW, TCP, destination=side(ports=(2000 + number,))),))


@pytest.mark.parametrize(
    ("policy", "narrow"),
    [
        (_deny_a_net, True),
        (_deny_a_port, True),
        (_deny_a_port, False),
        (_allow_a_port, True),
        (_allow_a_port, False),
        (_untracked, True),
    ],
)
def test_policies_do_not_look_at_every_port(policy: Callable[[int], GlobalNetworkPolicy], *, narrow: bool) -> None:
    """Twice the policies and ports are about twice the work, unless each policy is about every port and names it."""

    def work(count: int) -> int:
        ports = tuple(
            FailsafePort(TCP, 22, net(f"10.{n // 250}.{n % 250}.0/24")) if narrow else FailsafePort(TCP, 4000 + n)
            for n in range(count)
        )
        settings = Settings(failsafe=Failsafe(ports, ports))
        resources = Resources(endpoints=(ENDPOINT,), policies=tuple(map(policy, range(count))))
        return calls_of(lambda: lint(resources, settings))

    few, many = work(100), work(200)

    assert many < 2.6 * few, (few, many)
