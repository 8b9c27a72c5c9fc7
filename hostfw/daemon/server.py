"""The control socket of the daemon: who may ask, and what is asked in which words."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from hostfw.control.codec import CodecError
from hostfw.control.requests import Question
from hostfw.control.socket import (
    Answer,
    Incoming,
    Letter,
    Refusal,
    answer_bytes,
    letter_of,
    our_namespace,
    peer_uid,
    socket_path,
)
from hostfw.engine.host import Directories
from hostfw.host.errors import HostError

READ_TIMEOUT_S = 60.0
"""How long a request may take to come in."""

_PART_BYTES = 256 * 1024
_ROOT = 0

Answering = Callable[[Question], Awaitable[Answer]]


async def serve(directories: Directories, answer: Answering) -> asyncio.Server:
    """Listen at the control socket, for root alone. Raises HostError if another daemon does, or the path is no good."""
    path = socket_path(directories.run)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _make_way(path)
        old = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(
                lambda reader, writer: _converse(reader, writer, directories, answer), str(path)
            )
        finally:
            os.umask(old)
    except OSError as error:
        raise HostError(f"{path}: cannot be listened at: {error.strerror or error}") from error


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, directories: Directories, answer: Answering
) -> None:
    """One request and its answer; whatever the other side does, only this conversation ends."""
    with suppress(OSError):
        try:
            writer.write(answer_bytes(await _answer(reader, writer, directories, answer)))
            await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, directories: Directories, answer: Answering
) -> Answer:
    if peer_uid(writer.get_extra_info("socket")) != _ROOT:
        return Refusal("only root may ask the daemon", "run it as root")
    try:
        letter = letter_of(await asyncio.wait_for(_message(reader), READ_TIMEOUT_S))
    except TimeoutError:
        return Refusal(f"the request did not come within {READ_TIMEOUT_S:g} s")
    except CodecError as error:
        return Refusal(f"the daemon does not understand the request: {error}", "`systemctl restart hostfw`")
    return _not_ours(letter, directories) or await answer(letter.request)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """What the other side says, to its end. What is refused is read and not kept, so that it can hear the answer.

    Raises CodecError.
    """
    incoming = Incoming()
    while part := await reader.read(_PART_BYTES):
        if incoming.feed(part):
            return incoming.message()
    raise CodecError(incoming.refused or "it ended before it was complete")


def _not_ours(letter: Letter, directories: Directories) -> Refusal | None:
    """Why a request is not for this daemon."""
    if letter.namespace != our_namespace():
        return Refusal("this daemon is of another network namespace", elsewhere=True)
    ours = (str(directories.config.absolute()), str(directories.state.absolute()))
    if (letter.config_dir, letter.state_dir) != ours:
        return Refusal(
            f"the daemon of this run directory works on {ours[0]} and {ours[1]}",
            "name the same --config-dir and --state-dir, or a --run-dir of its own",
        )
    return None


def _make_way(path: Path) -> None:
    """Remove the socket of a daemon that is no more. Raises HostError if there is one still."""
    if not path.is_socket():
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
