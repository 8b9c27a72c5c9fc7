# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Arithmetic of a rollout: its order and batches, the deadline that a batch fits into, and the hosts it may miss."""

from __future__ import annotations

import re

_JUMP = re.compile(r"(?:-J\s*|ProxyJump[=\s]+)[\"']?([^\s\"']+)")
_PROXY = re.compile(r"ProxyCommand[=\s]+[\"']?(ssh\b[^\"']*)")
_SSH_ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args")
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOopQRSWw")
"""Options of ssh(1) that take a value."""
_SSH_PORT = 22
_OTHER_FAILSAFES = ("udp:68", "udp:546")
"""The inbound failsafe ports of hostfw besides ssh: DHCP's."""


class RolloutError(Exception):
    """A number of a rollout that cannot be what it says."""


def share(text, of):
    """A number of hosts: `text` is one, or a percentage of `of`, which is rounded down."""
    said = str(text).strip()
    number = said[:-1] if said.endswith("%") else said
    if not number.isdigit():
        raise RolloutError(f"{text} is neither a number of hosts nor a percentage")
    return of * int(number) // 100 if said.endswith("%") else int(number)


def batches(serial, hosts, most):
    """The sizes of the batches that `hosts` hosts come in: those of `serial`, the last one again, none above `most`.

    As with Ansible's `serial` a percentage is one of all hosts, and at least one host.
    """
    if most < 1:
        raise RolloutError(f"a batch has at least one host, not {most}")
    steps = list(serial) if isinstance(serial, (list, tuple)) else [serial]
    found, left, step = [], hosts, 0
    while left > 0:
        size = min(max(share(steps[step], hosts), 1), left) if steps else left
        found.extend([most] * (size // most) + ([size % most] if size % most else []))
        left -= size
        step = min(step + 1, len(steps) - 1)
    return found


def deadline_s(batch, forks, within_s, wave_s):
    """The seconds until a change of a batch goes back: each of its hosts can be confirmed by then.

    Ansible does a task on `forks` hosts at a time. `within_s` is what one such wave has, `wave_s` what each further
    one adds.
    """
    waves = -(-max(batch, 1) // max(forks, 1))
    return within_s + (waves - 1) * wave_s


def seen(hosts):
    """The names of hosts by what came of reaching them: reached, lost, and refused with the reason of each.

    `hosts` are the variables of each. A host that cannot run a module is lost like one that does not answer. `why` are
    the reasons for which hosts are lost, each with their names.
    """
    found = {"reached": [], "lost": [], "refused": [], "why": []}
    by_reason = {}
    for host in hosts:
        result = host.get("hostfw_reached") or {}
        if result.get("refused"):
            found["refused"].append("{}: {}".format(_name(host), result.get("msg")))
        if "staging" in result or result.get("refused"):
            found["reached"].append(_name(host))
        else:
            found["lost"].append(_name(host))
            by_reason.setdefault(str(result.get("msg") or "").strip(), []).append(_name(host))
    found["why"] = ["{}: {}".format(", ".join(names), reason) for reason, names in by_reason.items() if reason]
    return found


def behind(hosts, variables):
    """The hosts that cannot keep what they have in force until it is confirmed.

    Those that can have said so of their latest attempt; what they said of an earlier one does not count.
    """
    return [host for host in hosts if not _could_keep(variables[host])]


def _could_keep(variables):
    attempt = (variables.get("hostfw_applied") or {}).get("attempt")
    return bool(attempt) and variables.get("hostfw_could_keep") == attempt


def jump_hosts(hosts, variables):
    """The jump hosts among `hosts`, each with those behind it, as the ssh arguments of the inventory say.

    `variables` maps each host to its variables. A list in `hostfw_jump_hosts` of a host names what ssh's own
    configuration files say.
    """
    names = {}
    for host in hosts:
        names[host] = host
        address = variables[host].get("ansible_host")
        if address:
            names.setdefault(str(address), host)
    found = {}
    for host in hosts:
        for way in _ways(variables[host]):
            jump = names.get(way)
            if jump is not None and jump != host:
                found.setdefault(jump, []).append(host)
    return found


def _ways(variables):
    """The names of hosts that ssh goes through."""
    said = variables.get("hostfw_jump_hosts")
    if said is not None:
        return [said] if isinstance(said, str) else list(said)
    text = " ".join(str(variables.get(name) or "") for name in _SSH_ARGUMENTS)
    ways = [_bare(one) for found in _JUMP.findall(text) for one in found.split(",")]
    for command in _PROXY.findall(text):
        words, skip = command.split()[1:], False
        for word in words:
            if skip:
                skip = False
            elif word.startswith("-"):
                skip = len(word) == 2 and word[1] in _WITH_VALUE
            else:
                ways.append(_bare(word))
                break
    return ways


def _bare(destination):
    """The host in [user@]host[:port], or in ssh://[user@]host[:port]."""
    host = destination.rpartition("/")[2].rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def in_order(hosts, jump):
    """Hosts in the order of a rollout: jump hosts last, of two on one way the outer one after the inner."""
    depth = {}

    def outer(host, seen=()):
        """The number of jump hosts behind this one, on the longest way."""
        if host not in depth:
            behind = [one for one in jump.get(host, ()) if one not in seen]
            depth[host] = 1 + max([outer(one, (*seen, host)) for one in behind], default=0) if host in jump else 0
        return depth[host]

    return sorted(hosts, key=outer)


def with_ssh(settings, ports):
    """Settings with sshd's ports among the failsafe ports, unless they say these themselves.

    hostfw's own failsafe ports have ssh's 22, and stay.
    """
    said = settings.get("failsafe")
    others = [port for port in ports if port != _SSH_PORT]
    if not others or settings.get("compatibility") is not None:
        return settings
    if said is not None and (not isinstance(said, dict) or "inbound" in said):
        return settings
    inbound = [f"tcp:{port}" for port in [_SSH_PORT, *others]] + list(_OTHER_FAILSAFES)
    return {**settings, "failsafe": {**(said or {}), "inbound": inbound}}


def report(hosts, left_out):
    """One line a host: what it runs at the end of a rollout. `hosts` are the variables of each."""
    lines = [_line(host) for host in sorted(hosts, key=_name)]
    lines.extend(f"{host:<24} left out, since it could not be reached" for host in sorted(left_out))
    return "".join(line + "\n" for line in lines)


def failures(hosts, stopped_by):
    """The reasons why a rollout has failed, empty if it has not; each reason once, with the hosts that gave it."""
    hosts = sorted(hosts, key=_name)
    lines = []
    if stopped_by:
        lines.append("stopped by {}:".format(", ".join(stopped_by)))
        lines.extend(_reasons(hosts, "hostfw_rollout_failure", "{reason}"))
        told = {_name(host) for host in hosts if host.get("hostfw_rollout_failure")}
        lost = [host for host in stopped_by if host not in told]
        if lost:
            lines.append(f"Ansible could not reach what it needed for: {', '.join(lost)}")
    lines.extend(_reasons(hosts, "hostfw_rollout_not_back", "{hosts} did not go back: {reason}"))
    lines.extend(_reasons(hosts, "hostfw_rollout_not_retired", "{hosts}: other firewalls are not retired: {reason}"))
    if not stopped_by:
        lost = [_name(host) for host in hosts if not _reported(host)]
        if lost:
            lines.append("could not be reached for the report: {}".format(", ".join(lost)))
        others = [_name(host) for host in hosts if _is_of_another(host)]
        if others:
            lines.append(
                "changed by something else meanwhile, and not what this run put there: {}".format(", ".join(others))
            )
    return "\n".join(lines)


def _reasons(hosts, variable, form):
    by_reason = {}
    for host in hosts:
        if host.get(variable):
            by_reason.setdefault(str(host.get(variable)), []).append(_name(host))
    return [form.format(reason=reason, hosts=", ".join(names)) for reason, names in by_reason.items()]


def _line(host):
    info = _reported(host)
    if not info:
        return f"{_name(host):<24} could not be reached: what it runs is not known"
    if info.get("installed") is False:
        return f"{_name(host):<24} hostfw is not installed"
    if not info["in_force"] and not _is_of_another(host):
        return f"{_name(host):<24} no rules of hostfw are in force"
    agrees = "as its files say" if info["agrees"] else "not as its files say"
    configuration, generation = info["configuration"][:12] or "-", info["generation"] or "-"
    changed = ", changed by something else meanwhile" if _is_of_another(host) else ""
    return f"{_name(host):<24} configuration {configuration:<12} generation {generation:<12} {agrees}{changed}"


def _is_of_another(host):
    """True if a host kept the change of this run and has another configuration now."""
    applied, moved, info = host.get("hostfw_applied") or {}, host.get("hostfw_moved") or {}, _reported(host)
    if host.get("hostfw_bare_again"):
        return bool(info) and info["in_force"]
    if not info or not applied.get("configuration") or applied.get("failed") or "files" not in moved:
        return False
    return applied.get("inspection") != {} and info["configuration"] != applied["configuration"]


def _reported(host):
    """The result of hostfw_info on a host, empty if it gave none."""
    found = host.get("hostfw_reported") or {}
    return found if "agrees" in found else {}


def _name(host):
    return str(host.get("inventory_hostname"))
