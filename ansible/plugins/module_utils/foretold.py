# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports of a rollout as text, JSON and Markdown: who runs what, and in check mode what a run would do by host."""

from __future__ import annotations

import json

_MOST = 20
"""Most lines of one kind that are shown of a host."""


def of_host(host):
    """The part of one host: what would change, close and open, and why it would be refused."""
    applied = host.get("hostfw_applied") or {}
    exposure = applied.get("exposure") or []
    return {
        "host": str(host.get("inventory_hostname")),
        "changes": bool(applied.get("changed")),
        "differences": list(applied.get("differences") or []),
        "closes": [one["text"] for one in exposure if one["change"] == "closes"],
        "opens": [one["text"] for one in exposure if one["change"] == "opens"],
        "refused": str(host.get("hostfw_rollout_failure") or ""),
        "edited": list((host.get("hostfw_here") or {}).get("edited") or []),
    }


def as_json(hosts, lines, left_out, foretells):
    """A document with an item for each host, in the order of their names; `lines` are those of `rollout.report`."""
    found = {"foretold": bool(foretells), "leftOut": sorted(left_out), "hosts": _all(hosts), "report": list(lines)}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def as_text(hosts, lines, foretells):
    """The report for a terminal; with `foretells` what a run would do follows."""
    found = list(lines)
    for host in _all(hosts) if foretells else ():
        parts = _parts(host)
        if parts:
            found.append("{}:".format(host["host"]))
            found.extend(f"    {title}: {line}" for title, texts in parts for line in _first(texts))
    return "".join(line + "\n" for line in found)


def as_markdown(hosts, left_out, foretells):
    """The comment of a pull request."""
    found = _all(hosts)
    refused = [host for host in found if host["refused"]]
    changed = [host for host in found if host["changes"]]
    what = "would change" if foretells else "changed"
    lines = [f"### hostfw: {len(changed)} of {len(found)} hosts {what}, {len(refused)} refused", ""]
    if left_out:
        lines.extend(["Left out, since they could not be reached: {}".format(", ".join(sorted(left_out))), ""])
    lines.extend(["| host | differences | closes | opens | refused |", "|---|---|---|---|---|"])
    for host in found:
        # Below the line of a resource, its changed lines are indented.
        resources = [text for text in host["differences"] if not text[:1].isspace()]
        counts = [str(len(texts)) for texts in (resources, host["closes"], host["opens"])]
        lines.append("| {} |".format(" | ".join([_cell(host["host"]), *counts, "yes" if host["refused"] else "no"])))
    for host in found:
        parts = _parts(host)
        if not parts:
            continue
        lines.extend(["", "<details><summary>{}</summary>".format(_cell(host["host"]))])
        for title, texts in parts:
            # Indented, so that nothing in a text ends the block.
            lines.extend(["", f"{title}:", "", *(f"    {text}" for text in _first(texts))])
        lines.extend(["", "</details>"])
    return "\n".join(lines) + "\n"


def _parts(host):
    """The sections of a report on a host that have anything, with a title each."""
    titles = (
        ("refused", host["refused"].splitlines()),
        ("closes", host["closes"]),
        ("opens", host["opens"]),
        ("edited on the host", host["edited"]),
        ("differs", host["differences"]),
    )
    return [(title, texts) for title, texts in titles if texts]


def _first(texts):
    more = len(texts) - _MOST
    return [*texts[:_MOST], *([f"and {more} more"] if more > 0 else [])]


def _all(hosts):
    return sorted((of_host(host) for host in hosts), key=lambda host: host["host"])


def _cell(text):
    return text.replace("|", "&#124;").replace("<", "&lt;")
