"""The sleep of the host up to the last look at members of external sets: run_dir/asleep.json, for one boot."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hostfw.host.store.atomic_files import write_atomically
from hostfw.host.store.codec import load_json, to_json_of_many

_FILE = "asleep.json"


@dataclass(frozen=True, slots=True, order=True)
class SleepSoFar:
    """The seconds that the host had slept in this boot at a moment.

    `at_s` is that moment by the clock that stands still while the host sleeps (CLOCK_MONOTONIC, clock_gettime(2)).
    """

    at_s: float
    asleep_s: float


def load_looks(run_dir: Path, boot_id: str) -> Mapping[str, SleepSoFar]:
    """The last complete look at each set, by its name, in this boot. Raises Unreadable."""
    data, _ = load_json(run_dir / _FILE)
    match data:
        case {"boot_id": str(of), "sets": dict(sets)} if of == boot_id:
            return {str(name): look for name, values in sets.items() if (look := _look(values)) is not None}
        case _:
            return {}


def save_looks(run_dir: Path, boot_id: str, looks: Mapping[str, SleepSoFar]) -> None:
    """Keep the last complete look at each set. Raises WriteError."""
    sets = {name: [round(look.at_s, 3), round(look.asleep_s, 3)] for name, look in sorted(looks.items())}
    write_atomically(run_dir / _FILE, to_json_of_many(boot_id=boot_id, sets=sets))


def _look(values: object) -> SleepSoFar | None:
    match values:
        case [int() | float() as at_s, int() | float() as asleep_s]:
            return SleepSoFar(at_s, asleep_s)
        case _:
            return None
