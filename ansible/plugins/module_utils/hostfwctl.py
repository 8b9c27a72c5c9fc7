# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""hostfwctl as the modules call it: a verb with `-o json`, and its document or what it complained of."""

from __future__ import annotations

import json
import os

DONE, DIFFERS, INVALID, NOT_RUNNING, ROLLED_BACK = 0, 1, 3, 4, 5
"""The exit statuses of hostfwctl that the modules tell apart."""

ARGUMENT_SPEC = {"hostfwctl": {"type": "path", "default": "/usr/bin/hostfwctl"}}


def run(module, *arguments, **options):
    """Run a verb, in the directory `cwd` if one is given; gives its exit status, stdout and stderr."""
    command = [module.params["hostfwctl"], "--color=never"]
    command.extend(str(argument) for argument in arguments)
    return module.run_command(command, cwd=options.get("cwd"), environ_update={"LC_ALL": "C.UTF-8"})


def run_json(module, *arguments, **options):
    """Run a verb with `-o json`; gives its exit status, the document (empty where there is none) and stderr."""
    status, out, err = run(module, *((*arguments, "-o", "json")), **options)
    return status, parse(out), err


def workloads(module, folder):
    """The workloads of the host, with their labels; none where hostfwctl cannot tell, or is not there."""
    if not os.path.exists(module.params["hostfwctl"]):
        return []
    document = run_json(module, "--config-dir", folder, "workloads")[1]
    items = document.get("items")
    return [item for item in items if item.get("name")] if isinstance(items, list) else []


def parse(text):
    """The document that a verb printed; empty if it printed none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def complaint(document, err):
    """The error, in the words of hostfwctl: problems with their places, or a message and the next step."""
    if document.get("saved") is False:
        # It was done; what is wrong is what a reboot leads to.
        return "\n".join(document["warnings"])
    problems = [_problem(item) for item in document.get("problems") or []]
    if problems:
        return "\n".join(problems)
    said = [document.get(field) for field in ("message", "reason", "hint", "inForce")]
    lines = [line for line in said if line]
    return "\n".join(lines) if lines else err.strip() or "hostfwctl said nothing"


def _problem(item):
    line = "{path}:{line}:{column}: {message}".format(**item)
    for field in ("expected", "hint"):
        if item.get(field):
            line += f"\n    {field}: {item[field]}"
    return line
