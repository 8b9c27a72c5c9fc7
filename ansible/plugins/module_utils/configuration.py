# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration directories: which of their files hostfw reads, and how one becomes the other at one moment."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""renameat2(2): swap two paths at one moment."""
_NOT_EXCHANGEABLE = (errno.EBUSY, errno.EINVAL, errno.ENOSYS, errno.EXDEV)
"""A mount point, a file system or kernel that cannot exchange, or two file systems."""

FOLDER_MODE, FILE_MODE = 0o755, 0o644
NOTHING = ".nothing-was-in-force"
"""A file of a backup: no rules were in force when the directory held this."""


def contents(folder):
    """Path to bytes of every file that belongs to a configuration: all but what hostfw leaves out of a directory.

    Files that are not YAML belong to it too: a Feed may name them. Symbolic links are followed, as hostfw follows them;
    raises OSError for one that leads nowhere or to a folder that is read already, which hostfw refuses.
    """
    return {relative: _read(path) for relative, path in _files(folder, "", {})}


def _files(folder, relative, seen):
    """The relative and the whole path of each file."""
    if not relative and not os.path.isdir(folder):
        return
    info = os.stat(folder)
    if seen.setdefault((info.st_dev, info.st_ino), folder) != folder:
        raise OSError(errno.ELOOP, "leads to a directory that is read already", folder)
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if left_out(name):
            continue
        if os.path.islink(path):
            os.stat(path)
        if os.path.isdir(path):
            yield from _files(path, os.path.join(relative, name), seen)
        elif os.path.isfile(path):
            yield os.path.join(relative, name), path


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def why_not_read(relative):
    """The reason why hostfw would read no manifest at a path below its directory, or nothing."""
    if os.path.isabs(relative) or relative.split(os.sep)[0] == ".." or not relative.endswith((".yaml", ".yml")):
        return f"path is to be that of a .yaml file below config_dir, not {relative}"
    if any(left_out(part) for part in relative.split(os.sep)):
        return f"hostfw leaves {relative} out, as a file of an editor or of dpkg; give another path"
    return ""


def left_out(name):
    """True if a name is that of an editor's or a package manager's file; .hostfwignore is ours."""
    return name != ".hostfwignore" and (name.startswith(".") or name.endswith(("~", ".rpmnew")) or ".dpkg-" in name)


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


def digest(files, besides=()):
    """A digest that differs between configurations, whichever node they are for.

    Settings, which name the node, and templates do not count, nor do the paths in `besides`.
    """
    found = hashlib.sha256()
    for path in sorted(files):
        if path != "hostfw.yaml" and not path.endswith(".j2") and path not in besides:
            found.update(f"{path}\0{len(files[path])}\0".encode())
            found.update(files[path])
    return found.hexdigest()


def note(path, files):
    """Write down what a directory holds, to be compared by `edited`; for root's eyes, as names may tell something."""
    data = json.dumps(_digests(files), indent=1, sort_keys=True).encode()
    if not os.path.exists(path) or _read(path) != data:
        write(path, data)
        os.chmod(path, 0o600)


def edited(path, files):
    """One line a file that is new, changed or gone since `note`; none where nothing legible was noted."""
    try:
        noted = json.loads(_read(path)) if path else None
    except (OSError, ValueError):
        return []
    return differences(noted, _digests(files)) if isinstance(noted, dict) else []


def _digests(files):
    return {path: hashlib.sha256(files[path]).hexdigest() for path in files}


def replace(folder, new, like=None):
    """Make a directory hold exactly these files, besides those that hostfw leaves out, which stay.

    The whole is prepared beside it and exchanged at one moment. Where that cannot be (a mount point), files are
    replaced one by one. What is there already keeps its mode and its owner; what is new may be read by those who may
    read the directory, and of these only who may read the file of that path in the directory `like`.

    A `folder` that is a symbolic link stays one. So does one below it as long as what it leads to is what the
    directory is to hold; raises OSError where that would have to change, since others may share it.
    """
    folder = os.path.realpath(folder)
    parent, name = os.path.split(folder)
    if not os.path.isdir(parent):
        os.makedirs(parent, FOLDER_MODE)
    links = _links(folder, new)
    aside = tempfile.mkdtemp(prefix=f".{name}.", dir=parent)
    try:
        top = folder if os.path.isdir(folder) else None
        _keep_others(folder, aside)
        for path in sorted(links):
            _folders(aside, os.path.dirname(path), folder, like)
            os.symlink(links[path], os.path.join(aside, path))
        for path in sorted(new):
            if not _is_below(path, links):
                _folders(aside, os.path.dirname(path), folder, like)
                _write_as(os.path.join(aside, path), new[path], _modes(path, folder, like))
        _sync(aside)
        # Nobody else may look into it before.
        _take(aside, _info(top) or (like and _info(like)), FOLDER_MODE)
        if top is None:
            os.rename(aside, folder)
        elif not _exchange(aside, folder):
            _replace_each(folder, new, links, like)
        _sync(parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def back_up(folder, old, like, nothing):
    """Make a directory hold these files for the way back, and say in it whether nothing was in force with them."""
    mark = os.path.join(folder, NOTHING)
    if os.path.exists(mark):
        os.unlink(mark)
    replace(folder, {**old, NOTHING: b""} if nothing else old, like=like)


def write(path, data):
    """Write a file, with the folders above it, durably. One that is there keeps its mode, its owner and its links."""
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, FOLDER_MODE)
    _write_as(path, data, (_info(path), FILE_MODE & os.stat(folder).st_mode))


