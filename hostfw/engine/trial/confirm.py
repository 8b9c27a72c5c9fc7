"""Proof that the host can be reached: a new connection from another host that the new generation allowed.

An established connection passes every generation, so only one that was made after the switch proves anything. It is
found by its socket: that of the ssh server above the process that asks, held against the sockets noted at the switch. A
connection that met no policy proves nothing either: one from the host to itself comes in over lo, and one through a
tunnel says nothing about the packets that carry the tunnel.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from hostfw.engine.checks.lost_connections import decided_by
from hostfw.explain.verdict import explain
from hostfw.host.network.sockets.sockets import TcpSocket
from hostfw.host.process.processes import Ancestor
from hostfw.lockout.ssh_packets import session_packet
from hostfw.model.host.baseline import SSH_SERVERS, Session
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.packets.packet import ConntrackState
from hostfw.model.plan import Plan
from hostfw.model.values import address_text, host_cidr

_ON_PURPOSE = "to confirm anyway, run `hostfwctl confirm --console`"
_FROM_OUTSIDE = (
    "run it in an ssh connection that comes straight from another host, over an interface that policy governs; "
    f"if you know that one can be made, {_ON_PURPOSE}"
)
_TUNNELS = frozenset(
    {
        *("tun", "wireguard", "ovpn", "ipip", "ip6tnl", "sit", "gre", "gretap", "ip6gre", "ip6gretap", "erspan"),
        *("ip6erspan", "vti", "vti6", "xfrm", "vxlan", "geneve", "gtp", "bareudp", "fou", "amt"),
    }
)
"""IFLA_INFO_KIND of what comes packed into other packets."""
_ELSEWHERE = f"run it in a new ssh connection, outside of tmux and screen; on a console {_ON_PURPOSE}"


@dataclass(frozen=True, slots=True)
class Objection:
    """The reason why a confirmation does not count, and what to do."""

    message: str
    hint: str


def objection(
    ancestors: Iterable[Ancestor], sockets: Iterable[TcpSocket], noted: Collection[int] | None
) -> Objection | None:
    """Find a reason against a confirmation; None if it comes through a connection that is newer than the switch.

    `noted` are the cookies of the connections that were there at the switch, None if that is not known. What cannot
    be told is an objection.
    """
    if noted is None:
        return Objection(
            "which connections were there before the change was not noted, so yours proves nothing",
            f"if it was made after the change, {_ON_PURPOSE}",
        )
    cookies = {socket.inode: socket.cookie for socket in sockets}
    servers = _servers(ancestors)
    for server in servers:
        if server.sockets is None:
            return Objection(f"the connection of {server.name} (pid {server.pid}) cannot be looked at", _ELSEWHERE)
        # Port forwarding opens connections of its own within an old session: all must be newer than the switch.
        held = {cookies[inode] for inode in server.sockets & cookies.keys()}
        if held & set(noted):
            return Objection(
                "this ssh connection was there before the change, which does not touch established connections",
                f"run it in a new ssh connection; if you know that one can be made, {_ON_PURPOSE}",
            )
        if held:
            return None
    if servers:
        return Objection("the ssh server above this process holds no TCP connection in this network", _ELSEWHERE)
    return Objection("this is no ssh session, so it does not prove that the host can still be reached", _ELSEWHERE)


def proving_sockets(ancestors: Iterable[Ancestor], sockets: Iterable[TcpSocket]) -> frozenset[int]:
    """The inodes of the sockets that a confirmation relies on: those of the nearest ssh server with any connection."""
    connected = {socket.inode for socket in sockets}
    held = (server.sockets & connected for server in _servers(ancestors) if server.sockets is not None)
    return frozenset(next((some for some in held if some), ()))


def unproven(sessions: Collection[Session], plan: Plan, facts: HostFacts) -> Objection | None:
    """Find a reason why connections prove nothing; None if the plan allows each of them as a new connection."""
    if not sessions:
        return Objection("it is unknown how the ssh connection of this process came in", _FROM_OUTSIDE)
    found = (_doubt(session, plan, facts) for session in sessions)
    doubt = next((doubt for doubt in found if doubt), None)
    return None if doubt is None else Objection(doubt, _FROM_OUTSIDE)


def _doubt(session: Session, plan: Plan, facts: HostFacts) -> str:
    """The reason why a connection proves nothing, empty if it does prove something."""
    peer, interface = address_text(session.family, session.peer), session.interface
    own = host_cidr(session.family, session.peer)
    if interface == LOOPBACK or any(own in one.addresses for one in facts.interfaces):
        return f"this ssh connection comes from the host itself ({peer}), so no policy was applied to it"
    if not interface:
        return f"there is no route to {peer}, so it is unknown how this ssh connection came in"
    known = facts.interface(interface)
    if known is not None and known.kind in _TUNNELS:
        return (
            f"this ssh connection comes through {interface}, a tunnel ({known.kind}), "
            "and the packets that carry it may have been let in before the change"
        )
    if plan.governing()(interface) is None:
        return f"this ssh connection comes over {interface}, which no HostEndpoint governs"
    judged = explain(plan, session_packet(session, interface, facts, ConntrackState.NEW, session.peer_port))
    if judged.allowed:
        return ""
    why = decided_by(plan, judged.decided_by)
    return f"another ssh connection like this one from {peer} on {interface} is denied: {why}"


def _servers(ancestors: Iterable[Ancestor]) -> list[Ancestor]:
    return [ancestor for ancestor in ancestors if ancestor.name in SSH_SERVERS and ancestor.trusted]
