"""The MESSAGE_ID of every kind of event that hostfw writes to the journal (systemd.journal-fields(7)).

`journalctl MESSAGE_ID=...` finds all of a kind, and the journal's catalog explains each. They never change.
"""

from enum import StrEnum


class MessageId(StrEnum):
    """A kind of event."""

    PACKET_DENIED = "dd18b36d2f544707bcaf999179cf37ff"
    PACKET_LOGGED = "2a2337468288474d94faa275388fafba"
    PACKET_STAGED = "6c7afc3b409245959d699325b8bc77d6"
    GENERATION_APPLIED = "65cd1258166e4125b7cc9d00bad9e661"
    GENERATION_REFUSED = "0c9bcfdd3d804ccfa3ef3329b60a3527"
    GENERATION_FAILED = "12ace35e36b941fd8b0b604c9d1a89b9"
    GENERATION_AWAITING = "3cdb4abc91594182905d0752aa416e55"
    GENERATION_CONFIRMED = "0ce6e64140fd4c70a1e4f9b68b526296"
    GENERATION_ROLLED_BACK = "1398a3ef8cb34d0f8117dfe0b677c553"
    TABLES_RESTORED = "f0127f9608e24d168bbd39897ba97cfa"
    TAMPERING_BACKED_OFF = "6aac3498eb094eeab328ad2391535a6b"
    INTERFACE_BOUND = "8eaddac1847f4b318b7f062a46ead07e"
    INTERFACE_UNBOUND = "745e2fdd62a642fd9859e08dcd53748e"
    FEED_SHRUNK = "e473fdf4703d475197577359077ec0f4"
    RECORDS_MISSED = "8cdde785a62b42808b09d7af008eeb3c"
    RECORDS_LOST = "81920e3d388f4ddfb4216396bb5d4efc"
    ENTRIES_UNWRITTEN = "3a684e7d013646378d3039159bec40b1"
    LOG_UNREADABLE = "98588815dd2b4b108f981f8f94043bde"
    LOG_READABLE = "1f5b111a8e2048d9bb448be133b6785c"
    HOST_BLOCKED = "410a135abed640b3af1fe2834b043b20"
    HOST_UNBLOCKED = "fd16ffa49df54f9cb030fb52ee3272e7"
    RULES_REMOVED = "446c504e321840e68cb9418ce8dc7685"


PACKETS = (MessageId.PACKET_DENIED, MessageId.PACKET_LOGGED, MessageId.PACKET_STAGED)
"""What is said of packets."""
