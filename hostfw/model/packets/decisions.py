"""Reasons of verdicts, in the words that counters, log records, `explain` and people share."""

from enum import StrEnum


class PolicyClass(StrEnum):
    """The classes of policy, in the order in which a packet meets them.

    doNotTrack policies are met before connection tracking, preDNAT ones before destination NAT, the others where the
    path is known: all of them by local traffic, those with applyOnForward by forwarded traffic.
    """

    UNTRACKED = "untracked"
    PRE_DNAT = "pre-dnat"
    NORMAL = "normal"
    FORWARD = "forward"


class Reason(StrEnum):
    """The reason of a decision. `OF_RULES` have a policy rule behind them; the others decide by themselves."""

    RULE = "rule"
    OVER_LIMIT = "over-limit"
    LIMIT_FULL = "limit-full"
    ESTABLISHED = "established"
    LOOPBACK = "loopback"
    NEIGHBOUR_DISCOVERY = "neighbour-discovery"
    MULTICAST_ANSWER = "multicast-answer"
    INVALID = "invalid"
    FAILSAFE = "failsafe"
    END_OF_TIER = "end-of-tier"
    NO_PROFILE_MATCH = "no-profile-match"
    NO_POLICY = "no-policy"
    UNMANAGED = "unmanaged-interface"
    NO_FORWARD_POLICY = "no-forward-policy"
    REVERSE_PATH = "no-reverse-path"
    SPOOFED = "spoofed-source"
    TO_HOST = "workload-to-host"
    UNIDENTIFIED = "unidentified-workload"


OF_LIMITS = (Reason.OVER_LIMIT, Reason.LIMIT_FULL)
"""Denials by the limit of a rule that allows: of a source that is beyond it, and of those that no room is left for.

Those have the limit of one source together, and are denied beyond that.
"""
OF_RULES = (Reason.RULE, *OF_LIMITS)
"""Reasons that have a policy rule behind them."""
