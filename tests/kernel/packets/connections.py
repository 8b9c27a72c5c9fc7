"""New connections of the neighbour, as packets of policy meet them."""

import socket

from lab.laboratory import Lab
from lab.namespace import inside


def admits(lab: Lab, port: int) -> bool:
    """True if a new connection of the neighbour is let in; a refusal by a port on which nobody listens is an answer."""
    with inside(lab["peer"]), socket.socket() as client:
        client.settimeout(0.3)
        try:
            client.connect(("192.0.2.1", port))
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
        return True
