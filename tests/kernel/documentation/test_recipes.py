"""The recipes of the documentation with real packets: what their tables say passes or is denied, and by what."""

import os
import re
import shlex
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce
from ipaddress import ip_address
from pathlib import Path

import pytest

from hostfw.model.values import Family
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab, laboratory
from lab.namespace import inside, open_socket, run
from lab.packets.packet_records import counters, counters_that_decide, drop_log, moved
from lab.packets.probe import Sent
from lab.stories.story import in_force, show
from lab.topology import Link
from tests.kernel.cli.exposed_hosts import listening
from tests.kernel.documentation.test_documentation import INCOMPLETE, ended_well
from tests.unit.project.documentation import ROOT, typed
from tests.unit.project.recipes import Recipe, Row, recipes

ALL = {recipe.name: recipe for recipe in recipes()}
PATIENCE_S = 0.5
CLAMPED_MTU = 1420
_ANY = {Family.V4: "0.0.0.0", Family.V6: "::"}
_FAMILY = {Family.V4: socket.AF_INET, Family.V6: socket.AF_INET6}


@contextmanager
def _standing(recipe: Recipe, directory: Path) -> Iterator[tuple[Lab, Installation]]:
    """The machines of a recipe with its own table, and its files on the host, which are not in force yet."""
    with laboratory(recipe.topology) as lab:
        run(lab[recipe.host], ["nft", "-f", "-"], text=recipe.foreign)
        installation = install(lab[recipe.host], directory)
        recipe.write(installation.config)
        yield lab, installation


@pytest.mark.parametrize("name", ALL)
def test_packets_between_machines_go_as_the_table_says(name: str, tmp_path: Path) -> None:
    """The verdict is the expected one, and the log record or the counter names what was to decide."""
    recipe = ALL[name]
    story = recipe.story(tmp_path / "story")
    with in_force(story, tmp_path / "hostfw", recipe.foreign) as (lab, installation):
        shown = show(story, lab, installation)

    assert [str(each) for each in shown if not each.as_expected] == []
    assert len(shown) > 3


COMMANDS = {
    name: lines
    for name in ALL
    if (
        lines := [
            each.words
            for each in typed()
            if each.page == f"docs/recipes/{name}.md" and each.words not in INCOMPLETE and each.words[0] != "confirm"
        ]
    )
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_of_a_recipe_do_something(name: str, tmp_path: Path) -> None:
    """On its host, once its files are in force; each ends well."""
    with _standing(ALL[name], tmp_path) as (_, installation):
        hostfwctl(installation, "apply", "--accept-lockout")
        ended = {line: ended_well(installation, line) for line in COMMANDS[name]}

    assert {" ".join(line): said for line, said in ended.items() if said} == {}


# --------------------------------------------------------------------------- groups, broadcasts and other protocols


def _to_groups(recipe: Recipe) -> list[Row]:
    """The rows that go to nobody's address, or have a protocol without ports of its own."""
    return [
        row
        for row in recipe.rows
        if row.destination and (row.destination.is_multicast or row.destination.packed == b"\xff" * 4)
    ]


@pytest.mark.parametrize("name", [name for name, recipe in ALL.items() if _to_groups(recipe)])
def test_packets_to_groups_go_as_the_table_says(name: str, tmp_path: Path) -> None:
    """Each arrives without the ruleset; with it, those that are to pass, and evidence names what decided."""
    recipe = ALL[name]
    rows = _to_groups(recipe)
    with _standing(recipe, tmp_path) as (lab, installation):
        astray = [str(row) for row in rows if _arrival(recipe, lab, row)[0] is not True]
        hostfwctl(installation, "apply", "--accept-lockout")
        deciders = counters_that_decide(installation)
        found: dict[str, tuple[bool, str]] = {}
        with drop_log(installation) as log:
            for row in rows:
                before = counters(installation.node)
                arrived, sent = _arrival(recipe, lab, row)
                way = "ingress" if row.source else "egress"
                of_this_way = {name: by for name, by in deciders.items() if way in by}
                passed = moved(before, counters(installation.node), of_this_way, row.family)
                found[str(row)] = arrived, passed if arrived else log.denier(sent)

    assert astray == []
    assert found == {str(row): (row.allowed, row.by) for row in rows}


def _arrival(recipe: Recipe, lab: Lab, row: Row) -> tuple[bool, Sent]:
    """Send the packet of a row, with a listener that is in the group, and say whether it arrived."""
    assert row.destination is not None
    sender = recipe.node_of(row.source)
    link = recipe.link_towards(row.source or row.destination)
    (receiver,) = {recipe.host} if row.source else {_neighbour(recipe, link)}
    nonce = os.urandom(16)
    kind = socket.SOCK_RAW if row.port is None else socket.SOCK_DGRAM
    protocol = row.protocol if row.port is None else 0
    with ExitStack() as stack:
        ends = [
            stack.enter_context(open_socket(lab[node], _FAMILY[row.family], kind, protocol))
            for node in (sender, receiver)
        ]
        ours, theirs = ends
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if row.port is not None:
            theirs.bind((_ANY[row.family], row.port))
        _join(lab, receiver, theirs, row, _own_link(recipe, receiver, link))
        theirs.settimeout(PATIENCE_S)
        source = str(row.source) if row.source else _first(recipe, recipe.host, row.family)
        ours.bind((source, 0))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _own_link(recipe, sender, link).name.encode())
        ours.sendto(nonce, (str(row.destination), row.port or 0))
        port = 0 if row.port is None else ours.getsockname()[1]
        sent = Sent(row.family, row.protocol, source, port, str(row.destination), row.port)
        return _hears(theirs, nonce), sent


