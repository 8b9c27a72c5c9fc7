"""A confirmation counts only through a connection that is newer than the switch, and that policy let in."""

import pytest

from hostfw.engine.trial.confirm import objection, proving_sockets, unproven
from hostfw.host.network.sockets.sockets import TcpSocket
from hostfw.host.process.processes import Ancestor
from hostfw.model.host.baseline import Session
from hostfw.model.plan import Plan
from hostfw.model.resources import GlobalNetworkPolicy, HostEndpoint, Resources
from hostfw.model.settings import Failsafe, Settings
from hostfw.model.values import TCP, Action
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import LO, facts, gnp, hep, link, net, rule, side

SHELL = Ancestor(90, "bash", frozenset({7}))
SUDO = Ancestor(95, "sudo", frozenset({8}))
LISTENER = Ancestor(10, "sshd", frozenset({1}))
SOCKETS = (TcpSocket(100, 20), TcpSocket(101, 21), TcpSocket(102, 22))

_NOT_NOTED = "which connections were there before the change was not noted, so yours proves nothing"
_OLD = "this ssh connection was there before the change, which does not touch established connections"
_NO_SSH = "this is no ssh session, so it does not prove that the host can still be reached"
_NO_CONNECTION = "the ssh server above this process holds no TCP connection in this network"
_NOT_SEEN = "the connection of sshd (pid 50) cannot be looked at"


def sshd(*inodes: int, name: str = "sshd") -> Ancestor:
    """An ssh server with these sockets."""
    return Ancestor(50, name, frozenset(inodes))


CASES = [
    ("a new session", (SHELL, sshd(20), LISTENER), {101}, None),
    ("a new session under sudo", (SUDO, SUDO, SHELL, sshd(20), sshd(20), LISTENER), {101}, None),
    ("a new session of OpenSSH 9.8", (SHELL, sshd(20, name="sshd-session"), LISTENER), {101}, None),
    ("a new session of Dropbear", (SHELL, sshd(20, name="dropbear")), set(), None),
    ("an old session", (SHELL, sshd(20), LISTENER), {100}, _OLD),
    ("an old session with a port forwarded since", (SHELL, sshd(20, 21)), {100}, _OLD),
    ("a new session with a port forwarded", (SHELL, sshd(20, 21)), {102}, None),
    ("a new session at a server that an old one started", (SHELL, sshd(20), SHELL, sshd(21)), {101}, None),
    ("an old one at a server that a new one started", (SHELL, sshd(21), SHELL, sshd(20)), {101}, _OLD),
    ("no ssh server above, as in tmux", (SHELL, Ancestor(1, "systemd", frozenset())), set(), _NO_SSH),
    ("nothing above", (), set(), _NO_SSH),
    ("a program that is called like one", (Ancestor(9, "sshd-like", frozenset({20})),), set(), _NO_SSH),
    ("a server without a connection", (SHELL, LISTENER), set(), _NO_CONNECTION),
    ("a server in another network", (SHELL, sshd(99)), set(), _NO_CONNECTION),
    (
        "a server that may not be looked at",
        (SHELL, Ancestor(50, "sshd", None)),
        set(),
        "the connection of sshd (pid 50)",
    ),
    ("connections that were not noted", (SHELL, sshd(20)), None, _NOT_NOTED),
]


