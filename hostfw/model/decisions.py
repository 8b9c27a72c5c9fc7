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
    """The reason of a decision. Only `RULE` has a policy rule behind it; the others decide by themselves."""

    RULE = "rule"
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
