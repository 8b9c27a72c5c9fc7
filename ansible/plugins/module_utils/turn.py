# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks on hosts, so that one run at a time changes each; a lock is a file that a reboot removes."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import shutil
import time

ARGUMENT_SPEC = {
    "run": {"type": "dict", "required": True},
    "lock_dir": {"type": "path", "default": "/run/hostfw-ansible"},
    "lease": {"type": "int", "default": 3600},
    "force": {"type": "bool", "default": False},
}


class HeldError(Exception):
    """A lock that another run holds; the text says whose."""


def key(run):
    """A short name of a run, for paths."""
    return hashlib.sha256("{controller} {process}".format(**run).encode()).hexdigest()[:8]


def take(folder, run, lease_s, force):
    """Take the lock of a host, or renew it; raises HeldError.

    Another run's lock gives way when its lease is over, when its process is known to have ended (only the controller
    that it ran on can tell), or by `force`. Raises OSError where the file cannot be written.
    """
    now = _now_s()
    with _Locked(folder):
        held = _read(folder)
        if held and not (force or _is_of(held, run) or _is_over(held, run, now)):
            raise HeldError(_sentence(held, now))
        temporary = os.path.join(folder, "turn.tmp")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump({**{name: run[name] for name in ("controller", "process", "who")}, "until": now + lease_s}, file)
        os.replace(temporary, os.path.join(folder, "turn"))


def release(folder, run):
    """Give the lock up, if it is this run's; True if it was."""
    if not os.path.isdir(folder):
        return False
    with _Locked(folder):
        mine = _is_of(_read(folder), run)
        if mine:
            os.unlink(os.path.join(folder, "turn"))
        return mine


def insist(folder, run):
    """Raise HeldError unless this run holds the lock."""
    held = _read(folder)
    if not _is_of(held, run):
        raise HeldError(_sentence(held, _now_s()) if held else "this run holds the host's lock no more")


def place(staging, key, alone):
    """Make an empty staging directory for a run; `alone` if no other run may use one.

    Then the path `staging` leads to it, and what other runs left is removed.
    """
    path = f"{staging}.{key}"
    stale = glob.glob(glob.escape(staging) + ".????????") if alone else []
    for old in {path, *stale}:
        shutil.rmtree(old, ignore_errors=True)
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    # Nobody else has to see what is tried; where it goes for good, files are no wider than they are here and there.
    os.mkdir(path, 0o700)
    if alone:
        if os.path.isdir(staging) and not os.path.islink(staging):
            shutil.rmtree(staging)
        temporary = f"{staging}.{key}.link"
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.symlink(os.path.basename(path), temporary)
        os.replace(temporary, staging)
    return path


def _is_of(held, run):
    return all(held.get(name) == run[name] for name in ("controller", "process"))


def _is_over(held, run, now):
    if held["until"] <= now:
        return True
    return held["controller"] == run["controller"] and held["process"] not in run["alive"]


def _sentence(held, now):
    minutes = max(1, round((held["until"] - now) / 60))
    return (
        "another run of {who} changes this host, or was broken off; its lock ends by itself in {minutes} min, "
        "and hostfw_break_lock=true takes it over".format(who=held["who"], minutes=minutes)
    )


def _read(folder):
    """The lock of now, empty for none; one that was damaged is none."""
    try:
        with open(os.path.join(folder, "turn"), encoding="utf-8") as file:
            held = json.load(file)
        return held if isinstance(held.get("until"), (int, float)) and held["controller"] and held["process"] else {}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


class _Locked:
    """The right to read and write the lock, for the time of a `with`."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        os.makedirs(self.folder, 0o700, exist_ok=True)
        self.file = open(os.path.join(self.folder, "flock"), "w", encoding="utf-8")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def _now_s():
    """Time since boot: the lock does not outlive it, and nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
