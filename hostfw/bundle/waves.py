"""Waves of a rollout: when a host takes a bundle, decided by each host for itself.

A host knows its ring and its name, the manifest says which rings come when, and a tally says how those fared that came
before. Nobody has to be asked, and a tally that lies can hasten or stop a rollout but never change what is signed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from hostfw.bundle.manifest import ALL, Manifest, Wave

_PARTS = 10_000
"""Into so many parts hosts fall by their names; a percent is a hundred of them."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The hosts that a bundle is in force on and confirmed, and those that rolled it back or refused it."""

    confirmed: int = 0
    failed: int = 0

    @property
    def tried(self) -> int:
        """All of them."""
        return self.confirmed + self.failed


@dataclass(frozen=True, slots=True)
class Wait:
    """The host does not take the bundle now: why, in a sentence, and what would change that.

    `until` is the moment at which it can, None if something else has to happen. `stopped` says that the rollout has
    stopped by itself.
    """

    message: str
    hint: str = ""
    until: datetime | None = None
    stopped: bool = False


def decide(manifest: Manifest, node: str, ring: str, now: datetime, tally: Tally | None) -> Wait | None:
    """Say why a host does not take a bundle now; None if it does. `tally` is None where none could be had."""
    known = tally if manifest.most_failed is not None else None
    if known is not None and _too_many_failed(manifest, known):
        return Wait(
            f"the rollout of bundle {manifest.number} has stopped: {known.failed} of {known.tried} hosts that tried "
            f"it failed, more than {manifest.most_failed} %",
            "publish a bundle with a higher number; the status records of those hosts say why",
            stopped=True,
        )
    if not manifest.waves:
        return None
    own = own_wave(manifest, node, ring)
    if own is None:
        return Wait(
            f"bundle {manifest.number} is for the rings {', '.join(_rings(manifest.waves))}, and this host is in "
            f"{f'ring {ring}' if ring else 'none'}",
            "give the ring of this host with --ring, or publish the bundle with a wave for all",
        )
    begins = manifest.created + timedelta(seconds=own.after_s)
    if now < begins:
        return Wait(
            f"bundle {manifest.number} is for ring {own.ring} from {begins:%Y-%m-%d %H:%M:%S} UTC on", "", begins
        )
    if manifest.most_failed is None or own.after_s == manifest.waves[0].after_s:
        return None
    if known is None:
        return Wait(
            f"bundle {manifest.number} is for this host once others confirm it, and how they fare is not known",
            "give --tally the place of the tally that `hostfwctl bundle --records` writes",
        )
    if known.confirmed < manifest.least_confirmed:
        return Wait(
            f"bundle {manifest.number} is for this host once {manifest.least_confirmed} hosts confirm it, "
            f"and {known.confirmed} did"
        )
    return None


def own_wave(manifest: Manifest, node: str, ring: str) -> Wave | None:
    """The first wave that a host is in, None if it is in none."""
    part = part_of(manifest, node)
    mine = (wave for wave in manifest.waves if wave.ring in (ring, ALL) and part < wave.share * _PARTS // 100)
    return next(mine, None)


def part_of(manifest: Manifest, node: str) -> int:
    """The part that a host falls into: evenly by its name, and another with every bundle."""
    digest = sha256(f"{manifest.name}\n{manifest.number}\n{node}".encode()).digest()
    return int.from_bytes(digest[:8]) % _PARTS


def _too_many_failed(manifest: Manifest, tally: Tally) -> bool:
    return manifest.most_failed is not None and tally.failed * 100 > manifest.most_failed * tally.tried


def _rings(waves: Iterable[Wave]) -> list[str]:
    return sorted({wave.ring for wave in waves})
