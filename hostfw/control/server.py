"""The control socket of the daemon: who may ask, and what is asked in which words."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from hostfw.control.codec import CodecError
from hostfw.control.messages import Query
from hostfw.control.socket import (
    Answer,
    Envelope,
    Incoming,
    OtherReleaseError,
    Refusal,
    answer_bytes,
    envelope_of,
    our_namespace,
    peer_uid,
    refusal_bytes,
    socket_path,
)
from hostfw.engine.context import Directories
from hostfw.host.errors import HostError
from hostfw.host.process.descriptors import descriptor_identity

READ_TIMEOUT_S = 60.0
"""Time limit for a request to arrive."""

WRITE_TIMEOUT_S = 60.0
"""Time limit for a client to read its answer."""
MOST_AT_ONCE = 64
"""Conversations of which the request is still awaited: the oldest makes room for another, so that files are left."""
ACCEPTING_S = 0.05
"""Longest time until a new connection is accepted."""
ASIDE = ".aside"
"""The end of the name that something gets that stood in the place of the socket and is none."""

_PART_BYTES = 256 * 1024
_ROOT = 0

Answering = Callable[[Query], Awaitable[Answer]]


class Server:
    """Listens at the control socket, for root alone. `defect` hears of a conversation that failed unexpectedly."""

    def __init__(self, directories: Directories, answer: Answering, defect: Callable[[Exception], None]) -> None:
        """Listens to nobody before `open`."""
        self._directories = directories
        self._answer_to = answer
        self._defect = defect
        self.path = socket_path(directories.run)
        self._identity: tuple[int, int] | None = None
        self._descriptor: tuple[int, int] | None = None
        self._conversations: set[asyncio.Task[None]] = set()
        self._awaited: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None
        self._room = asyncio.Lock()

    async def open(self) -> None:
        """Listen, also anew where somebody took our socket away. Raises HostError.

        That is if another daemon listens, or the path is no good.
        """
        path, old_server = self.path, self._server
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _make_room(path)
            old = os.umask(0o177)
            try:
                self._server = await asyncio.start_unix_server(self._begin, str(path))
            finally:
                os.umask(old)
            self._identity = _identity(path)
            self._descriptor = descriptor_identity(self._server.sockets[0].fileno())
        except OSError as error:
            raise HostError(f"{path}: cannot be listened at: {error.strerror or error}") from error
        if old_server is not None:
            # Those who came before are let in.
            await asyncio.sleep(ACCEPTING_S)
            with suppress(OSError):
                # It may have been closed under us.
                old_server.close()

    def lacking(self) -> str:
        """The reason why clients do not find us at the path, empty if they do, or nobody is to."""
        if self._server is None or self._identity is None:
            return ""
        if self._descriptor != descriptor_identity(self._server.sockets[0].fileno() if self._server.sockets else -1):
            return "the control socket was closed"
        try:
            is_ours = _identity(self.path) == self._identity
        except (FileNotFoundError, NotADirectoryError):
            return f"{self.path if self.path.parent.is_dir() else self.path.parent} was removed"
        except OSError:
            # It may be there.
            return ""
        return "" if is_ours else f"{self.path} was replaced"

    async def stop(self) -> None:
        """Let nobody in any more: who comes from here on finds no daemon, and does without."""
        with suppress(OSError):
            if not self.lacking():
                self.path.unlink()
        # Those who came before are let in.
        await asyncio.sleep(ACCEPTING_S)
        self.close()

    async def drain(self, patience_s: float) -> None:
        """Let the conversations come to their end; those that do not in time are broken off."""
        if self._conversations:
            _, unended = await asyncio.wait(self._conversations, timeout=patience_s)
            for conversation in unended:
                conversation.cancel()

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._ended)
        self._awaited[conversation] = writer
        if len(self._awaited) > MOST_AT_ONCE:
            oldest = next(iter(self._awaited))
            # It may not even have begun.
            self._awaited.pop(oldest).close()
            oldest.cancel()

    def _ended(self, conversation: "asyncio.Task[None]") -> None:
        self._conversations.discard(conversation)
        self._awaited.pop(conversation, None)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its answer; whatever the other side does, only this conversation ends."""
        try:
            writer.write(await self._answer_bytes(reader, writer))
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await writer.drain()
        except (OSError, TimeoutError):
            # Nobody is there to be told.
            pass
        except Exception as error:  # noqa: BLE001  the boundary of the service
            self._defect(error)
        finally:
            writer.close()
            with suppress(Exception):
                await writer.wait_closed()

    async def _answer_bytes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        try:
            return answer_bytes(await self._answer(reader, writer))
        except OtherReleaseError as error:
            return refusal_bytes(Refusal(str(error), error.hint), error.version)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        """Answer one request. Raises OtherReleaseError."""
        if peer_uid(writer.get_extra_info("socket")) != _ROOT:
            return Refusal("only root may ask the daemon", "run it as root")
        try:
            envelope = await asyncio.wait_for(_read_envelope(reader, self._room), READ_TIMEOUT_S)
        except TimeoutError:
            return Refusal(f"the request did not come within {READ_TIMEOUT_S:g} s")
        except OtherReleaseError:
            raise
        except CodecError as error:
            return Refusal(f"the daemon does not understand the request: {error}", "`systemctl restart hostfw`")
        except Exception as error:  # noqa: BLE001  whatever is sent, there is an answer
            self._defect(error)
            return Refusal(f"the daemon does not understand the request: {type(error).__name__}", "please report it")
        if (conversation := asyncio.current_task()) is not None:
            self._awaited.pop(conversation, None)
        return _not_ours(envelope, self._directories) or await self._answer_to(envelope.request)


async def _read_envelope(reader: asyncio.StreamReader, room: asyncio.Lock) -> Envelope:
    """Read a message to its end. A refused one is read and not kept, so that the client can read the answer.

    There is `room` for one long message at a time. Raises CodecError.
    """
    incoming = Incoming()
    async with AsyncExitStack() as stack:
        has_room = False
        while part := await reader.read(_PART_BYTES):
            ended = incoming.feed(part)
            if incoming.is_long and not has_room:
                await stack.enter_async_context(room)
                has_room = True
            if ended:
                return envelope_of(incoming.message())
        raise incoming.refused or CodecError("it ended before it was complete")


def _identity(path: Path) -> tuple[int, int]:
    """The file system and the inode of the socket at a path. Raises OSError."""
    info = path.lstat()
    return info.st_dev, info.st_ino


def _not_ours(envelope: Envelope, directories: Directories) -> Refusal | None:
    """The refusal of a request that is meant for another daemon."""
    if envelope.namespace != our_namespace():
        return Refusal("this daemon is of another network namespace", elsewhere=True)
    ours = (str(directories.config.absolute()), str(directories.state.absolute()))
    if (envelope.config_dir, envelope.state_dir) != ours:
        return Refusal(
            f"the daemon of this run directory works on {ours[0]} and {ours[1]}",
            "name the same --config-dir and --state-dir, or a --run-dir of its own",
        )
    return None


def _make_room(path: Path) -> None:
    """Remove the socket of a daemon that is no more, and move aside what is no socket. Raises HostError, OSError.

    HostError is for a daemon that is there still.
    """
    if not path.is_socket() or path.is_symlink():
        with suppress(FileNotFoundError):
            path.rename(path.with_name(f"{path.name}{ASIDE}"))
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except TimeoutError:
            pass
    raise HostError(f"another daemon listens at {path}", "`systemctl status hostfw` shows it")
