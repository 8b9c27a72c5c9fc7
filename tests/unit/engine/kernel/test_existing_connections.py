"""Connections that are older than the ruleset, around the switch to it: which become known, and of which it is said."""

import json
from pathlib import Path

import pytest

from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.deploy.existing_connections import relearn
from hostfw.host.errors import HostError
from hostfw.host.network.sockets.sockets import Connection, ConnectionState
from hostfw.model.values import TCP, UDP, Family, parse_address
from hostfw.policy.resolve.plan import resolve
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

ROUTED = WEB.replace("order: 10", "order: 10\n  applyOnForward: true")
"""The policy that lets port 80 in, for forwarded packets as well."""


def connection(port: int, cookie: int = 1, protocol: int = TCP.number) -> Connection:
    """A connection that a peer has made to a local port."""
    ends = [parse_address(text) for text in ("203.0.113.9", "192.0.2.1")]
    peer, local = (end[1] for end in ends if end is not None)
    return Connection(
        Family.V4, protocol, peer, 40_000, local, port, inbound=True, state=ConnectionState.ESTABLISHED, cookie=cookie
    )


SSH, HTTP, DNS, NTP = connection(22), connection(80, 2), connection(53, 3, UDP.number), connection(123, 4, UDP.number)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host with connections, whose policy lets nothing in but TCP to port 80."""
    made = machine(tmp_path, monkeypatch)
    made.write(hostfw="node: web1\nfailsafe: none\n", uplink=UPLINK, web=WEB)
    made.conntrack.sockets = [SSH, HTTP, DNS]
    return made


def test_the_first_generation_makes_all_of_them_known(host: Machine) -> None:
    """Whatever policy says of a new one, as of what was established before any other change."""
    applied = host.hostfwctl("apply")

    assert applied.status == 0
    assert host.conntrack.entries == [SSH, HTTP, DNS]
    assert "stand still" not in applied.err
    assert host.clock.elapsed_s == 0.0


def test_a_later_generation_makes_known_what_policy_allows(host: Machine) -> None:
    """Connections that were forgotten, by a flush or on purpose, are made known again."""
    host.hostfwctl("apply")
    host.conntrack.entries.clear()

    host.hostfwctl("reload")

    assert host.conntrack.entries == [HTTP]


def test_what_the_boot_has_let_in_is_not_known_better(host: Machine) -> None:
    """A socket of UDP may have sent nothing but what the ruleset denies; TCP has been answered."""
    host.hostfwctl("apply")
    host.conntrack.entries.clear()
    (host.directory / "run" / "generation.json").unlink()

    host.hostfwctl("apply")

    assert host.conntrack.entries == [SSH, HTTP]


def test_one_that_ends_meanwhile_leaves_no_entry(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one forgotten that begins meanwhile."""
    there = iter([[SSH, HTTP], [HTTP, NTP], [HTTP, NTP]])
    monkeypatch.setattr(type(host.conntrack), "connections", lambda _: tuple(next(there, [HTTP, NTP])))

    host.hostfwctl("apply")

    assert host.conntrack.entries == [HTTP, NTP]


def test_an_entry_that_was_there_is_left(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connection tracking ends by itself what it has tracked."""
    host.conntrack.entries = [SSH]
    there = iter([[SSH], []])
    monkeypatch.setattr(type(host.conntrack), "connections", lambda _: tuple(next(there, [])))

    host.hostfwctl("apply")

    assert host.conntrack.entries == [SSH]


def test_a_full_table_is_told(host: Machine) -> None:
    """The generation comes into force nevertheless."""
    host.conntrack.full = True

    applied = host.hostfwctl("apply")

    assert applied.status == 0
    assert "3 connections from before may stand still until the peer sends something: the table is full" in " ".join(
        applied.err.split()
    )


@pytest.mark.parametrize(("web", "forwarding", "watched"), [(WEB, True, 0), (ROUTED, False, 0), (ROUTED, True, 2)])
def test_forwarded_flows_are_watched_first(host: Machine, web: str, forwarding: bool, watched: float) -> None:
    """Only where the host forwards and policy judges forwarded packets, and before the first generation."""
    host.conntrack.forwarding = forwarding
    host.write(web=web)

    host.hostfwctl("apply")
    host.hostfwctl("apply")

    assert host.clock.elapsed_s == watched
    assert json.loads(host.hostfwctl("status", "-o", "json").out)["inForce"]


def test_what_was_heard_of_is_looked_at_first(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be more connections than there is time for, and of most of them nobody needs anything."""
    host.hostfwctl("apply")
    accepted = Engine(Directories(*(host.directory / name for name in ("etc", "var", "run"))), host.host()).accepted()
    assert accepted is not None
    plan, _ = resolve(accepted.resources, accepted.settings, host.facts)
    late = connection(80, 9)
    host.conntrack.sockets = [HTTP, late]
    host.conntrack.entries.clear()
    monkeypatch.setattr("hostfw.engine.kernel.deploy.existing_connections.JUDGE_S", -1)

    assert relearn(host.host(), plan, {late.cookie}) == (late,)


def test_nothing_is_made_known_by_a_plan_of_before(host: Machine) -> None:
    """An interface that the plan does not know yet is not one that it leaves open."""
    host.hostfwctl("apply")
    accepted = Engine(Directories(*(host.directory / name for name in ("etc", "var", "run"))), host.host()).accepted()
    assert accepted is not None
    plan, _ = resolve(accepted.resources, accepted.settings, host.facts)
    host.conntrack.sockets = [HTTP]
    host.conntrack.entries.clear()

    with pytest.raises(HostError, match="interfaces have changed"):
        relearn(host.host(), plan, is_current=lambda: False)
    assert not host.conntrack.entries
    assert relearn(host.host(), plan, is_current=lambda: True) == (HTTP,)
