"""The settings file, hostfw.yaml: a mapping in which everything is optional."""

import re
from enum import StrEnum
from typing import TypeVar

from hostfw.manifest.fields import Reader, Shape, boolean, choice, described, fields, integer, items, text
from hostfw.manifest.kinds.failsafe import decode_failsafe
from hostfw.manifest.kinds.metadata import formed_name
from hostfw.manifest.kinds.rule import LAST_PORT
from hostfw.manifest.kinds.workload import decode_workloads
from hostfw.manifest.scalars.name_forms import SUBDOMAIN
from hostfw.manifest.yaml.nodes import Node, Scalar, documents
from hostfw.model.api_versions import HOSTFW_V1
from hostfw.model.problems import Problem, in_order
from hostfw.model.settings import (
    CALICO_COMPATIBLE,
    Logging,
    Metrics,
    PacketMarks,
    Settings,
    UnmanagedInterfaces,
)
from hostfw.model.sources import Source
from hostfw.model.wording import quoted

Word = TypeVar("Word", bound=StrEnum)

SETTINGS_SHAPE = Shape(
    "the settings file",
    frozenset(
        (
            "apiVersion",
            "kind",
            "compatibility",
            "node",
            "failsafe",
            "unmanagedInterfaces",
            "loopback",
            "neighbourDiscovery",
            "invalidPackets",
            "denyAction",
            "logging",
            "metrics",
            "learnAddresses",
            "packetMarks",
            "lockoutCheck",
            "publishedPorts",
            "historyLimit",
            "workloads",
            "multicastAnswers",
            "reversePathFilter",
        )
    ),
)
UNMANAGED_SHAPE = Shape("unmanagedInterfaces", frozenset(("ingress", "egress")))
_LOG_RATES = ("ratePerSecond", "burstPackets", "sharedRatePerSecond", "sharedBurstPackets")
LOGGING_SHAPE = Shape("logging", frozenset(("group", "snaplenBytes", *_LOG_RATES)))

QUESTION_PORTS_LIMIT = 32
"""Most ports of multicastAnswers."""
METRICS_SHAPE = Shape("metrics", frozenset(("textfile", "intervalSeconds")))
TEXTFILE = re.compile(r"/[!-.0-~][!-~]*\.prom\Z")
"""An absolute path; node_exporter reads no file of another ending."""
HISTORY_BOUNDS = (1, 1000)
"""The least and the greatest number of generations that are kept."""
INTERVAL_BOUNDS = (5, 3600)
"""The least and the greatest interval, in seconds."""

LOGGING_BOUNDS = {
    "group": (0, 65_535),
    "snaplenBytes": (64, 65_535),
    **dict.fromkeys(_LOG_RATES, (1, 1_000_000)),
}
"""The least and the greatest value of each field."""

_MASK = re.compile(r"(?:0x[0-9a-fA-F]{1,8}|[1-9][0-9]{0,9})\Z")
_TEXTFILE_EXPECTED = "an absolute path that ends in .prom, such as /run/hostfw/hostfw.prom"
_MARK_BITS = 32
_MASK_EXPECTED = "a mask of 32 bits with at least two of them set, such as 0x30000000"


def decode_settings(source: Source) -> tuple[Settings, tuple[Problem, ...]]:
    """The settings of a file, defaults where it is silent, and every problem with its position."""
    reader = Reader(source.path, source.text.removeprefix("\ufeff"))
    roots = list(documents(source, reader.problems))
    for another in roots[1:]:
        reader.report(another, "a second document", "the settings in one document")
    settings = _settings(reader, roots[0]) if roots else Settings()
    return settings, in_order(reader.problems)


def _settings(reader: Reader, root: Node) -> Settings:
    found = fields(reader, root, SETTINGS_SHAPE)
    for name, value in (("apiVersion", HOSTFW_V1), ("kind", "Settings")):
        choice(reader, found.get(name), name, {value: value})
    base = choice(reader, found.get("compatibility"), "compatibility", {"calico": CALICO_COMPATIBLE}) or Settings()
    return Settings(
        node=formed_name(reader, found.get("node"), "node", SUBDOMAIN),
        failsafe=decode_failsafe(reader, found["failsafe"], base.failsafe) if "failsafe" in found else base.failsafe,
        unmanaged_interfaces=_unmanaged(reader, found.get("unmanagedInterfaces"), base.unmanaged_interfaces),
        loopback=_word(reader, found, "loopback", base.loopback),
        neighbour_discovery=_word(reader, found, "neighbourDiscovery", base.neighbour_discovery),
        invalid_packets=_word(reader, found, "invalidPackets", base.invalid_packets),
        deny_action=_word(reader, found, "denyAction", base.deny_action),
        logging=_logging(reader, found.get("logging"), base.logging),
        metrics=_metrics(reader, found.get("metrics"), base.metrics),
        marks=_marks(reader, found["packetMarks"]) if "packetMarks" in found else base.marks,
        learn_addresses=_flag(reader, found, "learnAddresses", base=base.learn_addresses),
        lockout_check=_word(reader, found, "lockoutCheck", base.lockout_check),
        published_ports=_word(reader, found, "publishedPorts", base.published_ports),
        history_limit=_whole(reader, found, "historyLimit", base.history_limit, HISTORY_BOUNDS),
        workloads=decode_workloads(reader, found.get("workloads"), base.workloads),
        multicast_answers=_question_ports(reader, found.get("multicastAnswers")),
        reverse_path_filter=_word(reader, found, "reversePathFilter", base.reverse_path_filter),
    )


