"""Knowledge of bundles on this host: the one that was accepted, below which none is, and the one that is tried."""

from dataclasses import dataclass, field
from pathlib import Path

from hostfw.host.bundles.folders import FOLDER, bundles_folder, folder_name
from hostfw.host.errors import HostError
from hostfw.host.store.atomic_files import write_atomically
from hostfw.host.store.codec import load_json, saving, to_json

_STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Known:
    """A bundle that was verified: its number, the digest of its manifest, and its name.

    `all_endpoints` is no part of it: whether this host has the endpoints of all hosts with it, where they are separate.
    """

    number: int
    digest: str
    name: str
    all_endpoints: bool = field(default=False, compare=False)

    @property
    def folder(self) -> str:
        """The name of the folder that its files are in."""
        return folder_name(self.number, all_endpoints=self.all_endpoints)


@dataclass(frozen=True, slots=True)
class BundleState:
    """All that outlives a pull.

    `accepted` is the bundle with the highest number that was in force and confirmed. `trying` was begun, so often,
    without an end that is known. `failed` was rolled back or refused, for a reason; with `lasting` it is not tried
    again. `origin`, `etag` and `modified` belong to what was fetched last.
    """

    accepted: Known | None = None
    trying: Known | None = None
    attempts: int = 0
    failed: Known | None = None
    why: str = ""
    lasting: bool = False
    origin: str = ""
    etag: str = ""
    modified: str = ""


def save_state(state_dir: Path, state: BundleState) -> None:
    """Write it down, durably. Raises StateError."""
    with saving("what is known of bundles"):
        write_atomically(
            bundles_folder(state_dir) / _STATE,
            to_json(
                accepted=_fields(state.accepted),
                trying=_fields(state.trying),
                attempts=state.attempts,
                failed=_fields(state.failed),
                why=state.why,
                lasting=state.lasting,
                origin=state.origin,
                etag=state.etag,
                modified=state.modified,
            ),
        )


def load_state(state_dir: Path) -> BundleState:
    """The state as it was written down. Raises HostError if it cannot be read: a lower number must not pass by that."""
    path = state_dir / FOLDER / _STATE
    data, problems = load_json(path)
    match data:
        case None if not problems:
            return BundleState()
        case {
            "format": 1,
            "accepted": accepted,
            "trying": trying,
            "failed": failed,
            "attempts": int(attempts),
            "why": str(why),
            "lasting": bool(lasting),
            "origin": str(origin),
            "etag": str(etag),
            "modified": str(modified),
        }:
            return BundleState(
                _known(accepted), _known(trying), attempts, _known(failed), why, lasting, origin, etag, modified
            )
        case _:
            raise HostError(
                f"{path} is not what hostfw wrote, so which bundles are older than the one in force is not known",
                f"restore it, or remove it to trust the next bundle that is signed, whatever its number: rm {path}",
            )


def _fields(known: Known | None) -> dict[str, object] | None:
    if known is None:
        return None
    found = {"number": known.number, "digest": known.digest, "name": known.name}
    return {**found, "allEndpoints": True} if known.all_endpoints else found


def _known(found: object) -> Known | None:
    match found:
        case {"number": int(number), "digest": str(digest), "name": str(name)} if isinstance(found, dict):
            return Known(number, digest, name, found.get("allEndpoints") is True)
        case _:
            return None
