# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""An overview of a fleet: what each host runs, what is wrong with it, as text, JSON and HTML."""

from __future__ import annotations

import datetime as dt
import html
import json

_COLUMNS = ("host", "version", "generation", "configuration", "age", "findings")
_MOST = 5
"""Most findings of a host that a terminal shows."""
_STYLE = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}"
    "th,td{text-align:left;vertical-align:top;padding:.3em .8em;border-bottom:1px solid #ddd}"
    "td.code{font-family:monospace}tr.wrong td:first-child{border-left:4px solid #c33}"
    "tr.right td:first-child{border-left:4px solid #3a3}"
)


def overview(hosts, now=None):
    """An item for each host, those with findings first; `hosts` are the variables of each, with the fact `hostfw`.

    `now` is a moment with its time zone.
    """
    now = now or dt.datetime.now(dt.timezone.utc)
    found = [_item(host, now) for host in hosts]
    usual = _usual([item["version"] for item in found])
    for item in found:
        if item["version"] and item["version"] != usual:
            item["findings"].append("runs version {}, most hosts run {}".format(item["version"], usual))
    return sorted(found, key=lambda item: (not item["findings"], item["host"]))


def as_json(items):
    """A document for programs."""
    return json.dumps(dict(_summary(items), hosts=items), indent=2, ensure_ascii=False) + "\n"


def as_text(items):
    """A table for a terminal, with the findings of a host below its line."""
    lines = [_sentence(items), ""]
    rows = [_COLUMNS[:-1], *(_cells(item) for item in items)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row, item in zip(rows, [None, *items]):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        findings = item["findings"] if item else []
        lines.extend(f"    {one}" for one in findings[:_MOST])
        if len(findings) > _MOST:
            lines.append(f"    and {len(findings) - _MOST} more")
    return "\n".join(lines) + "\n"


def as_html(items):
    """A page that needs nothing else."""
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = []
    for item in items:
        cells = "".join(f'<td class="code">{html.escape(cell)}</td>' for cell in _cells(item))
        findings = "<br>".join(html.escape(one) for one in item["findings"])
        rows.append('<tr class="{}">{}<td>{}</td></tr>'.format("wrong" if findings else "right", cells, findings))
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>hostfw: the fleet</title>',
        f"<style>{_STYLE}</style></head><body><h1>hostfw: the fleet</h1><p>{html.escape(_sentence(items))}</p>",
        f"<table><thead><tr>{head}</tr></thead><tbody>",
        *rows,
        "</tbody></table></body></html>",
    ]
    return "\n".join(lines) + "\n"


FORMS = {".json": as_json, ".html": as_html}
"""The forms by the ending of a file's name; every other one is text."""


def _item(host, now):
    name = str(host.get("inventory_hostname"))
    seen = host.get("hostfw_seen") or {}
    found = ((seen.get("ansible_facts") or {}).get("hostfw")) or {}
    item = {
        "host": name,
        "reached": bool(found) or not seen.get("unreachable", not seen),
        "version": str((found.get("version") or {}).get("hostfw") or ""),
        "generation": str(found.get("generation") or ""),
        "configuration": str(found.get("configuration") or "")[:12],
        "appliedAt": (found.get("status") or {}).get("appliedAt"),
        "ageSeconds": None,
        "trial": (found.get("status") or {}).get("confirmation"),
        "drift": list((found.get("status") or {}).get("drift") or []),
        "edited": list(found.get("edited") or []),
    }
    item["ageSeconds"] = _age_s(item["appliedAt"], now)
    item["findings"] = list(_findings(item, found, str(seen.get("msg") or "")))
    return item


def _findings(item, found, said):
    """Sentences about what is not as it should be."""
    if not found:
        reason = said.strip().splitlines()[0] if said.strip() else "it gave no answer"
        yield ("could not be read: " if item["reached"] else "could not be reached: ") + reason
        return
    if not found.get("installed"):
        yield "hostfw is not installed"
        return
    status = found.get("status") or {}
    if not found.get("in_force"):
        yield "no rules are in force"
    trial = status.get("confirmation")
    if trial:
        yield "a change waits to be confirmed until {}".format(trial.get("deadline"))
    elif found.get("in_force") and status.get("accepted") != status.get("generation"):
        yield "generation {} is accepted, and the next boot enforces it".format(status.get("accepted") or "none")
    if found.get("in_force") and not found.get("agrees"):
        yield "its files are not what is accepted"
    for line in item["edited"]:
        yield f"edited on the host: {line}"
    for line in item["drift"]:
        yield f"changed by another program: {line}"
    if "service" in status and status["service"] is None:
        yield "the service does not run"
    trouble = (status.get("service") or {}).get("trouble")
    if trouble:
        yield f"the service is in trouble: {trouble}"
    if status.get("saved") is False:
        yield "what is in force does not outlive a reboot"
    for line in [*(status.get("warnings") or []), *(status.get("problems") or [])]:
        yield str(line)


def _usual(versions):
    """The version of most hosts; of two that are as frequent the later text."""
    known = [version for version in versions if version]
    return max(set(known), key=lambda version: (known.count(version), version)) if known else ""


def _summary(items):
    return {
        "hosts": len(items),
        "withFindings": sum(1 for item in items if item["findings"]),
        "versions": sorted({item["version"] for item in items if item["version"]}),
        "configurations": sorted({item["configuration"] for item in items if item["configuration"]}),
    }


def _sentence(items):
    found = _summary(items)
    wrong = found["withFindings"]
    what = "all as they should be" if not wrong else f"{wrong} with findings"
    versions = ", ".join(found["versions"]) or "none"
    configurations = _count(len(found["configurations"]), "configuration")
    return "{}, {}; versions: {}; {}".format(_count(len(items), "host"), what, versions, configurations)


def _count(number, noun):
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _cells(item):
    return (
        item["host"],
        item["version"] or "-",
        item["generation"] or "-",
        item["configuration"] or "-",
        _age(item["ageSeconds"]),
    )


def _age_s(moment, now):
    """Seconds since a moment of hostfw's documents; None where there is none, or it is not legible."""
    try:
        then = dt.datetime.fromisoformat(str(moment).replace("Z", "+00:00"))
        return max(0, int((now - then).total_seconds()))
    except (ValueError, TypeError):
        return None


def _age(seconds):
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
