"""The log prefix codec."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.audit.log_prefix import MAX_PREFIX_BYTES, LogTag, decode, encode, stands_for
from hostfw.model.packets.decisions import Reason
from hostfw.model.values import Action, Direction

LONGEST_LABEL = 63
LONGEST_NAME = 253
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=LONGEST_NAME)
tags = st.builds(
    LogTag,
    st.sampled_from((Action.DENY, Action.LOG)),
    st.sampled_from(Direction),
    st.sampled_from(Reason),
    st.one_of(st.just(""), names.map(lambda name: name[:LONGEST_LABEL])),
    st.one_of(st.just(""), names),
    st.one_of(st.none(), st.integers(0, 1023)),
)


@pytest.mark.parametrize(
    ("tag", "prefix"),
    [
        (
            LogTag(Action.DENY, Direction.INGRESS, Reason.RULE, "default", "web", 2),
            "hostfw:DI|rule|default|web|2",
        ),
        (LogTag(Action.LOG, Direction.EGRESS, Reason.RULE, "", "office", 0), "hostfw:LE|rule||office|0"),
        (LogTag(Action.DENY, Direction.EGRESS, Reason.END_OF_TIER, "security"), "hostfw:DE|end-of-tier|security"),
        (LogTag(Action.DENY, Direction.INGRESS, Reason.UNMANAGED), "hostfw:DI|unmanaged-interface"),
    ],
)
def test_a_prefix_names_what_logged(tag: LogTag, prefix: str) -> None:
    """Short names are spelled out, and what does not apply is left out at the end."""
    assert prefix == encode(tag)
    assert tag == decode(prefix)


@given(tag=tags)
def test_every_prefix_fits_and_is_understood(tag: LogTag) -> None:
    """However long the names are, nft takes the prefix, and its decoded names stand for the real ones."""
    prefix = encode(tag)

    decoded = decode(prefix)

    assert len(prefix.encode()) <= MAX_PREFIX_BYTES
    assert decoded is not None
    assert (decoded.action, decoded.direction, decoded.reason, decoded.index) == (
        tag.action,
        tag.direction,
        tag.reason,
        tag.index,
    )
    assert stands_for(decoded.tier, tag.tier)
    assert stands_for(decoded.policy, tag.policy)


def test_names_that_begin_alike_stay_apart() -> None:
    """Two long names with one head get two prefixes, and no real name is what either is shortened to."""
    one, other = (LogTag(Action.DENY, Direction.INGRESS, Reason.RULE, "t", "a" * 200 + end, 0) for end in "xy")

    assert encode(one) != encode(other)
    assert "~" in encode(one)


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "calico-packet: ",
        "hostfw:",
        "hostfw:D",
        "hostfw:XI|rule",
        "hostfw:DX|rule",
        "hostfw:DI",
        "hostfw:DI|because",
        "hostfw:DI|rule|a|b|c",
        "hostfw:DI|rule|a|b|1|2",
        "hostfw:DI|rule|a|b|²",
        "hostfwDI|rule",
        f"hostfw:DI|rule|a|b|{'1' * 5000}",
    ],
)
def test_what_hostfw_did_not_write_is_not_decoded(foreign: str) -> None:
    """Prefixes of others, cut ones and garbage mean nothing."""
    assert decode(foreign) is None
