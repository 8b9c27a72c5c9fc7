# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Policy in the simple form of other roles: ports, and who may reach them."""

from __future__ import annotations

import ipaddress
import re

NAME = "inventory-allow"
_FIELDS = frozenset(("port", "ports", "protocol", "proto", "from", "comment", "name"))
_PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
_RANGE = re.compile(r"(\d+)[-:](\d+)$")
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_]*$")
_MOST = 65535


class AllowError(Exception):
    """Entries of hostfw_allow that say nothing that can be allowed; a line each."""


def joined(lists):
    """The entries of several variables."""
    if not all(isinstance(one, (list, tuple)) for one in lists):
        raise AllowError("hostfw_allow and hostfw_allow_... are lists of ports")
    return [entry for one in lists for entry in one]


def policies(entries, order, group_label_prefix="group/"):
    """The GlobalNetworkPolicies of entries, a list of one or none.

    An entry has `port` or `ports` (numbers, or ranges as 8000-8010), `protocol` (tcp unless it says udp or sctp), and
    `from`: addresses, prefixes and names of groups of the inventory, whose hosts are meant; everybody, if it is not
    there. Every mistake is raised at once, as an AllowError.
    """
    tried = [_tried(place, entry, group_label_prefix) for place, entry in enumerate(entries)]
    rules = [rule for found in tried for rule in found[0]]
    problems = [problem for found in tried for problem in found[1]]
    if problems:
        raise AllowError("\n".join(problems))
    if not rules:
        return []
    spec = {"order": order, "selector": "all()", "types": ["Ingress"], "ingress": rules}
    return [
        {
            "apiVersion": "projectcalico.org/v3",
            "kind": "GlobalNetworkPolicy",
            "metadata": {"name": NAME},
            "spec": spec,
        }
    ]


def _tried(place, entry, prefix):
    try:
        return _rules(entry, prefix), []
    except AllowError as error:
        return [], [f"hostfw_allow[{place}]: {error}"]


def _rules(entry, prefix):
    if not isinstance(entry, dict):
        raise AllowError("it is not a mapping with `port` and `from`")
    unknown = sorted(set(entry) - _FIELDS)
    if unknown:
        raise AllowError("it has no {}; it may have {}".format(unknown[0], ", ".join(sorted(_FIELDS))))
    said = str(entry.get("protocol", entry.get("proto", "tcp"))).lower()
    if said not in _PROTOCOLS:
        raise AllowError("{} is not a protocol with ports; it may be {}".format(said, ", ".join(sorted(_PROTOCOLS))))
    if "from" not in entry:
        return [_rule(entry, said, {})]
    sources = entry["from"] if isinstance(entry["from"], (list, tuple)) else [entry["from"]]
    if None in sources:
        raise AllowError("`from` is empty: leave it out to allow everybody, or write [] for nobody")
    # An empty list is nobody: what was computed as empty must not open the port to everybody.
    _ports(entry)
    nets, groups = {4: [], 6: []}, []
    for source in map(str, sources):
        net = _net(source)
        if net is not None:
            nets[net.version].append(str(net))
        elif _GROUP.match(source):
            groups.append(source)
        else:
            raise AllowError(f"{source} is neither an address, a prefix nor the name of a group")
    found = [_rule(entry, said, {"source": {"nets": nets[version]}}) for version in (4, 6) if nets[version]]
    if groups:
        selector = " || ".join(f"has({prefix}{group})" for group in groups)
        found.append(_rule(entry, said, {"source": {"selector": selector}}))
    return found


def _rule(entry, protocol, source):
    """One rule; it shares nothing with others, which a YAML writer would make an alias of."""
    return {"action": "Allow", "protocol": _PROTOCOLS[protocol], **source, "destination": {"ports": _ports(entry)}}


def _ports(entry):
    said = entry.get("ports", entry.get("port"))
    if said is None:
        raise AllowError("it names no port")
    ports = [_port(port) for port in (said if isinstance(said, (list, tuple)) else [said])]
    if not ports:
        raise AllowError("it names no port")
    return ports


def _port(said):
    text = str(said).strip()
    match = _RANGE.match(text)
    bounds = [int(bound) for bound in match.groups()] if match else [int(text)] if text.isdigit() else []
    if not bounds or isinstance(said, bool) or bounds != sorted(bounds) or not all(0 < one <= _MOST for one in bounds):
        raise AllowError(f"{said} is neither a port nor a range of ports such as 8000-8010")
    return f"{bounds[0]}:{bounds[1]}" if match else bounds[0]


def _net(text):
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
