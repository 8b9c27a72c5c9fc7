# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The filters of the playbooks that roll out and that report."""

from __future__ import annotations

import os

from ansible.errors import AnsibleFilterError
from ansible_collections.hostfw.hostfw.plugins.module_utils import configuration, foretold, overview, paths, rollout

_FEW = 5
"""Most hosts that a line names."""


def _plan(hosts, hostvars, serial, most):
    """The order and the batches of a rollout to these hosts; jump hosts come last, one at a time."""
    jump = rollout.jump_hosts(hosts, hostvars)
    ordered = rollout.in_order(hosts, jump)
    first = [host for host in ordered if host not in jump]
    try:
        sizes = rollout.batches(serial, len(first), most)
    except rollout.RolloutError as error:
        raise AnsibleFilterError(str(error)) from error
    return {"hosts": ordered, "batches": sizes + [1] * (len(ordered) - len(first)), "behind": jump}


def _share(text, of):
    try:
        return rollout.share(text, of)
    except rollout.RolloutError as error:
        raise AnsibleFilterError(str(error)) from error


def _deadline_s(batch, forks, within_s, wave_s):
    return rollout.deadline_s(int(batch), int(forks), int(within_s), int(wave_s))


def _behind(hosts, hostvars):
    return rollout.behind(hosts, hostvars)


def _digest(folder, besides=()):
    """The digest of a directory on the controller, as the hosts find it of theirs."""
    return configuration.digest(configuration.contents(folder), besides)


def _seen(hosts):
    return rollout.seen(hosts)


def _report(hosts, left_out, foretells, path=""):
    """The report of a rollout in the form of the file's name, and what is foretold where nothing was changed."""
    found = list(hosts)
    lines = rollout.report(found, left_out).splitlines()
    if path.endswith(".json"):
        return foretold.as_json(found, lines, left_out, foretells)
    if path.endswith(".md"):
        return foretold.as_markdown(found, left_out, foretells)
    return foretold.as_text(found, lines, foretells)


_KNOWN_BY = {
    "hostfw": "facts that hostfw gave",
    "facts": "facts of Ansible",
    "addresses": "addresses of an earlier run, with no other fact",
    "inventory": "the inventory alone: names of interfaces are guesses",
}


def _known_by(entry):
    """The hosts that are known by one source of facts, in words."""
    names = sorted(host["inventory_hostname"] for host in entry["value"])
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return "known by {}: {}{}".format(_KNOWN_BY[entry["key"]], ", ".join(names[:_FEW]), more)


def _overview(hosts):
    return overview.overview(list(hosts))


def _overview_text(items, path=""):
    """The overview in the form of the file's name."""
    form = overview.FORMS.get(os.path.splitext(path)[1], overview.as_text)
    return form(list(items))


def _with_ssh(settings, ports):
    return rollout.with_ssh(settings, ports)


def _found_at(path, beside=""):
    return paths.found_at(path, beside)


def _failures(hosts, stopped_by):
    return rollout.failures(list(hosts), stopped_by)


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """The filters by name."""
        return {
            "rollout_plan": _plan,
            "rollout_share": _share,
            "rollout_deadline": _deadline_s,
            "rollout_behind": _behind,
            "rollout_seen": _seen,
            "rollout_report": _report,
            "known_by": _known_by,
            "found_at": _found_at,
            "overview": _overview,
            "overview_text": _overview_text,
            "with_ssh": _with_ssh,
            "rollout_failures": _failures,
            "configuration_digest": _digest,
        }
