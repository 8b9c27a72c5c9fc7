"""The MESSAGE_ID of every kind of event that hostfw writes to the journal (systemd.journal-fields(7)).

`journalctl MESSAGE_ID=...` finds all of a kind, and the journal's catalog explains each. They never change.
"""

from enum import StrEnum


class MessageId(StrEnum):
    """A kind of event."""

    PACKET_DENIED = "dd18b36d2f544707bcaf999179cf37ff"
    PACKET_LOGGED = "2a2337468288474d94faa275388fafba"
    PACKET_STAGED = "6c7afc3b409245959d699325b8bc77d6"
