"""Packet events out of the fields of their journal entries: the way back from `events.fields`.

Whoever may write to the journal may write anything under our names, so nothing is taken for granted.
"""

from collections.abc import Mapping
from datetime import datetime

from hostfw.audit.packet_event import EventAction, PacketEvent
from hostfw.audit.packet_headers import Headers, protocol_number, tcp_flags_of
from hostfw.model.decisions import Reason
from hostfw.model.moments import moment_of
from hostfw.model.values import Direction, Family, parse_address


def event_of(entry: Mapping[str, object]) -> PacketEvent | None:
    """The packet event of an entry, or None if it is not of one."""
    texts = {name: value for name, value in entry.items() if isinstance(value, str)}
    action, direction = texts.get("HOSTFW_ACTION", ""), texts.get("HOSTFW_DIRECTION", "")
    reason, first, last = texts.get("HOSTFW_REASON", ""), _moment(texts, "FIRST"), _moment(texts, "LAST")
    known = action in set(EventAction) and direction in set(Direction) and reason in set(Reason)
    count = _whole(texts, "COUNT")
    if not known or first is None or last is None or not count:
        return None
    return PacketEvent(
        action=EventAction(action),
        direction=Direction(direction),
        reason=Reason(reason),
        tier=texts.get("HOSTFW_TIER", ""),
        policy=texts.get("HOSTFW_POLICY", ""),
        rule=_whole(texts, "RULE"),
        kind=texts.get("HOSTFW_KIND", ""),
        origin=texts.get("HOSTFW_ORIGIN", ""),
        endpoint=texts.get("HOSTFW_ENDPOINT", ""),
        in_interface=texts.get("HOSTFW_IN_INTERFACE", ""),
        out_interface=texts.get("HOSTFW_OUT_INTERFACE", ""),
        packet=_headers(texts),
        generation=texts.get("HOSTFW_GENERATION", ""),
        first=first,
        last=last,
        count=count,
    )


def _headers(texts: Mapping[str, str]) -> Headers:
    source, destination = (parse_address(texts.get(f"HOSTFW_{end}_ADDR", "")) for end in ("SRC", "DST"))
    families = {found[0] for found in (source, destination) if found is not None}
    family: Family | None = families.pop() if len(families) == 1 else None
    return Headers(
        family=family,
        source=source[1] if source and family else None,
        destination=destination[1] if destination and family else None,
        protocol=protocol_number(texts.get("HOSTFW_PROTOCOL", "")),
        length=_whole(texts, "LENGTH"),
        fragment=_whole(texts, "FRAGMENT"),
        source_port=_whole(texts, "SRC_PORT"),
        destination_port=_whole(texts, "DST_PORT"),
        icmp_type=_whole(texts, "ICMP_TYPE"),
        icmp_code=_whole(texts, "ICMP_CODE"),
        tcp_flags=tcp_flags_of(texts["HOSTFW_TCP_FLAGS"]) if "HOSTFW_TCP_FLAGS" in texts else None,
    )


def _whole(texts: Mapping[str, str], name: str) -> int | None:
    text = texts.get(f"HOSTFW_{name}", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _moment(texts: Mapping[str, str], name: str) -> datetime | None:
    return moment_of(texts.get(f"HOSTFW_{name}", ""))