def _hears(listener: socket.socket, nonce: bytes) -> bool:
    try:
        while nonce not in listener.recv(2048):
            pass
    except TimeoutError:
        return False
    return True


def _join(lab: Lab, node: str, listener: socket.socket, row: Row, link: Link) -> None:
    assert row.destination is not None
    if not row.destination.is_multicast:
        return
    with inside(lab[node]):
        index = socket.if_nametoindex(link.name)
    if row.family is Family.V6:
        group = row.destination.packed + index.to_bytes(4, "little")
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    else:
        group = row.destination.packed + bytes(4) + index.to_bytes(4, "little")
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)


def _neighbour(recipe: Recipe, link: Link) -> str:
    """Another machine on the wire of a link of the host."""
    return next(
        node.name
        for node in recipe.topology.nodes
        if node.name != recipe.host and any(each.network == link.network for each in node.links)
    )


def _own_link(recipe: Recipe, node: str, link: Link) -> Link:
    """The link of a machine that is on the same wire as a link of the host, or behind its bridge."""
    host = recipe.topology.node(recipe.host)
    if node == recipe.host:
        return link
    wires = {link.network} | {port.network for port in host.links if port.master == link.name}
    return next(each for each in recipe.topology.node(node).links if each.network in wires)


def _first(recipe: Recipe, node: str, family: Family) -> str:
    return str(recipe.topology.node(node).addresses(family)[0].ip)


# ------------------------------------------------------------------------------------------- what else the pages say


def test_the_ports_that_the_router_sends_on_are_open_as_its_table_says(tmp_path: Path) -> None:
    """Both lead to the server without policy; with it one does, and the masquerading of the inside works on."""
    recipe = ALL["nat-router"]
    rows = {row.port: row.allowed for row in recipe.rows if row.port in recipe.sent_on and recipe.is_for_host(row)}
    address = _first(recipe, recipe.host, Family.V4)
    with _standing(recipe, tmp_path) as (lab, installation), listening(lab, "server", [("192.168.1.80", 443)]):
        before = {port: _connects(lab, "stranger", address, port) for port in rows if port}
        hostfwctl(installation, "apply", "--accept-lockout")
        after = {port: _connects(lab, "stranger", address, port) for port in rows if port}
        said = hostfwctl(installation, "exposure").stdout

    assert before == {443: True, 8443: True}
    assert after == rows
    assert "8443" in said


def _connects(lab: Lab, node: str, address: str, port: int) -> bool:
    with open_socket(lab[node], socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE_S)
        try:
            client.connect((address, port))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("family", list(Family), ids=["IPv4", "IPv6"])
def test_a_helper_opens_the_port_that_a_server_names_and_no_other(family: Family, tmp_path: Path) -> None:
    """To the client that it is named to, in the conversation at port 21; without the table it stays closed."""
    recipe = ALL["nfs-ftp"]
    server, client = recipe.host, recipe.node_of(ip_address("10.20.0.5"))
    address, own = _first(recipe, server, family), _first(recipe, client, family)
    named, other = 41001, 41002
    with _standing(recipe, tmp_path) as (lab, installation):
        hostfwctl(installation, "apply", "--accept-lockout")
        with ExitStack() as stack:
            control, *_ = (_listener(stack, lab, server, address, port, family) for port in (21, named, other))
            with _told(lab, client, (address, 21), control, _passive(family, address, named)):
                with_helper = {port: _reaches(lab, client, own, (address, port), family) for port in (named, other)}
            run(lab[server], ["nft", "delete table inet helpers"])
            with _told(lab, client, (address, 21), control, _passive(family, address, named)):
                without = _reaches(lab, client, own, (address, named), family)

    assert with_helper == {named: True, other: False}
    assert not without


