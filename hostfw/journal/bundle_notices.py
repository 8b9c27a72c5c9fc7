"""Notices of bundles that a host pulls, as the fields of journal entries."""

from hostfw.journal.entry import NOTICE, WARNING, Fields, entry
from hostfw.journal.message_ids import MessageId


def bundle_taken(source: str, number: int | None, signer: str, generation: str) -> Fields:
    """A bundle was verified, tried and accepted."""
    by = f", signed by {signer}" if signer else ""
    return entry(
        MessageId.BUNDLE_TAKEN,
        NOTICE,
        f"bundle {number} is in force{by}",
        SOURCE=source,
        BUNDLE=number,
        SIGNER=signer,
        GENERATION=generation,
    )


def bundle_not_taken(source: str, number: int | None, state: str, cause: str, hint: str) -> Fields:
    """A bundle could not be had, is not to be believed, was refused by a check, or was rolled back."""
    which = "no bundle was taken" if number is None else f"bundle {number} was not taken"
    return entry(
        MessageId.BUNDLE_NOT_TAKEN,
        WARNING,
        f"{which} ({state}), what was in force stays: {cause}",
        SOURCE=source,
        BUNDLE=number,
        STATE=state,
        CAUSE=cause,
        HINT=hint,
    )
