"""The control socket against whatever root may send to it: an answer always, at a bounded cost."""

import asyncio
import json
import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hostfw.control import server
from hostfw.control.codec import CodecError
from hostfw.control.messages import Query, Rollback
from hostfw.control.socket import (
    END,
    MOST_ESCAPES,
    MOST_LEVELS,
    MOST_TOKENS,
    Answer,
    Envelope,
    Incoming,
    Refusal,
    answer_of,
    envelope_bytes,
    envelope_of,
    our_namespace,
    our_version,
    socket_path,
)
from hostfw.engine.context import Directories
from hostfw.engine.outcomes import NoTrial

MIB = 1 << 20


def converse(run_dir: Path, say: Callable[[socket.socket], None]) -> Answer:
    """The daemon's answer to a client."""
    return answer_of(answered(run_dir, say))


def answered(run_dir: Path, say: Callable[[socket.socket], None]) -> bytes:
    """The very bytes of an answer, without its end."""
    directories = Directories(Path("/etc/hostfw"), Path("/var/lib/hostfw"), run_dir)

    async def reply(_: Query) -> Answer:
        return NoTrial()

    def client() -> bytes:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(30)
            channel.connect(str(socket_path(run_dir)))
            say(channel)
            answer = b""
            while not answer.endswith(END) and (part := channel.recv(1 << 16)):
                answer += part
        return answer

    failures: list[Exception] = []

    async def both() -> bytes:
        listening = server.Server(directories, reply, failures.append)
        await listening.open()
        try:
            return await asyncio.get_running_loop().run_in_executor(None, client)
        finally:
            await listening.drain(5)
            listening.close()

    answer = asyncio.run(both()).removesuffix(END)
    assert failures == []
    return answer


def refused(answer: Answer) -> str:
    """The reason why a request was not understood."""
    assert isinstance(answer, Refusal)
    assert answer.message.startswith("the daemon does not understand the request: ")
    return answer.message.partition(": ")[2]