def _question_ports(reader: Reader, node: Node | None) -> tuple[int, ...]:
    """The UDP ports that questions to everybody go to, in order."""
    found: list[int] = []
    for item in items(reader, node, "multicastAnswers", QUESTION_PORTS_LIMIT):
        port = integer(reader, item, "an item of multicastAnswers", 1, LAST_PORT)
        if port in found:
            reader.report(item, f"multicastAnswers has {port} twice", "each once")
        elif port is not None:
            found.append(port)
    return tuple(sorted(found))


def _unmanaged(reader: Reader, node: Node | None, base: UnmanagedInterfaces) -> UnmanagedInterfaces:
    found = fields(reader, node, UNMANAGED_SHAPE)
    return UnmanagedInterfaces(
        ingress=_word(reader, found, "ingress", base.ingress),
        egress=_word(reader, found, "egress", base.egress),
    )


def _logging(reader: Reader, node: Node | None, base: Logging) -> Logging:
    found = fields(reader, node, LOGGING_SHAPE)
    logging = Logging(
        group=_whole(reader, found, "group", base.group),
        snaplen_bytes=_whole(reader, found, "snaplenBytes", base.snaplen_bytes),
        rate_per_second=_whole(reader, found, "ratePerSecond", base.rate_per_second),
        burst_packets=_whole(reader, found, "burstPackets", base.burst_packets),
        shared_rate_per_second=_whole(reader, found, "sharedRatePerSecond", base.shared_rate_per_second),
        shared_burst_packets=_whole(reader, found, "sharedBurstPackets", base.shared_burst_packets),
    )
    _room_for_others(reader, found, logging)
    return logging


def _room_for_others(reader: Reader, found: dict[str, Node], logging: Logging) -> None:
    """One source at its own limit must leave room for another below the shared one."""
    node = found.get("sharedRatePerSecond") or found.get("ratePerSecond")
    if node is None or logging.shared_rate_per_second > logging.rate_per_second:
        return
    reader.report(
        node,
        f"sharedRatePerSecond is {logging.shared_rate_per_second} and ratePerSecond {logging.rate_per_second}, "
        "so that one source could hide all others",
        "sharedRatePerSecond above ratePerSecond",
    )


def _metrics(reader: Reader, node: Node | None, base: Metrics) -> Metrics:
    found = fields(reader, node, METRICS_SHAPE)
    interval_seconds = integer(reader, found.get("intervalSeconds"), "intervalSeconds", *INTERVAL_BOUNDS)
    return Metrics(
        _textfile(reader, found.get("textfile")),
        base.interval_seconds if interval_seconds is None else interval_seconds,
    )


def _textfile(reader: Reader, node: Node | None) -> str | None:
    path = text(reader, node, "textfile")
    if node is None or path is None or (TEXTFILE.match(path) and ".." not in path.split("/")):
        return path
    reader.report(node, f"textfile is {quoted(path)}", _TEXTFILE_EXPECTED)
    return None


def _marks(reader: Reader, node: Node) -> PacketMarks:
    """The two lowest bits of a mask, which YAML takes in decimal and, as masks are better read, in hexadecimal."""
    mask = int(node.text, 0) if isinstance(node, Scalar) and _MASK.match(node.text) else 0
    bits = [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
    is_mask = mask.bit_length() <= _MARK_BITS and len(bits) >= len(("accepted", "translated"))
    if is_mask and isinstance(node, Scalar) and node.plain:
        return PacketMarks(bits[0], bits[1])
    hint = "write it without quotes" if is_mask else ""
    reader.report(node, f"packetMarks is {described(node)}", _MASK_EXPECTED, hint)
    return PacketMarks()


def _flag(reader: Reader, found: dict[str, Node], name: str, *, base: bool) -> bool:
    """A setting that is on or off, or what stands without it."""
    value = boolean(reader, found.get(name), name)
    return base if value is None else value


def _word(reader: Reader, found: dict[str, Node], name: str, base: Word) -> Word:
    """One of the words of a setting, or what stands without it."""
    return choice(reader, found.get(name), name, {word.value: word for word in type(base)}) or base


def _whole(reader: Reader, found: dict[str, Node], name: str, base: int, bounds: tuple[int, int] | None = None) -> int:
    value = integer(reader, found.get(name), name, *(bounds or LOGGING_BOUNDS[name]))
    return base if value is None else value