def _write_as(path, data, as_what):
    folder = os.path.dirname(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            _take(temporary, *as_what)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    _sync(folder)


def _modes(path, folder, like):
    """The mode of a file: that of the existing one, or one that is no wider than those of the others."""
    there = _info(os.path.join(folder, path))
    if there is not None:
        return there, FILE_MODE
    mode = FILE_MODE
    for info in (_info(folder), like and _info(os.path.join(like, path))):
        if info:
            mode &= info.st_mode
    return None, mode | stat.S_IRUSR | stat.S_IWUSR


def _folders(top, relative, folder, like):
    """Make a folder and those above it, as they are in `folder`, or else no wider than they are in `like`."""
    parts = relative.split(os.sep) if relative else []
    for count in range(1, len(parts) + 1):
        path = os.path.join(*parts[:count])
        made = os.path.join(top, path)
        if os.path.isdir(made):
            continue
        there = _info(os.path.join(folder, path))
        os.mkdir(made)
        mode = FOLDER_MODE
        for info in (_info(folder), like and _info(os.path.join(like, path))):
            if info:
                mode &= info.st_mode
        _take(made, there, mode | stat.S_IRWXU)


def _info(path):
    try:
        return os.stat(path) if path else None
    except OSError:
        return None


def _take(path, info, mode):
    """Give a file the mode and the owner of another, or just a mode."""
    if info:
        os.chown(path, info.st_uid, info.st_gid)
    os.chmod(path, stat.S_IMODE(info.st_mode) if info else mode)


def _links(folder, new):
    """The symbolic links of a directory that stay, and where they lead. Raises OSError where a target would change."""
    stay = {}
    for path, target, holds in _linked(folder, "", {}):
        wanted = {name for name in new if _is_below(name, [path])}
        if wanted and {name: new[name] for name in wanted} != holds:
            why = f"is a symbolic link to {target}, whose content would have to change"
            raise OSError(errno.EXDEV, why, os.path.join(folder, path))
        if wanted:
            stay[path] = target
    return stay


def _linked(folder, relative, seen):
    """The outermost symbolic links of a directory: the path, the target, and the files that it stands for."""
    if not os.path.isdir(folder):
        return
    for name in sorted(os.listdir(folder)):
        path, below = os.path.join(folder, name), os.path.join(relative, name)
        if left_out(name):
            continue
        if os.path.islink(path):
            files = [(below, path)] if os.path.isfile(path) else _files(path, below, seen)
            yield below, os.readlink(path), {found: _read(where) for found, where in files}
        elif os.path.isdir(path):
            yield from _linked(path, below, seen)


def _is_below(path, tops):
    return any(path == top or path.startswith(top + os.sep) for top in tops)


def _keep_others(folder, aside):
    """Take along what hostfw does not read: an administrator's notes, `.git`, `hostfw.yaml.dpkg-dist`."""
    for parent, folders, files in os.walk(folder):
        relative = os.path.relpath(parent, folder)
        for name in list(folders):
            if left_out(name):
                _folders(aside, "" if relative == "." else relative, folder, None)
                target = os.path.join(aside, relative, name)
                if os.path.islink(os.path.join(parent, name)):
                    os.symlink(os.readlink(os.path.join(parent, name)), target)
                else:
                    shutil.copytree(os.path.join(parent, name), target, symlinks=True)
                folders.remove(name)
        for name in files:
            if left_out(name):
                _folders(aside, "" if relative == "." else relative, folder, None)
                shutil.copy2(os.path.join(parent, name), os.path.join(aside, relative, name), follow_symlinks=False)


def _replace_each(folder, new, links, like):
    stale = [found[0] for found in _linked(folder, "", {}) if found[0] not in links]
    for path in stale:
        os.unlink(os.path.join(folder, path))
    for path in sorted(new):
        if not _is_below(path, links):
            _folders(folder, os.path.dirname(path), folder, like)
            _write_as(os.path.join(folder, path), new[path], _modes(path, folder, like))
    for path in contents(folder):
        if path not in new:
            os.unlink(os.path.join(folder, path))
    for parent, _folders_in_it, _files in os.walk(folder, topdown=False):
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
