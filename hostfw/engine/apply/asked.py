"""The command that has a configuration put into force, and the intention behind it."""

from enum import StrEnum


class Asked(StrEnum):
    """The kind of command behind a change of policy.

    `apply` takes the name that the host has now for its node, where HostEndpoints have it; otherwise the node is the
    one on record.
    """

    APPLY = "apply"
    QUICK = "quick"
    """`allow`, `deny` or `remove`."""
    RELOAD = "reload"
    """A reload, which a timer or a deployment asks for as well, or SIGHUP."""

    @property
    def trusts_clock(self) -> bool:
        """True if the clock counts as right, even where it was ahead of now the last time: a person is there."""
        return self is not Asked.RELOAD