def message(content: str) -> bytes:
    """A message with this content, whatever it is."""
    return f'{{"version":{our_version()},"content":{content}}}'.encode() + END


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("garbage", b"\xff\xfe" * 50 + END, "this is no message of hostfw"),
        ("an integer of 5,000 digits", message("9" * 5000), "it has a number of more than 64 digits"),
        ("digits behind a point", message(f"0.{'9' * 5000}"), "it has a number of more than 64 digits"),
        ("deep", message("[" * 5000 + "]" * 5000), f"it is nested deeper than {MOST_LEVELS} levels"),
        ("deep and never closed", message('{"a":' * 5000), f"it is nested deeper than {MOST_LEVELS} levels"),
        (
            "many values",
            message('{"type":"Letter","namespace":[' + "[]," * (MOST_TOKENS // 3) + "0]}"),
            f"it has more than {MOST_TOKENS} parts",
        ),
        (
            "many escapes",
            message('{"type":"Letter","namespace":"' + "\\n" * (MOST_ESCAPES + 1) + '"}'),
            f"it has more than {MOST_ESCAPES} escaped characters",
        ),
        ("a constant", message("NaN"), "this is not JSON: NaN is not a number"),
        ("half a string", message('"' + "a" * 5000)[:-2] + END, "this is not JSON: Unterminated string"),
        ("nothing", END, "this is not JSON: Expecting value"),
        ("a very long version", b'{"version":"' + b"2" * 9999 + b'"}' + END, "a version and a content are expected"),
        ("half a character", message('{"type":"\\ud800"}'), "request: Letter is expected"),
    ],
)
def test_what_is_no_request_is_answered(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    """With the reason, in a message of bounded length."""
    answer = converse(tmp_path, lambda channel: channel.sendall(data))

    assert refused(answer).startswith(why), name
    assert isinstance(answer, Refusal)
    assert len(answer.message) < 300


OTHER_RELEASE = "hostfwctl and the running hostfw.service are of different releases"
RESTART = "`systemctl restart hostfw` starts the installed release; the rules in force stay"


@pytest.mark.parametrize("length", [0, 1 << 17])
@pytest.mark.parametrize("version", ["1", "2", '"0123456789abcdef"'])
def test_a_request_of_another_release_is_refused_in_its_words(tmp_path: Path, version: str, length: int) -> None:
    """So that the client can read why, short or long as the request is; what it asks for is never looked at."""
    data = message(f'{{"type":"Letter","padding":"{"a" * length}"}}').replace(our_version().encode(), version.encode())
    answer = answered(tmp_path, lambda channel: channel.sendall(data))

    content = {"type": "Refusal", "message": OTHER_RELEASE, "hint": RESTART, "elsewhere": False}
    assert answer.startswith(b'{"version":' + version.encode() + b",")
    assert json.loads(answer) == {"version": json.loads(version), "content": content}


def test_what_ends_too_early_is_answered(tmp_path: Path) -> None:
    """The other side may still listen."""

    def say(channel: socket.socket) -> None:
        channel.sendall(b'{"version":1')
        channel.shutdown(socket.SHUT_WR)

    assert refused(converse(tmp_path, say)) == "it ended before it was complete"


def test_what_does_not_come_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while."""
    monkeypatch.setattr(server, "READ_TIMEOUT_S", 0.2)
    answer = converse(tmp_path, lambda channel: channel.sendall(b'{"version":1'))

    assert answer == Refusal("the request did not come within 0.2 s")


@pytest.mark.parametrize(
    ("start", "most_mib"),
    [
        (b"garbage", 16),
        (message('"')[:-2], 16),
        (b'{"version":"' + b"2" * 99 + b'","content":{"type":"Letter","namespace":"', 16),
        (message('{"type":"Letter","namespace":"')[:-2], 128),
    ],
    ids=["garbage", "a text", "another version", "a message"],
)
def test_180_megabytes_cost_no_more_than_a_request_may(tmp_path: Path, start: bytes, most_mib: int) -> None:
    """Garbage is read and not kept; what may be a request is kept up to the longest that there can be."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def say(channel: socket.socket) -> None:
        channel.sendall(start)
        part = b"a" * MIB
        for _ in range(180):
            channel.sendall(part)
        channel.sendall(END)

    why = refused(converse(tmp_path, say))
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    assert why in ("this is no message of hostfw", "it is longer than 96 MiB")
    assert grown_mib < most_mib


def test_long_requests_take_turns(tmp_path: Path) -> None:
    """There is room for one of them; short ones are answered meanwhile."""
    head = message('{"type":"Letter","namespace":"')[:-2]
    directories = Directories(Path("/etc/hostfw"), Path("/var/lib/hostfw"), tmp_path)
    short = envelope_bytes(Envelope(our_namespace(), "/etc/hostfw", "/var/lib/hostfw", Rollback()))

    async def reply(_: Query) -> Answer:
        return NoTrial()

    async def ask(data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(str(socket_path(tmp_path)))
        writer.write(data)
        await writer.drain()
        return reader, writer

    async def answer(reader: asyncio.StreamReader) -> Answer:
        return answer_of((await reader.readuntil(END)).removesuffix(END))

    async def all_of_them() -> list[Answer]:
        defects: list[Exception] = []
        listening = server.Server(directories, reply, defects.append)
        await listening.open()
        asked = [await ask(data) for data in (head + b"a" * MIB, head + b"b" * (1 << 17) + END, short)]
        (first, held), (second, _), (third, _) = asked
        answers = [await answer(third)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second.readuntil(END), 0.3)
        held.write(END)
        answers += [await answer(first), await answer(second)]
        for _, writer in asked:
            writer.close()
            await writer.wait_closed()
        await listening.drain(5)
        listening.close()
        assert defects == []
        return answers

    short_answer, *long_answers = asyncio.run(all_of_them())

    assert short_answer == NoTrial()
    assert [refused(one).partition(":")[0] for one in long_answers] == ["this is not JSON"] * 2


def test_clients_that_send_half_a_request_keep_nobody_out(tmp_path: Path) -> None:
    """However many there are: files are left for the work itself, and a request that came whole is answered."""
    directories = Directories(Path("/etc/hostfw"), Path("/var/lib/hostfw"), tmp_path)
    whole = envelope_bytes(Envelope(our_namespace(), "/etc/hostfw", "/var/lib/hostfw", Rollback()))
    go_on = asyncio.Event()

    async def reply(_: Query) -> Answer:
        await go_on.wait()
        return NoTrial()

    async def connect(data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(str(socket_path(tmp_path)))
        writer.write(data)
        await writer.drain()
        return reader, writer

    async def story() -> Answer:
        defects: list[Exception] = []
        listening = server.Server(directories, reply, defects.append)
        await listening.open()
        asked, waiting = await connect(whole)
        await asyncio.sleep(0.1)
        hanging = [await connect(whole[:40]) for _ in range(4 * server.MOST_AT_ONCE)]
        async with asyncio.timeout(30):
            while len(listening._conversations) > server.MOST_AT_ONCE + 1:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.01)
        go_on.set()
        found = answer_of((await asked.readuntil(END)).removesuffix(END))
        for _, writer in (*hanging, (asked, waiting)):
            writer.close()
        await listening.drain(5)
        listening.close()
        assert defects == []
        return found

    assert asyncio.run(story()) == NoTrial()


def test_a_request_is_answered_however_it_is_cut(tmp_path: Path) -> None:
    """A byte at a time."""
    data = envelope_bytes(Envelope(our_namespace(), "/etc/hostfw", "/var/lib/hostfw", Rollback()))

    def say(channel: socket.socket) -> None:
        for start in range(len(data)):
            channel.sendall(data[start : start + 1])

    assert converse(tmp_path, say) == NoTrial()


def test_a_message_is_told_by_its_first_bytes() -> None:
    """Of whatever release it is."""
    incoming = Incoming()
    assert not incoming.feed(b'{"ver')
    assert not incoming.refused
    assert not incoming.feed(b"ify")
    assert incoming.refused
    assert incoming.feed(b"x\0rest")
    with pytest.raises(CodecError):
        incoming.message()


def test_a_large_request_is_read() -> None:
    """Ten thousand files, and a Feed of a million addresses."""
    files = [{"type": "Source", "path": f"{n}.yaml", "text": "a: [b, c]\n" * 50} for n in range(10_000)]
    files.append({"type": "Source", "path": "feed", "text": "192.0.2.1\n" * 1_000_000})
    configuration = {"type": "Configuration", "settings": None, "resources": files, "feeds": []}
    request = {"type": "Apply", "files": {"type": "Files", "configuration": configuration, "problems": []}}
    envelope = {"type": "Letter", "namespace": 1, "config_dir": "a", "state_dir": "b", "request": request}

    found = envelope_of(message(json.dumps(envelope, separators=(",", ":"))).removesuffix(END))

    assert len(found.request.files.configuration.resources) == 10_001  # type: ignore[union-attr]
