"""Bridges whose ports are workloads: what is between their ports meets the hooks of IPv4 and IPv6.

The kernel has a flag for each bridge (`nf_call_iptables`, `nf_call_ip6tables`) beside the sysctl for all of them, which
is left alone. What a bridge had before is noted in the run directory, which ends with the boot as bridges do, and put
back once no setting names it.
"""

import errno
import os
from collections.abc import Collection
from pathlib import Path

from hostfw.host.errors import HostError
from hostfw.host.netlink.messages import NETLINK_ROUTE, NetlinkSocket
from hostfw.host.netlink.rtnetlink import Link, read_bridges, set_bridge_calls
from hostfw.host.workloads.noted_bridges import Calls, note_bridges, noted_bridges
from hostfw.model.host.facts import BridgeFacts


def filter_bridges(run_dir: Path, names: Collection[str]) -> None:
    """Let what is between the ports of these bridges meet the hooks of IPv4 and IPv6. Raises HostError.

    A bridge that is gone needs nothing. What each had before is noted first.
    """
    if not names:
        return
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        links = [link for link in read_bridges(sock) if link.name in names]
        open_ = {link.index: link for link in links if not (link.bridge or BridgeFacts()).is_filtered}
        if not open_:
            return
        noted = noted_bridges(run_dir)
        note_bridges(run_dir, {**{link.name: _calls(link) for link in open_.values()}, **noted})
        failed = set_bridge_calls(sock, dict.fromkeys(open_, (True, True)))
    for index, answer in failed.items():
        if answer != errno.ENODEV:
            why = os.strerror(answer)
            raise HostError(
                f"packets between the ports of {open_[index].name} would meet no policy: nf_call_iptables cannot be "
                f"set: {why}",
                "this needs root, or CAP_NET_ADMIN, and the kernel module br_netfilter",
            )


def release_bridges(run_dir: Path, but: Collection[str]) -> tuple[str, ...]:
    """Give all bridges that were let meet the hooks, but these, what they had before; gives their names.

    Raises HostError.
    """
    noted = noted_bridges(run_dir)
    going = {name: calls for name, calls in noted.items() if name not in but}
    if not going:
        return ()
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        there = {link.index: link.name for link in read_bridges(sock) if link.name in going}
        failed = set_bridge_calls(sock, {index: going[name] for index, name in there.items()})
    if any(answer != errno.ENODEV for answer in failed.values()):
        names = ", ".join(sorted(there.values()))
        raise HostError(f"nf_call_iptables of {names} cannot be put back", "this needs root, or CAP_NET_ADMIN")
    note_bridges(run_dir, {name: calls for name, calls in noted.items() if name in but})
    return tuple(sorted(there.values()))


def _calls(link: Link) -> Calls:
    bridge = link.bridge or BridgeFacts()
    return bridge.calls_ipv4, bridge.calls_ipv6
