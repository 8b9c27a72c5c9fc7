# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses of a fleet as they were last seen, in a file of the controller."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os

FORGOTTEN_AFTER_DAYS = 90
"""How long a host that is no more in the inventory is remembered: another run may have another inventory."""
MOST_NAMES = 5
"""Most hosts that a note names."""


class SnapshotError(Exception):
    """A file that is none of ours, or damaged."""


def refresh(path, fresh, inventory, today, write):
    """Merge the addresses of this run into the file; gives those of all hosts, whether the file changed, and notes.

    `fresh` and the result map hosts to what `inventory.gathered` gives. Raises SnapshotError for a file that cannot be
    understood: to go on without it would lose addresses.
    """
    if not path:
        return dict(fresh), False, []
    with contextlib.ExitStack() as held:
        notes = []
        if write:
            try:
                _lock(path, held)
            except OSError as error:
                notes.append(
                    f"the addresses of the fleet are not kept for later runs: {error}; hostfw_snapshot names the file"
                )
                write = False
        old = _read(path)
        hosts = {
            host: entry
            for host, entry in old.items()
            if host in inventory or _age_days(entry, today) <= FORGOTTEN_AFTER_DAYS
        }
        hosts.update((host, {**addresses, "seen": today.isoformat()}) for host, addresses in fresh.items())
        changed = write and hosts != old
        if changed:
            _write(path, hosts)
    notes.extend(_lost(old, fresh))
    notes.extend(_kept(hosts, [host for host in inventory if host in hosts and host not in fresh], today))
    bare = {host: {name: entry[name] for name in ("default", "interfaces")} for host, entry in hosts.items()}
    return bare, changed, notes


def _lock(path, held):
    """Have other runs of this controller wait until the file is written."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    held.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if not os.access(path if os.path.exists(path) else os.path.dirname(path) or ".", os.W_OK):
        raise PermissionError(13, os.strerror(13), path)


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        hosts = document["hosts"]
        for entry in hosts.values():
            dt.date.fromisoformat(entry["seen"])
            list(entry["default"])
            dict(entry["interfaces"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotError(
            f"{path} does not hold the addresses of a fleet ({type(error).__name__}: {error})"
        ) from error
    return hosts


def _write(path, hosts):
    temporary = f"{path}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(
            {"about": "addresses of hosts when hostfw.hostfw last saw them", "hosts": hosts},
            file,
            indent=1,
            sort_keys=True,
        )
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _lost(old, fresh):
    for host in sorted(fresh):
        gone = sorted(_addresses(old.get(host, {})) - _addresses(fresh[host]))
        if gone:
            yield f"{host} has no more the address {', '.join(gone)}, by its facts"


def _kept(hosts, names, today):
    """One note a day of seeing, the oldest first."""
    by_day = {}
    for name in names:
        by_day.setdefault(hosts[name]["seen"], []).append(name)
    for day in sorted(by_day):
        found = sorted(by_day[day])
        more = f" and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
        age = _age_days(hosts[found[0]], today)
        said = "today" if age <= 0 else "yesterday" if age == 1 else f"{age} days ago"
        yield f"addresses of {', '.join(found[:MOST_NAMES])}{more} are those seen {said} ({day}), for want of facts"


def _addresses(entry):
    return {address for addresses in entry.get("interfaces", {}).values() for address in addresses}


def _age_days(entry, today):
    return (today - dt.date.fromisoformat(entry["seen"])).days
