"""Members that hostfwctl put into external sets, kept for the next boot: state_dir/members/NAME.json.

The boot reads them without Python (units/hostfw-boot), so moments are whole seconds since 1970. What other programs put
in by nft itself is theirs to put in again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hostfw.host.store.atomic_files import WriteError, write_atomically
from hostfw.host.store.codec import load_json, names_in, to_json_of_many
from hostfw.manifest.scalars.net_texts import loose_cidr
from hostfw.model.values import Cidr, address_text

_FOLDER = "members"
_ENDING = ".json"


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by the clock on the wall and by the one that counts from a boot, sleep included, in seconds."""

    wall: datetime
    boot_id: str
    uptime_s: float


@dataclass(frozen=True, slots=True)
class SavedMembers:
    """The members of one set with the moment at which each ends (None: never), as they were at a moment."""

    at: Moment | None = None
    ends: Mapping[Cidr, datetime | None] = field(default_factory=dict)

    def left_s(self, now: Moment, tolerance: timedelta) -> Mapping[Cidr, float | None]:
        """The seconds that each has left, negative for what is over.

        In the boot in which they were written down, the clock that counts from it says that, whatever became of the
        clock on the wall. After it the clock on the wall does, unless it is behind the moment of then.
        """
        if self.at is None:
            return dict.fromkeys(self.ends)
        passed_s = (now.wall - self.at.wall).total_seconds()
        if now.boot_id == self.at.boot_id:
            passed_s = now.uptime_s - self.at.uptime_s
        elif self.is_behind(now, tolerance):
            passed_s = 0
        at = self.at.wall
        return {cidr: None if end is None else (end - at).total_seconds() - passed_s for cidr, end in self.ends.items()}

    def is_behind(self, now: Moment, tolerance: timedelta) -> bool:
        """True if the clock on the wall is wrong: it is behind the moment at which they were written down."""
        at = self.at
        return at is not None and now.boot_id != at.boot_id and now.wall < at.wall - tolerance


def saved_sets(state_dir: Path) -> tuple[str, ...]:
    """The names of the external sets of which members are kept, sorted. Raises Unreadable."""
    found = names_in(state_dir / _FOLDER)
    return tuple(name.removesuffix(_ENDING) for name in found if name.endswith(_ENDING) and name[0] != ".")


def load_members(state_dir: Path, name: str) -> SavedMembers:
    """The members that are kept of a set; none where there is no file, or a damaged one. Raises Unreadable."""
    data, _ = load_json(state_dir / _FOLDER / f"{name}{_ENDING}")
    match data:
        case {
            "at": int(at),
            "boot_id": str(boot_id),
            "uptime_s": int() | float() as uptime_s,
            "members": list(items),
        } if (wall := _moment(at)) is not None:
            return SavedMembers(Moment(wall, boot_id, float(uptime_s)), dict(filter(None, map(_member, items))))
        case _:
            return SavedMembers()


def save_members(state_dir: Path, name: str, saved: SavedMembers) -> None:
    """Keep the members of a set. Raises WriteError."""
    folder = state_dir / _FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(error.errno, error.strerror, str(folder)) from error
    members = [[_text(cidr), None if end is None else _second(end)] for cidr, end in sorted(saved.ends.items())]
    at = (
        {}
        if saved.at is None
        else {"at": _second(saved.at.wall), "boot_id": saved.at.boot_id, "uptime_s": saved.at.uptime_s}
    )
    write_atomically(folder / f"{name}{_ENDING}", to_json_of_many(**at, members=members))


def _second(moment: datetime) -> int:
    return round(moment.timestamp())


def _moment(second: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(second, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _member(item: object) -> tuple[Cidr, datetime | None] | None:
    match item:
        case [str(text), None]:
            cidr, end = loose_cidr(text), None
        case [str(text), int(second)]:
            cidr, end = loose_cidr(text), _moment(second)
            if end is None:
                return None
        case _:
            return None
    return None if cidr is None else (cidr, end)


def _text(cidr: Cidr) -> str:
    return address_text(cidr.family, cidr.address) if cidr.is_host else str(cidr)
