"""Members that hostfwctl put into external sets, kept for the next boot: state_dir/members/NAME.json.

What other programs put in by nft itself is theirs to put in again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hostfw.host.store.atomic_files import WriteError, write_atomically
from hostfw.host.store.codec import load_json, to_json_of_many
from hostfw.model.moments import moment_of
from hostfw.model.values import Cidr, address_text, host_cidr, parse_address, parse_cidr

_FOLDER = "members"
_ENDING = ".json"


@dataclass(frozen=True, slots=True)
class SavedMembers:
    """The members of one set with the moment at which each ends (None: never), as they were at a moment."""

    at: datetime | None
    ends: Mapping[Cidr, datetime | None]


def saved_sets(state_dir: Path) -> tuple[str, ...]:
    """The names of the external sets of which members are kept, sorted."""
    try:
        found = sorted(path.name for path in (state_dir / _FOLDER).iterdir())
    except OSError:
        return ()
    return tuple(name.removesuffix(_ENDING) for name in found if name.endswith(_ENDING) and name[0] != ".")


def load_members(state_dir: Path, name: str) -> SavedMembers:
    """The members that are kept of a set; none where there is no file that can be read."""
    data, _ = load_json(state_dir / _FOLDER / f"{name}{_ENDING}")
    match data:
        case {"at": str(at), "members": list(items)}:
            return SavedMembers(moment_of(at), dict(filter(None, map(_member, items))))
        case _:
            return SavedMembers(None, {})


def save_members(state_dir: Path, name: str, saved: SavedMembers) -> None:
    """Keep the members of a set. Raises WriteError."""
    folder = state_dir / _FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(error.errno, error.strerror, str(folder)) from error
    members = [[_text(cidr), None if end is None else end.isoformat()] for cidr, end in sorted(saved.ends.items())]
    at = None if saved.at is None else saved.at.isoformat()
    write_atomically(folder / f"{name}{_ENDING}", to_json_of_many(at=at, members=members))


def _member(item: object) -> tuple[Cidr, datetime | None] | None:
    match item:
        case [str(text), None]:
            cidr, end = _cidr(text), None
        case [str(text), str(moment)]:
            cidr, end = _cidr(text), moment_of(moment)
            if end is None:
                return None
        case _:
            return None
    return None if cidr is None else (cidr, end)


def _cidr(text: str) -> Cidr | None:
    address = parse_address(text)
    return host_cidr(*address) if address else parse_cidr(text)


def _text(cidr: Cidr) -> str:
    return address_text(cidr.family, cidr.address) if cidr.is_host else str(cidr)
