"""The control socket, which is opened again whatever somebody did to it."""

import asyncio
import errno
import os
import shutil
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from hostfw.control import channel
from hostfw.control.channel import is_lost
from hostfw.control.messages import Query
from hostfw.control.presence import Presence
from hostfw.control.server import Server
from hostfw.control.socket import Answer, socket_path
from hostfw.engine.context import Directories
from hostfw.engine.outcomes import NoTrial
from hostfw.host.errors import HostError
from hostfw.host.folder_events import FolderEvents

_PATIENCE_S = 20.0


class Kept:
    """A server whose socket is looked after, and what was said of it."""

    def __init__(self, run_dir: Path, *, managed: bool = False) -> None:
        self.directories = Directories(Path("/etc/hostfw"), Path("/var/lib/hostfw"), run_dir)
        self.path = socket_path(run_dir)
        self.troubles: list[str] = []
        self.told: list[str] = []
        self.lost: list[str] = []
        self.anew = 0
        self.server = Server(self.directories, self._reply, lambda _: None)
        start_anew = self._start_anew if managed else None
        self.presence = Presence(self.server, self.troubles.append, self.told.append, self.lost.append, start_anew)

    async def _reply(self, _: Query) -> Answer:
        return NoTrial()

    def _start_anew(self) -> None:
        self.anew += 1

    def live(self, story: Callable[[], Coroutine[object, object, None]]) -> None:
        """Let a story happen while it is looked after."""

        async def both() -> None:
            await self.server.open()
            looking = asyncio.create_task(self.presence.run())
            try:
                await until(lambda: self.troubles)
                await story()
                looking.cancel()
            finally:
                self.server.close()

        asyncio.run(both())

    def is_reached(self) -> bool:
        """True if somebody listens at the path."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.path)) == 0


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(_PATIENCE_S):
        while not holds():  # noqa: ASYNC110  files tell of nothing
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "act",
    ["removed", "folder removed", "folder moved", "replaced", "a file", "a folder", "a link", "another descriptor"],
)
def test_it_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    """And told; where the folder was another one, so is what was in it. What is no socket is moved aside."""
    monkeypatch.setattr("hostfw.control.presence.LOOK_S", 0.05)
    kept = Kept(tmp_path / "run")

    async def story() -> None:
        for _ in range(2):
            kept.told.clear()
            match act:
                case "removed":
                    kept.path.unlink()
                case "folder removed":
                    shutil.rmtree(kept.path.parent)
                case "folder moved":
                    kept.path.parent.rename(tmp_path / os.urandom(4).hex())
                case "a file":
                    kept.path.unlink()
                    kept.path.write_text("theirs")
                case "a folder":
                    kept.path.unlink()
                    kept.path.mkdir()
                case "a link":
                    kept.path.unlink()
                    kept.path.symlink_to(tmp_path)
                case "another descriptor":
                    # As where it was closed, and its number given away.
                    assert kept.server._server is not None
                    with socket.socket(socket.AF_UNIX) as theirs:
                        os.dup2(theirs.fileno(), kept.server._server.sockets[0].fileno())
                case _:
                    other = tmp_path / "other"
                    with socket.socket(socket.AF_UNIX) as stale:
                        stale.bind(str(other))
                    other.rename(kept.path)
            await until(lambda: kept.told)
            assert kept.is_reached()
            assert kept.path.stat().st_mode & 0o777 == 0o600
            assert kept.troubles[-1] == ""

    kept.live(story)
    assert kept.lost


def test_what_stands_in_the_way_is_trouble_until_it_is_gone(tmp_path: Path) -> None:
    """Clients know meanwhile that somebody listens whom they do not reach."""
    kept = Kept(tmp_path / "run")

    aside = kept.path.with_name("control.sock.aside")

    async def story() -> None:
        # What was moved aside before is not thrown away for it.
        aside.mkdir()
        (aside / "theirs").touch()
        kept.path.unlink()
        kept.path.mkdir()
        await until(lambda: kept.troubles[-1])
        assert "hostfwctl does not reach the service" in kept.troubles[-1]
        assert is_lost(kept.directories)
        shutil.rmtree(aside)
        await until(lambda: not kept.troubles[-1])
        assert kept.is_reached()

    kept.live(story)
    assert not is_lost(kept.directories)


def test_one_that_begins_while_its_client_looks_for_it_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the look through all processes takes on a busy host."""
    now_s = 0.0
    directories = Directories(Path("/etc/hostfw"), Path("/var/lib/hostfw"), tmp_path)

    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:

        def slow_look(_: Directories) -> bool:
            nonlocal now_s
            now_s += 60.0
            listener.bind(str(socket_path(tmp_path)))
            listener.listen()
            return True

        monkeypatch.setattr(channel, "is_lost", slow_look)
        monkeypatch.setattr(channel, "monotonic", lambda: now_s)
        channel._connect(client, socket_path(tmp_path), directories)
        assert client.getpeername() == str(socket_path(tmp_path))


def test_a_sandbox_that_has_no_folder_for_it_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the service manager."""
    kept = Kept(tmp_path / "run", managed=True)

    async def read_only() -> None:
        raise HostError("no") from OSError(errno.EROFS, os.strerror(errno.EROFS))

    async def story() -> None:
        monkeypatch.setattr(kept.server, "open", read_only)
        shutil.rmtree(kept.path.parent)
        await until(lambda: kept.anew)

    kept.live(story)


def test_a_server_that_stops_lacks_nothing(tmp_path: Path) -> None:
    """It takes its socket away itself, and that of nobody else."""
    kept = Kept(tmp_path / "run")

    async def story() -> None:
        await kept.server.stop()
        await asyncio.sleep(0.3)
        assert not kept.path.exists()

    kept.live(story)
    assert kept.told == []


def test_events_of_other_names_are_not_ours(tmp_path: Path) -> None:
    """And a folder that is gone is an error."""
    folder = tmp_path / "folder"
    folder.mkdir()
    events = FolderEvents(folder / "name")
    try:
        assert not events.read()
        (folder / "other").write_text("")
        assert not events.read()
        (folder / "name").write_text("")
        assert events.read()
        shutil.rmtree(folder)
        with pytest.raises(FileNotFoundError):
            events.read()
    finally:
        events.close()
