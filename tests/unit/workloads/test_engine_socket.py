"""An engine's socket: bounds on time and size, whatever it answers."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostfw.workloads import engine_socket
from hostfw.workloads.engine_socket import MOST_BYTES, EngineError, EngineSocket, TooLargeError, at, items_of, text_at
from lab.fakes.fake_engine import fake_engine

ITEMS = [
    {},
    {"Id": "a", "Labels": {"x": '[{"}]\\', "y": '\\"]'}},
    {"Names": ["/web"], "nested": [{"a": [1, {"b": "}"}]}], "n": None},
    {"unicode": "über \U0001f600"},
]


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    """Data in pieces."""
    return (data[place : place + size] for place in range(0, len(data), size))


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64 * 1024])
def test_items_are_found_wherever_the_pieces_end(size: int, ascii_only: bool) -> None:
    """Brackets and quotes within texts are text."""
    text = json.dumps(ITEMS, ensure_ascii=ascii_only, indent=1).encode()

    assert [json.loads(item) for item in items_of(chunks(text, size))] == ITEMS
    assert list(items_of(chunks(b"[]", size))) == []


@pytest.mark.parametrize("text", [b"", b"null\n"])
def test_an_answer_without_an_array_has_no_items(text: bytes) -> None:
    """Podman answers null for none."""
    assert list(items_of(iter([text]))) == []


@pytest.mark.parametrize("text", [b"[", b'[{"a": 1}', b'[{"a": "', b"{}", b"[[1]]", b'["a'])
def test_what_is_no_array_of_objects_is_an_error(text: bytes) -> None:
    """So is one that ends early."""
    with pytest.raises(EngineError):
        list(items_of(iter([text])))


@pytest.mark.parametrize("filling", ["x", '\\"', "{[", "\\\\"])
def test_an_item_that_is_too_large_takes_no_memory_and_hides_no_other(filling: str) -> None:
    """It is given by what it begins with."""
    big = '{"Id":"big","Labels":{"x":"' + filling * (10_000_000 // len(filling)) + '"}}'
    pieces = chunks(f'[{{"Id":"a"}},{big},{{"Id":"b"}}]'.encode(), 64 * 1024)

    tracemalloc.start()
    found = [item[:12] for item in items_of(pieces)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found == [b'{"Id":"a"}', b'{"Id":"big",', b'{"Id":"b"}']
    assert peak < 8 * MOST_BYTES + 12_000_000


def test_an_engine_is_asked(tmp_path: Path) -> None:
    """Several times on one connection, and anew after what was too large."""
    answers = {"/a": b'{"x": {"y": "z"}}', "/big": b'{"x": "%s"}' % (b"x" * 2 * MOST_BYTES), "/list": b"[]"}
    with fake_engine(tmp_path / "s", answers), EngineSocket(str(tmp_path / "s")) as engine:
        assert text_at(engine.ask("/a"), "x", "y") == "z"
        assert list(engine.items("/list")) == []
        with pytest.raises(TooLargeError):
            engine.ask("/big")
        assert at(engine.ask("/a"), "x", "z") is None
        with pytest.raises(EngineError, match="status 404"):
            engine.ask("/missing")
        assert text_at(engine.ask("/a"), "x") == ""


@pytest.mark.parametrize("answer", [b"[]", b"1", b"{", b"\xff", b'"a"', b"[" * 100_000])
def test_an_answer_that_is_no_object_is_an_error(tmp_path: Path, answer: bytes) -> None:
    """Whatever it is."""
    path = tmp_path / "s"
    with (
        fake_engine(path, {"/a": answer}),
        EngineSocket(str(path)) as engine,
        pytest.raises(EngineError, match="no JSON"),
    ):
        engine.ask("/a")


def test_an_engine_that_is_away_or_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wait that has an end."""
    monkeypatch.setattr(engine_socket, "PATIENCE_S", 0.1)
    with pytest.raises(EngineError, match=r"its socket /.*/s is not there"):
        EngineSocket(str(tmp_path / "s")).ask("/a")
    with fake_engine(tmp_path / "s", {}) as fake:
        fake.hanging = True
        with pytest.raises(EngineError, match="does not answer within"):
            EngineSocket(str(tmp_path / "s")).ask("/a")
