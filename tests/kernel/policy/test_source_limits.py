"""Limits of a rule for each source: who is beyond one, what that leaves alone, and what a full set does."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import loads
from subprocess import CompletedProcess

import pytest

from hostfw.compile.layout.nft_rules.source_limits import MOST_SOURCES
from hostfw.model.values import Family
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import open_socket, run
from lab.packets.packet_records import drop_log
from tests.kernel.web_policy import ETH0

Hostfwctl = Callable[..., CompletedProcess[str]]

_PORT = 8022
_AT_ONCE = 3
_POLICY = f"""\
{ETH0}\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: login}}
spec:
  ingress:
    - action: Allow
      protocol: TCP
      destination: {{ports: [{_PORT}]}}
      limitPerSource: {{newConnections: {_AT_ONCE}/hour}}
"""
_SOCKETS = {Family.V4: socket.AF_INET, Family.V6: socket.AF_INET6}
_HOST = {Family.V4: "192.0.2.1", Family.V6: "2001:db8::1"}
_GUESSING = {Family.V4: "192.0.2.2", Family.V6: "2001:db8::2"}
_NEIGHBOUR = {Family.V4: "192.0.2.66", Family.V6: "2001:db8:0:66::9"}
_ANOTHER = {Family.V4: "192.0.2.67", Family.V6: "2001:db8:0:67::9"}
_OF_ONE_NETWORK = "2001:db8::66"
_WAIT_S = 0.6


@pytest.fixture
def peers(lab: Lab) -> Lab:
    """A neighbour with several addresses, of IPv6 in several networks."""
    for text in (*_NEIGHBOUR.values(), *_ANOTHER.values(), _OF_ONE_NETWORK):
        is_v6 = ":" in text
        whole = f"{text}/{128 if is_v6 else 32}"
        run(lab["peer"], ["ip", "address", "add", whole, "dev", "eth0", *(["nodad"] if is_v6 else [])])
        run(lab["host"], ["ip", f"-{6 if is_v6 else 4}", "route", "replace", whole, "dev", "eth0"])
    return lab


@contextmanager
def _listening(lab: Lab, family: Family) -> Iterator[socket.socket]:
    with open_socket(lab["host"], _SOCKETS[family], socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST[family], _PORT))
        listener.listen(64)
        yield listener


def _connected(lab: Lab, family: Family, source: str) -> socket.socket | None:
    """A connection from an address of the neighbour; None where it comes to none. It sends one packet at most."""
    one = open_socket(lab["peer"], _SOCKETS[family], socket.SOCK_STREAM)
    one.settimeout(_WAIT_S)
    one.bind((source, 0))
    try:
        one.connect((_HOST[family], _PORT))
    except TimeoutError:
        one.close()
        return None
    return one


def _connects(lab: Lab, family: Family, source: str) -> bool:
    one = _connected(lab, family, source)
    if one is not None:
        one.close()
    return one is not None


def _denied(hostfwctl: Hostfwctl, reason: str) -> int:
    """The packets that the limits of rules have denied for a reason."""
    rules = loads(hostfwctl("counters", "-o", "json").stdout)["rules"]
    return sum(rule["packets"] for rule in rules if rule["reason"] == reason)


@pytest.mark.parametrize("family", list(_SOCKETS))
def test_who_begins_too_many_connections_is_denied_and_nobody_else(
    peers: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family
) -> None:
    """Each source by itself, a /64 of IPv6 together; what is established goes on, and what is denied is logged."""
    (installation.config / "policy.yaml").write_text(_POLICY)
    hostfwctl("apply")
    with _listening(peers, family) as listener, drop_log(installation) as log:
        first = _connected(peers, family, _GUESSING[family])
        assert first is not None
        server, _ = listener.accept()
        assert [_connects(peers, family, _GUESSING[family]) for _ in range(_AT_ONCE)] == [True, True, False]
        if family is Family.V6:
            assert not _connects(peers, family, _OF_ONE_NETWORK)
        denied = _denied(hostfwctl, "over-limit")
        assert denied == (2 if family is Family.V6 else 1)
        assert {event.by for event in log.denials()} == {"default/login ingress[0] (over-limit)"}
        assert {event.origin.rpartition(":")[2] for event in log.denials()} == {"11"}

        assert _connects(peers, family, _NEIGHBOUR[family])
        for _ in range(2 * _AT_ONCE):
            first.sendall(b"on")
            assert server.recv(9) == b"on"
        assert _denied(hostfwctl, "over-limit") == denied
        first.close()
        server.close()


@pytest.mark.parametrize("family", list(_SOCKETS))
def test_a_limit_lives_through_an_apply_and_is_no_damage(
    peers: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family
) -> None:
    """The sources in the set are neither drift nor lost when another rule comes; a changed limit begins anew."""
    policy = installation.config / "policy.yaml"
    policy.write_text(_POLICY)
    hostfwctl("apply")
    with _listening(peers, family):
        assert [_connects(peers, family, _GUESSING[family]) for _ in range(_AT_ONCE + 1)] == [True, True, True, False]
        assert "drift" not in hostfwctl("status").stdout

        policy.write_text(_POLICY.replace("  ingress:\n", "  ingress:\n    - {action: Allow, protocol: SCTP}\n"))
        hostfwctl("apply")
        assert not _connects(peers, family, _GUESSING[family])

        policy.write_text(_POLICY.replace(f"{_AT_ONCE}/hour", "4/hour"))
        hostfwctl("apply")
        assert _connects(peers, family, _GUESSING[family])
        assert "drift" not in hostfwctl("status").stdout


@pytest.mark.parametrize("family", list(_SOCKETS))
def test_sources_that_no_room_is_left_for_share_the_limit_of_one(
    peers: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family
) -> None:
    """A full set opens to nobody and is told: who is in it keeps a limit of its own, the others have one together."""
    (installation.config / "policy.yaml").write_text(_POLICY)
    hostfwctl("apply")
    with _listening(peers, family), drop_log(installation) as log:
        assert _connects(peers, family, _GUESSING[family])
        _fill(peers, family)
        shared = [_connects(peers, family, _NEIGHBOUR[family]) for _ in range(_AT_ONCE)]
        assert shared == [True] * _AT_ONCE
        assert not _connects(peers, family, _ANOTHER[family])
        assert _denied(hostfwctl, "limit-full") == 1
        assert {event.by for event in log.denials()} == {"default/login ingress[0] (limit-full)"}

        assert [_connects(peers, family, _GUESSING[family]) for _ in range(_AT_ONCE)] == [True, True, False]
        assert _denied(hostfwctl, "over-limit") == 1


@pytest.mark.parametrize("family", list(_SOCKETS))
def test_who_has_too_many_connections_begins_one_when_another_has_ended(
    peers: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family
) -> None:
    """Each source by itself, and what is beyond takes nothing of the rate beside it; a full set is shared."""
    limit = f"newConnections: {_AT_ONCE + 3}/hour, maxConnections: {_AT_ONCE}"
    (installation.config / "policy.yaml").write_text(_POLICY.replace(f"newConnections: {_AT_ONCE}/hour", limit))
    hostfwctl("apply")
    with _listening(peers, family) as listener, drop_log(installation) as log:
        held = [_connected(peers, family, _GUESSING[family]) for _ in range(_AT_ONCE)]
        servers = [listener.accept()[0] for _ in held]
        assert [_connects(peers, family, _GUESSING[family]) for _ in range(4)] == [False] * 4
        assert _connects(peers, family, _NEIGHBOUR[family])
        assert {event.by for event in log.denials()} == {"default/login ingress[0] (over-limit)"}
        assert "drift" not in hostfwctl("status").stdout

        for ended in (held.pop(), servers.pop()):
            assert ended is not None
            ended.close()
        assert [_connects(peers, family, _GUESSING[family]) for _ in range(2)] == [True, False]
        hostfwctl("apply")
        assert not _connects(peers, family, _GUESSING[family])
        for one in (*held, *servers):
            assert one is not None
            one.close()


@pytest.mark.parametrize("family", list(_SOCKETS))
def test_connections_at_a_time_of_sources_without_room_are_counted_together(
    peers: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family
) -> None:
    """A set with room for one gives the others no more than one source has, and forgets who has no connection left.

    The kernel takes sources without a connection out of a set within a second, so no set stays filled by hand.
    """
    policy = _POLICY.replace(f"newConnections: {_AT_ONCE}/hour", f"maxConnections: {_AT_ONCE}")
    (installation.config / "policy.yaml").write_text(policy)
    hostfwctl("apply")
    ruleset = run(peers["host"], ["nft", "list", "ruleset"]).stdout
    run(peers["host"], ["nft", "-f", "-"], text=f"flush ruleset\n{ruleset.replace(f'size {MOST_SOURCES}', 'size 1')}")
    with _listening(peers, family) as listener:
        first = _connected(peers, family, _GUESSING[family])
        held = [_connected(peers, family, source[family]) for source in (_NEIGHBOUR, _ANOTHER, _NEIGHBOUR)]
        assert first is not None
        assert None not in held
        assert not _connects(peers, family, _ANOTHER[family])
        assert _denied(hostfwctl, "limit-full") == 1

        for one in (first, listener.accept()[0]):
            one.close()
        assert any(_connects(peers, family, _ANOTHER[family]) for _ in range(20))
        for other in held:
            assert other is not None
            other.close()


def _fill(lab: Lab, family: Family) -> None:
    """Have the set of the limit take sources until it is full."""
    table = f"{family.nft} hostfw"
    listed = run(lab["host"], ["nft", "--json", "--terse", "list", "sets", family.nft]).stdout
    names = [item["set"]["name"] for item in loads(listed)["nftables"] if "set" in item]
    name = next(name for name in names if name.startswith("limit/") and not name.endswith("/shared"))
    first = "fd00:" if family is Family.V6 else "10."
    sources = (
        f"{first}:{number:x}:0:0:0" if family is Family.V6 else f"{first}1.{number >> 8}.{number & 255}"
        for number in range(1, MOST_SOURCES)
    )
    elements = ", ".join(f"{source} timeout 1h" for source in sources)
    run(lab["host"], ["nft", "-f", "-"], text=f"add element {table} {name} {{ {elements} }}")
