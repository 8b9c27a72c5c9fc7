"""Results of the engine: each is a value that says what is in force now."""

import errno
from dataclasses import dataclass

from hostfw.host.errors import HostError
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.tables import KernelTables
from hostfw.host.nftables.writing.script_runner import NftFailure, NftResult
from hostfw.host.store.generations.active import ActiveGeneration
from hostfw.host.store.generations.last_event import Event
from hostfw.host.store.generations.trial import Trial
from hostfw.model.host.governance import NOTHING_GOVERNED, Governance, GovernedInterface
from hostfw.model.problems import Problem
from hostfw.model.values import FAMILIES, Cidr, Family

UNCHANGED = "the ruleset in force is unchanged"
FEEDS_CHANGED = "the rules in force are unchanged, with the new content of big Feeds"
SOME_FEEDS_CHANGED = "the rules in force are unchanged, with the new content of some big Feeds and the old of others"
CLEARED = "every rule of hostfw was deleted first, as sets had been replaced: input and output are blocked"
UNKNOWN = "the active rules are unknown: run `hostfwctl status`"
UNRECORDED = "changed by hostfw or by another program, since no record can be written in the run directory"

_MOST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Failed:
    """The request failed; `in_force` describes what is enforced now.

    `more` are further reasons, in sentences, that the message only counts.
    """

    message: str
    hint: str = ""
    in_force: str = UNCHANGED
    not_permitted: bool = False
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The trial was accepted; with `trial` None there was nothing to confirm.

    `unsaved` is as in `Applied`.
    """

    trial: Trial | None
    generation: str
    warnings: tuple[str, ...] = ()
    unsaved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TooLate:
    """The trial had been rolled back before it was confirmed; `event` has the time and the reason."""

    event: Event


@dataclass(frozen=True, slots=True)
class RolledBack:
    """An accepted generation is in force again, `generation` None for none at all; `event` says what was rolled back.

    `from_sources` is False where the stored script was used, since its sources no longer compile on this host.
    `unsaved` is as in `Applied`.
    """

    generation: str | None
    event: Event
    from_sources: bool = True
    warnings: tuple[str, ...] = ()
    unsaved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoTrial:
    """There is nothing to roll back: what is in force is what was accepted."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state: `record` is what was written down, `drift` are the differences in the kernel, in sentences.

    `families` are the IP versions whose packets meet rules of ours.

    `trial` is what waits to be confirmed for `left_s` more seconds, `event` the last thing that happened, and
    `warnings` what could not be put right. `governance` is what the host is on record to govern, and `host_name` what
    it is called now, in lower case. With `begun` a change of ours did not end, so that drift may be a part of it.
    """

    families: tuple[Family, ...]
    record: ActiveGeneration | None
    drift: tuple[str, ...]
    tables: KernelTables
    problems: tuple[Problem, ...] = ()
    trial: Trial | None = None
    left_s: float = 0
    event: Event | None = None
    warnings: tuple[str, ...] = ()
    governance: Governance = NOTHING_GOVERNED
    host_name: str = ""
    begun: bool = False
    unrecorded: bool = False

    @property
    def in_force(self) -> bool:
        """True if packets of both IP versions meet rules of ours."""
        return self.families == FAMILIES

    @property
    def unmet(self) -> tuple[Family, ...]:
        """The IP version whose packets meet no rules of ours although those of the other one do."""
        return tuple(family for family in FAMILIES if self.families and family not in self.families)

    @property
    def whose(self) -> str:
        """The author of the differences, as far as that is known, as the beginning of a sentence about them."""
        if self.begun:
            return "a change by hostfw did not end"
        return UNRECORDED if self.unrecorded else "another program changed our tables"

    @property
    def other_name(self) -> str | None:
        """The name of the host where it is not that of the node whose HostEndpoints govern it, None where it is."""
        differs = self.governance.node_of_host and self.host_name not in ("", self.governance.node)
        return self.host_name if differs else None

    @property
    def kept(self) -> tuple[GovernedInterface, ...]:
        """The interfaces that are there and that no HostEndpoint claims any more."""
        return tuple(interface for interface in self.governance.kept if interface.index)


def failed(error: HostError) -> Failed:
    """A failure before packets met anything new."""
    refused = isinstance(error, NetlinkError) and error.errno in (errno.EPERM, errno.EACCES)
    unknown = isinstance(error, NftFailure) and not error.unchanged
    return Failed(
        error.message,
        error.hint,
        UNKNOWN if unknown else UNCHANGED,
        not_permitted=refused or isinstance(error.__cause__, PermissionError),
    )


def refusal(result: NftResult) -> str:
    """The reason of a refusal by nft, on one line: the first error, without the marker line below it."""
    lines = [line.strip() for line in result.error.splitlines() if line.strip()]
    found = next((line for line in lines if "Error:" in line), lines[0] if lines else "it gave no reason")
    return shortened(found.partition("Error:")[2].strip() or found)


def shortened(text: str) -> str:
    """As much of a text as a person reads on a line."""
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}..."


@dataclass(frozen=True, slots=True)
class MembersChange:
    """A change of the members of the external set of a Feed: `added` for so many seconds, or for as long as it says."""

    name: str
    added: tuple[Cidr, ...] = ()
    for_s: int | None = None
    removed: tuple[Cidr, ...] = ()


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """The result: members that are new or end later, those that were there, those that went, and those that were not.

    `unsaved` is why a reboot will not bring them back as they are now.
    """

    name: str
    added: tuple[Cidr, ...] = ()
    kept: tuple[Cidr, ...] = ()
    removed: tuple[Cidr, ...] = ()
    absent: tuple[Cidr, ...] = ()
    warnings: tuple[str, ...] = ()
    unsaved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoSuchSet:
    """No rule in force asks for an external set of that name."""

    name: str
