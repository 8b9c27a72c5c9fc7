"""Whether who confirms has reached the host through a connection that the new generation let in.

An established connection passes every generation, so only one that was made after the switch proves anything. It is
found by its socket: that of the ssh server above the process that asks, held against the sockets noted at the switch.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from hostfw.host.processes import Ancestor
from hostfw.host.sockets import TcpSocket
from hostfw.model.evidence import SSH_SERVERS

_ON_PURPOSE = "`hostfwctl confirm --console` confirms nevertheless"
_ELSEWHERE = f"run it in a new ssh connection, outside of tmux and screen; on a console {_ON_PURPOSE}"


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a confirmation does not count, and what to do."""

    message: str
    hint: str


def objection(
    ancestors: Iterable[Ancestor], sockets: Iterable[TcpSocket], noted: Collection[int] | None
) -> Objection | None:
    """What speaks against a confirmation; None if it comes through a connection that is newer than the switch.

    `noted` are the cookies of the connections that were there at the switch, None if that is not known. What cannot
    be told is an objection.
    """
    if noted is None:
        return Objection(
            "which connections were there before the change was not noted, so yours proves nothing",
            f"if it was made after the change, {_ON_PURPOSE}",
        )
    cookies = {socket.inode: socket.cookie for socket in sockets}
    servers = [ancestor for ancestor in ancestors if ancestor.name in SSH_SERVERS]
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
    return Objection("this is no ssh session, so that nothing shows that the host can still be reached", _ELSEWHERE)