def _passive(family: Family, address: str, port: int) -> bytes:
    """The line by which an FTP server names a port (RFC 959, RFC 2428)."""
    if family is Family.V6:
        return f"229 Entering Extended Passive Mode (|||{port}|)\r\n".encode()
    return f"227 Entering Passive Mode ({address.replace('.', ',')},{port // 256},{port % 256}).\r\n".encode()


def _listener(stack: ExitStack, lab: Lab, node: str, address: str, port: int, family: Family) -> socket.socket:
    made = stack.enter_context(open_socket(lab[node], _FAMILY[family], socket.SOCK_STREAM))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    made.listen()
    return made


@contextmanager
def _told(lab: Lab, client: str, server: tuple[str, int], listener: socket.socket, line: bytes) -> Iterator[None]:
    """A conversation in which the client asks for a port, and is told one, for the length of the block."""
    with open_socket(lab[client], listener.family, socket.SOCK_STREAM) as asking:
        asking.settimeout(5)
        asking.connect(server)
        answering, _ = listener.accept()
        with answering:
            # The kernel reads from the second line on: every server greets first.
            answering.sendall(b"220 ready\r\n")
            assert asking.recv(128)
            asking.sendall(b"EPSV\r\n" if b"229" in line else b"PASV\r\n")
            assert answering.recv(64)
            answering.sendall(line)
            assert asking.recv(128) == line
            yield


def _reaches(lab: Lab, node: str, own: str, server: tuple[str, int], family: Family) -> bool:
    with open_socket(lab[node], _FAMILY[family], socket.SOCK_STREAM) as trying:
        trying.settimeout(PATIENCE_S)
        trying.bind((own, 0))
        try:
            trying.connect(server)
        except OSError:
            return False
        return True


@pytest.mark.parametrize("clamps", [True, False])
def test_the_table_of_the_gateway_clamps_segments_to_the_tunnel(clamps: bool, tmp_path: Path) -> None:
    """A segment of a client fits the tunnel, as it does not without the table; its address is translated."""
    recipe = ALL["wireguard"]
    headers = 20 + 20 + 12
    with _standing(recipe, tmp_path) as (lab, installation):
        run(lab["host"], ["ip", "link", "set", "wg0", "mtu", str(CLAMPED_MTU)])
        if not clamps:
            run(lab["host"], ["nft", "flush chain inet gateway forward"])
        hostfwctl(installation, "apply", "--accept-lockout")
        with (
            open_socket(lab["stranger"], socket.AF_INET, socket.SOCK_STREAM) as server,
            open_socket(lab["phone"], socket.AF_INET, socket.SOCK_STREAM) as client,
        ):
            server.bind(("198.51.100.9", 443))
            server.listen()
            client.settimeout(5)
            client.connect(("198.51.100.9", 443))
            accepted, (peer, _) = server.accept()
            accepted.close()
            segment = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)

    assert peer == "203.0.113.10"
    assert segment == (CLAMPED_MTU if clamps else 1500) - headers


def test_the_action_of_fail2ban_denies_an_address_and_lets_it_in_again(tmp_path: Path) -> None:
    """The commands of the packaged action, with what fail2ban puts into them; nobody else is denied."""
    recipe = ALL["mail"]
    packaged = (ROOT / "units/fail2ban-action.conf").read_text()
    address = _first(recipe, recipe.host, Family.V4)
    banned = {"<ip>": "198.51.100.9", "<set>": "fail2ban", "<bantime>": "600"}
    with _standing(recipe, tmp_path) as (lab, installation), listening(lab, "host", [("0.0.0.0", 993)]):
        hostfwctl(installation, "apply", "--accept-lockout")
        reached = [_connects(lab, "stranger", address, 993)]
        for action in ("actionban", "actionunban"):
            command = re.search(rf"^{action} = .*?hostfwctl (.*?)(;.*)?$", packaged, re.MULTILINE)
            assert command
            words = [reduce(lambda text, pair: text.replace(*pair), banned.items(), w) for w in shlex.split(command[1])]
            hostfwctl(installation, *words, "--accept-lockout")
            reached += [_connects(lab, "stranger", address, 993)]
        others = _connects(lab, "office", address, 993)

    assert (reached, others) == ([True, False, True], True)