@pytest.mark.parametrize(("ancestors", "noted", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_only_a_newer_connection_counts(
    ancestors: tuple[Ancestor, ...], noted: set[int] | None, expected: str | None
) -> None:
    """Older and unknown connections are objections, with the next step."""
    found = objection(ancestors, SOCKETS, noted)

    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.message.startswith(expected)
        assert "to confirm anyway, run `hostfwctl confirm --console`" in found.hint


PEER, HERE, AWAY = "203.0.113.9", "192.0.2.1", "198.51.100.1"
FACTS = facts(
    LO,
    link("eth0", HERE, "2001:db8::1"),
    link("eth1", AWAY),
    link("wg0", "10.9.0.1", kind="wireguard"),
    link("tun0", kind="tun"),
)
CLOSED = Settings(failsafe=Failsafe((), ()))
SSH = gnp("ssh", ingress=(rule(Action.ALLOW, TCP, source=side((f"{PEER}/32",)), destination=side(ports=(22,))),))


def planned(*endpoints: HostEndpoint, policy: GlobalNetworkPolicy = SSH) -> Plan:
    """A plan without failsafes."""
    plan, _ = resolve(Resources(policies=(policy,), endpoints=endpoints), CLOSED, FACTS)
    return plan


def came(peer: str, interface: str = "eth0") -> Session:
    """A connection to port 22."""
    cidr = net(peer)
    return Session(cidr.family, cidr.address, 40000, net(HERE).address, 22, interface, own=True)


ONE, ALL = (hep("web", "eth0"),), (hep("web", "*"),)
PROOFS = [
    ("let in by a rule", ONE, (came(PEER),), None),
    ("let in by a rule of the wildcard", ALL, (came(PEER, "eth1"),), None),
    ("over lo", ALL, (came("127.0.0.1", "lo"),), "this ssh connection comes from the host itself (127.0.0.1)"),
    ("over lo of IPv6", ONE, (came("::1", "lo"),), "this ssh connection comes from the host itself (::1)"),
    ("from an address of its own", ONE, (came(HERE, "lo"),), "this ssh connection comes from the host itself"),
    ("from one at another interface", ALL, (came(AWAY, "eth1"),), "this ssh connection comes from the host itself"),
    ("through WireGuard", ALL, (came(PEER, "wg0"),), "this ssh connection comes through wg0, a tunnel (wireguard)"),
    ("through a VPN", ALL, (came(PEER, "tun0"),), "this ssh connection comes through tun0, a tunnel (tun)"),
    ("over an interface that nobody governs", ONE, (came(PEER, "eth1"),), "this ssh connection comes over eth1, which"),
    ("without a way back", ONE, (came(PEER, ""),), f"there is no route to {PEER}"),
    (
        "denied as a new one",
        ONE,
        (came("203.0.113.10"),),
        "another ssh connection like this one from 203.0.113.10 on eth0 is denied: no ingress rule in tier default",
    ),
    (
        "one of two over lo",
        ONE,
        (came(PEER), came("127.0.0.1", "lo")),
        "this ssh connection comes from the host itself",
    ),
    ("unknown", ONE, (), "it is unknown how the ssh connection of this process came in"),
]


@pytest.mark.parametrize(("endpoints", "sessions", "expected"), [c[1:] for c in PROOFS], ids=[c[0] for c in PROOFS])
def test_only_what_policy_has_judged_as_new_is_a_proof(
    endpoints: tuple[HostEndpoint, ...], sessions: tuple[Session, ...], expected: str | None
) -> None:
    """From somewhere else, over an interface that is governed, and not packed into what was there before."""
    found = unproven(sessions, planned(*endpoints), FACTS)

    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.message.startswith(expected)
        assert "to confirm anyway, run `hostfwctl confirm --console`" in found.hint


def test_the_proof_is_the_connection_of_the_nearest_server() -> None:
    """One that has any, and whose name can be believed."""
    fake = Ancestor(40, "sshd", frozenset({22}), trusted=False)

    assert proving_sockets((SHELL, fake, LISTENER, sshd(20, 99), sshd(21)), SOCKETS) == {20}
    assert proving_sockets((SHELL, fake), SOCKETS) == frozenset()


def test_a_name_that_anybody_may_have_is_no_server() -> None:
    """A user's program that is called sshd."""
    found = objection((SHELL, Ancestor(40, "sshd", frozenset({21}), trusted=False)), SOCKETS, {100})

    assert found is not None
    assert found.message == _NO_SSH
