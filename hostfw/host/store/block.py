"""The record of a block, so that it outlives a repair and a reboot.

    state_dir/block.json    since when, what was kept, and the script of this boot
    state_dir/block.nft     the script that the boot loads: no session survives it, so its peers may begin anew

Only the kernel knows the actual block; both files serve to restore it.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hostfw.host.store.atomic_files import removed, sync_directory, write_atomically
from hostfw.host.store.codec import load_json, load_text, saving, to_json
from hostfw.model.time.moments import moment_of

_RECORD = "block.json"
_BOOT_SCRIPT = "block.nft"


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """A block: `kept` are the ssh sessions that go on, as `peer to port`; `everything` is whether none was to.

    `until` is the moment at which it ends by itself, None for never, and `timer` what stops waiting for it. In the boot
    in which it began, `until_uptime_s` is that moment: seconds since the boot, sleep included, whatever the clock says.
    """

    at: datetime
    everything: bool
    kept: tuple[str, ...]
    boot_id: str
    script: str
    boot_script: str
    until: datetime | None = None
    timer: str = ""
    until_uptime_s: float | None = None

    def left_s(self, now: datetime, boot_id: str, uptime_s: float) -> float | None:
        """The seconds after which it ends by itself, negative once it should have; None if it does not."""
        if self.until is None:
            return None
        if self.until_uptime_s is not None and boot_id == self.boot_id:
            return self.until_uptime_s - uptime_s
        return (self.until - now).total_seconds()

    def script_of(self, boot_id: str) -> str:
        """The script that blocks the host in a boot: in another boot the sessions of the first are gone."""
        return self.script if boot_id == self.boot_id else self.boot_script


def save_block(state_dir: Path, record: BlockRecord) -> None:
    """Remember a block, durably. Raises StateError."""
    with saving("the block"):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(state_dir / _BOOT_SCRIPT, record.boot_script.encode())
        write_atomically(
            state_dir / _RECORD,
            to_json(
                at=record.at.isoformat(),
                everything=record.everything,
                kept=list(record.kept),
                boot_id=record.boot_id,
                script=record.script,
                until=record.until.isoformat() if record.until is not None else None,
                timer=record.timer,
                until_uptime_s=record.until_uptime_s,
            ),
        )


def load_block(state_dir: Path) -> BlockRecord | None:
    """The block that is remembered; None if there is none, or a damaged one. Raises Unreadable."""
    boot_script, _ = load_text(state_dir / _BOOT_SCRIPT, required=False)
    data, _ = load_json(state_dir / _RECORD)
    match data:
        case {
            "format": 1,
            "at": str(at),
            "everything": bool(everything),
            "kept": list(kept),
            "boot_id": str(boot_id),
            "script": str(script),
            **others,
        } if boot_script is not None and (when := moment_of(at)) is not None:
            until = others.get("until")
            ends = moment_of(until) if isinstance(until, str) else None
            timer = str(others.get("timer", ""))
            uptime_s = others.get("until_uptime_s")
            ends_s = float(uptime_s) if isinstance(uptime_s, float | int) else None
            about = (when, everything, tuple(map(str, kept)), boot_id, script, boot_script)
            return BlockRecord(*about, ends, timer, ends_s)
        case _:
            return None


def forget_block(state_dir: Path) -> None:
    """Let no boot block the host again, durably. Raises StateError."""
    with saving("that the host is not blocked"):
        # Both are removed before it counts whether one was there.
        if any([removed(state_dir / _BOOT_SCRIPT), removed(state_dir / _RECORD)]):
            sync_directory(state_dir)
