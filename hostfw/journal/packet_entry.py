"""Packet events as the fields of journal entries, and back.

The field names are an interface (docs/audit.md). A field that is not known, or does not apply, is left out. Whoever may
write to the journal may write anything under our names, so nothing that is read is taken for granted.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from hostfw.audit.packet_event import IDENTIFIER, EventAction, PacketEvent, message, plain
from hostfw.audit.packet_headers import Headers, protocol_number, tcp_flags_of
from hostfw.journal.message_ids import MessageId
from hostfw.model.packets.decisions import Reason
from hostfw.model.time.moments import moment_of
from hostfw.model.values import Direction, Family, parse_address

_NOTICE, _INFORMATIONAL = "5", "6"


def fields(event: PacketEvent) -> dict[str, str]:
    """The fields of the event's journal entry, without those that are not known.

    `journalctl -x` puts them into the catalog's text as they are, so none holds what would steer a terminal.
    """
    packet = event.packet
    found: Mapping[str, object] = {
        "MESSAGE": message(event),
        "MESSAGE_ID": _message_id(event.action),
        "PRIORITY": _NOTICE if event.action is EventAction.DENY else _INFORMATIONAL,
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "HOSTFW_ACTION": event.action,
        "HOSTFW_DIRECTION": event.direction,
        "HOSTFW_REASON": event.reason,
        "HOSTFW_KIND": event.kind,
        "HOSTFW_TIER": event.tier,
        "HOSTFW_POLICY": event.policy,
        "HOSTFW_RULE": event.rule,
        "HOSTFW_ORIGIN": event.origin,
        "HOSTFW_WHY": event.why,
        "HOSTFW_TICKET": event.ticket,
        "HOSTFW_ENDPOINT": event.endpoint,
        "HOSTFW_INTERFACE": event.interface,
        "HOSTFW_IN_INTERFACE": event.in_interface,
        "HOSTFW_OUT_INTERFACE": event.out_interface,
        "HOSTFW_PROTOCOL": packet.protocol_text,
        "HOSTFW_SRC_ADDR": packet.source_text,
        "HOSTFW_SRC_PORT": packet.source_port,
        "HOSTFW_DST_ADDR": packet.destination_text,
        "HOSTFW_DST_PORT": packet.destination_port,
        "HOSTFW_ICMP_TYPE": packet.icmp_type,
        "HOSTFW_ICMP_CODE": packet.icmp_code,
        "HOSTFW_TCP_FLAGS": packet.tcp_flags_text,
        "HOSTFW_FRAGMENT": packet.fragment,
        "HOSTFW_LENGTH": packet.length,
        "HOSTFW_GENERATION": event.generation,
        "HOSTFW_COUNT": event.count,
        "HOSTFW_FIRST": _moment_text(event.first),
        "HOSTFW_LAST": _moment_text(event.last),
    }
    return {name: plain(str(value)) for name, value in found.items() if value is not None and value != ""}


def json_line(event: PacketEvent) -> str:
    """The event as one line of JSON: the fields as `journalctl -o json` prints them, every value a text."""
    return json.dumps(fields(event))


def event_of(entry: Mapping[str, object]) -> PacketEvent | None:
    """The packet event of an entry, or None if it is not of one."""
    texts = {name: value for name, value in entry.items() if isinstance(value, str)}
    action, direction = texts.get("HOSTFW_ACTION", ""), texts.get("HOSTFW_DIRECTION", "")
    reason, first, last = texts.get("HOSTFW_REASON", ""), _moment(texts, "FIRST"), _moment(texts, "LAST")
    known = action in set(EventAction) and direction in set(Direction) and reason in set(Reason)
    count = _whole(texts, "COUNT")
    if not known or first is None or last is None or not count:
        return None
    ways = texts.get("HOSTFW_IN_INTERFACE", ""), texts.get("HOSTFW_OUT_INTERFACE", "")
    decided_at = texts.get("HOSTFW_INTERFACE", "")
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
        in_interface=ways[0],
        out_interface=ways[1],
        packet=_headers(texts),
        generation=texts.get("HOSTFW_GENERATION", ""),
        first=first,
        last=last,
        count=count,
        why=texts.get("HOSTFW_WHY", ""),
        ticket=texts.get("HOSTFW_TICKET", ""),
        of_guest=bool(decided_at) and decided_at != ways[0 if direction == Direction.INGRESS else 1],
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


def _message_id(action: EventAction) -> MessageId:
    match action:
        case EventAction.DENY:
            return MessageId.PACKET_DENIED
        case EventAction.LOG:
            return MessageId.PACKET_LOGGED
        case _:
            return MessageId.PACKET_STAGED


def _moment_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
