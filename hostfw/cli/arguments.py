"""What an argument may say, for argparse: each function gives its value or raises ArgumentTypeError."""

from argparse import ArgumentTypeError

from hostfw.model.decisions import Reason
from hostfw.model.values import Cidr, host_cidr, parse_address, parse_cidr

LOGGED_REASONS = (
    Reason.RULE,
    Reason.END_OF_TIER,
    Reason.NO_PROFILE_MATCH,
    Reason.NO_POLICY,
    Reason.UNMANAGED,
    Reason.INVALID,
)
"""The reasons that log records have."""


def positive(text: str) -> int:
    """A whole number, at least 1."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise ArgumentTypeError(f'"{text}" is not a whole number from 1')
    return int(text)


def cidr(text: str) -> Cidr:
    """A prefix, or an address as the prefix that holds it alone."""
    address = parse_address(text)
    found = host_cidr(*address) if address else parse_cidr(text)
    if found is None:
        raise ArgumentTypeError(f'"{text}" is neither an address nor a prefix')
    return found
