# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration directories: which of their files hostfw reads, and how one becomes the other at one moment."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""renameat2(2): swap two paths at one moment."""
_NOT_EXCHANGEABLE = (errno.EBUSY, errno.EINVAL, errno.ENOSYS, errno.EXDEV)
"""A mount point, a file system or kernel that cannot exchange, or two file systems."""

FOLDER_MODE, FILE_MODE = 0o755, 0o644


def contents(folder):
    """Path to bytes of every file that belongs to a configuration: all but what hostfw leaves out of a directory.

    Files that are not YAML belong to it too: a Feed may name them.
    """
    found = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not left_out(name))
        for name in files:
            path = os.path.join(parent, name)
            if not left_out(name) and os.path.isfile(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = file.read()
    return found


def left_out(name):
    """Whether a name is that of an editor's or a package manager's file."""
    return name.startswith(".") or name.endswith(("~", ".rpmnew")) or ".dpkg-" in name


def differences(old, new):
    """One line a file that is new, changed or gone, by path."""
    lines = []
    for path in sorted(set(old) | set(new)):
        if path not in old:
            lines.append(f"+ {path}")
        elif path not in new:
            lines.append(f"- {path}")
        elif old[path] != new[path]:
            lines.append(f"~ {path}")
    return lines


def replace(folder, new):
    """Make a directory hold exactly these files, besides those that hostfw leaves out, which stay.

    The whole is prepared beside it and exchanged at one moment. Where that cannot be (a mount point), files are
    replaced one by one.
    """
    parent, name = os.path.split(os.path.abspath(folder))
    if not os.path.isdir(parent):
        os.makedirs(parent, FOLDER_MODE)
    aside = tempfile.mkdtemp(prefix=f".{name}.", dir=parent)
    try:
        os.chmod(aside, FOLDER_MODE)
        _keep_others(folder, aside)
        for path in sorted(new):
            write(os.path.join(aside, path), new[path])
        _sync(aside)
        if not os.path.exists(folder):
            os.rename(aside, folder)
        elif not _exchange(aside, folder):
            _replace_each(folder, new)
        _sync(parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write(path, data):
    """Write a file, with the folders above it, durably."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, FOLDER_MODE)
    temporary = f"{folder}/.{os.path.basename(path)}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            os.chmod(temporary, FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    _sync(folder)


def _keep_others(folder, aside):
    """Take along what hostfw does not read: an administrator's notes, `.git`, `hostfw.yaml.dpkg-dist`."""
    for parent, folders, files in os.walk(folder):
        relative = os.path.relpath(parent, folder)
        for name in list(folders):
            if left_out(name):
                shutil.copytree(os.path.join(parent, name), os.path.join(aside, relative, name), symlinks=True)
                folders.remove(name)
        for name in files:
            if left_out(name):
                target = os.path.join(aside, relative, name)
                if not os.path.isdir(os.path.dirname(target)):
                    os.makedirs(os.path.dirname(target), FOLDER_MODE)
                shutil.copy2(os.path.join(parent, name), target, follow_symlinks=False)


def _replace_each(folder, new):
    for path in sorted(new):
        write(os.path.join(folder, path), new[path])
    for path in contents(folder):
        if path not in new:
            os.unlink(os.path.join(folder, path))
    for parent, _, _ in os.walk(folder, topdown=False):
        if parent != folder and not os.listdir(parent):
            os.rmdir(parent)


def _exchange(one, other):
    """Swap two directories; False where the system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_EXCHANGEABLE:
        return False
    raise OSError(code, os.strerror(code), other)


def _sync(folder):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
