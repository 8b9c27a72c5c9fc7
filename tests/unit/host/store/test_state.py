"""State that outlives a crash: the active generation and the accepted ones."""

import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import zlib
from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

import pytest

from hostfw.host.store.codec import StateError, Unreadable
from hostfw.host.store.generations.active import (
    ActiveGeneration,
    forget_active,
    load_active,
    note_links,
    noted_links,
    save_active,
)
from hostfw.host.store.generations.generations import (
    Accepted,
    Stored,
    accept_generation,
    accepted_number,
    generations,
    load_accepted,
    load_generation,
    save_accepted,
    store_generation,
    stored_generations,
)
from hostfw.host.store.members.set_contents import save_contents
from hostfw.model.problems import Severity
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import FAMILIES, Family, TableFamily

ROOT = Path(__file__).parents[4]
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
RECORD = ActiveGeneration(
    "0123456789ab",
    NOON,
    17,
    ((Family.V4, "input", "d1"), (Family.V4, "rest", "d2"), (Family.V6, "input", "d3")),
    (("policies", 2), ("endpoints", 1)),
    sets=((Family.V4, "nets", "0x0/7/4/0/3/0//"),),
    counters=((Family.V4, "2/0123456789abcdef"), (Family.V6, "0/0123456789abcdef")),
)


def accepted(number: int, *texts: str, settings: str | None = None) -> Accepted:
    """A generation from sources of these texts."""
    return Accepted(
        f"id{number}",
        NOON + timedelta(minutes=number),
        Configuration(
            None if settings is None else Source("/etc/hostfw/hostfw.yaml", settings),
            tuple(Source(f"/etc/hostfw/{i}.yaml", text) for i, text in enumerate(texts)),
        ),
        f"table ip hostfw {{ }} # {number}\n",
    )


def test_the_generation_in_force_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    """The run directory is made where there is none."""
    save_active(tmp_path / "run", RECORD)

    assert load_active(tmp_path / "run") == (RECORD, ())
    assert (tmp_path / "run/generation.json").stat().st_mode & 0o777 == 0o600


def test_the_names_of_a_record_take_little_room_and_none_for_its_head(tmp_path: Path) -> None:
    """It is written at every link event: a third of what its names and digests are."""
    named = tuple(
        (family, f"in/tcp/{n}/saddr/24.{sha256(str(n).encode()).hexdigest()[:12]}", f"0x8/41/16/{n}/7/0//")
        for family in FAMILIES
        for n in range(200)
    )
    record = replace(RECORD, chains=named, sets=named)
    save_active(tmp_path, record)

    assert load_active(tmp_path) == (record, ())
    assert load_active(tmp_path, head=True) == (replace(record, chains=(), sets=None), ())
    assert 3 * (tmp_path / "generation.json").stat().st_size < 2 * len(str(named))


def test_a_record_of_an_older_release_comes_back(tmp_path: Path) -> None:
    """Its names are written as they are."""
    save_active(tmp_path, RECORD)
    path = tmp_path / "generation.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | json.loads(zlib.decompress(b64decode(data.pop("objects"))))))

    assert load_active(tmp_path) == (RECORD, ())


@pytest.mark.parametrize(
    "packed",
    [
        "",
        "?",
        "ä",
        b64encode(b"no zlib").decode(),
        b64encode(zlib.compress(b"[")).decode(),
        b64encode(zlib.compress(b"[]")).decode(),
        b64encode(zlib.compress(b"[" * 100_000)).decode(),
        b64encode(zlib.compress(json.dumps({"objects": "x"}).encode())).decode(),
        7,
    ],
)
def test_names_that_cannot_be_read_make_a_record_garbage(tmp_path: Path, packed: object) -> None:
    """Whatever somebody wrote in their place."""
    save_active(tmp_path, RECORD)
    path = tmp_path / "generation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"objects": packed}))

    record, problems = load_active(tmp_path)

    assert record is None
    assert [problem.message for problem in problems] == ["was not written by hostfw"]


def test_nothing_is_known_before_the_first_generation(tmp_path: Path) -> None:
    """Neither of what is in force nor of what was accepted; that is no problem."""
    assert load_active(tmp_path / "run") == (None, ())
    assert load_accepted(tmp_path / "state") == (None, ())
    assert generations(tmp_path / "state") == ()


def test_what_is_forgotten_is_not_known(tmp_path: Path) -> None:
    """Forgetting twice is fine."""
    save_active(tmp_path, RECORD)
    forget_active(tmp_path)
    forget_active(tmp_path)

    assert load_active(tmp_path) == (None, ())


@pytest.mark.parametrize("kept", [True, False])
def test_noted_interfaces_are_what_was_noted_last_or_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    """A write that a disk does not take leaves nothing of before, which would look like a change of others."""
    assert noted_links(tmp_path) is None
    note_links(tmp_path, {(Family.V4, "links"): (2,)})

    if not kept:
        monkeypatch.setattr(os, "replace", _refuse_rename)
        monkeypatch.setattr(Path, "replace", _refuse_rename)
        monkeypatch.setattr(os, "rename", _refuse_rename)
    now: dict[tuple[TableFamily, str], tuple[int, ...]] = {(Family.V4, "links"): (2, 7), (Family.V6, "links"): ()}
    note_links(tmp_path, now)

    assert noted_links(tmp_path) == (now if kept else None)


def _refuse_rename(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "links.json")


def test_a_record_of_another_network_namespace_says_nothing_of_ours(tmp_path: Path) -> None:
    """Namespaces may share a run directory, and generation numbers of fresh ones are alike."""
    save_active(tmp_path, RECORD)
    path = tmp_path / "generation.json"
    data = json.loads(path.read_text())
    data["namespace"] += 1
    path.write_text(json.dumps(data))

    assert load_active(tmp_path) == (None, ())


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("nothing", b"", 1),
        ("half", b'{\n "format": 1,\n "id": "01', 3),
        ("bytes", b"\xff\x00\xfe", 1),
        ("another shape", b"[]", 1),
        ("an unknown format", b'{"format": 2}', 1),
        ("a field less", b'{"format": 1, "id": "a"}', 1),
        ("too deep", b"[" * 100_000, 1),
        ("a number without end", b"9" * 10_000, 1),
    ],
)
def test_garbage_in_the_record_is_said_and_tolerated(tmp_path: Path, name: str, content: bytes, line: int) -> None:
    """The active generation is then unknown, not wrong."""
    path = tmp_path / "generation.json"
    path.write_bytes(content)

    record, problems = load_active(tmp_path)

    assert record is None, name
    assert [(str(p.position.path), p.position.line, p.message) for p in problems] == [
        (str(path), line, "was not written by hostfw")
    ]


@pytest.mark.parametrize("when", ["yesterday", "2030-01-01T12:00:00", ""])
def test_a_time_that_is_none_is_garbage(tmp_path: Path, when: str) -> None:
    """A time without a zone is none."""
    save_active(tmp_path, RECORD)
    path = tmp_path / "generation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"applied_at": when}))

    assert [p.message for p in load_active(tmp_path)[1]] == ["was not written by hostfw"]


def test_an_accepted_generation_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    """Script, sources with their line ends, and settings."""
    generation = accepted(1, "a: ä\r\nb\n", "", settings="node: x\n")

    save_accepted(tmp_path / "var/state", generation)

    assert load_accepted(tmp_path / "var/state") == (generation, ())


def test_times_keep_their_zone(tmp_path: Path) -> None:
    """A moment is the same moment, wherever it was written."""
    moment = datetime(2030, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    save_active(tmp_path, ActiveGeneration("a", moment, 1))

    record, _ = load_active(tmp_path)

    assert record is not None
    assert record.applied_at == moment


def test_the_boot_finds_the_script_under_one_name(tmp_path: Path) -> None:
    """It needs neither Python nor JSON, and gets what was accepted last, for root's eyes alone."""
    save_accepted(tmp_path, accepted(1, "a"))
    save_accepted(tmp_path, accepted(2, "b"))

    assert (tmp_path / "last-good.nft").read_text() == accepted(2).script
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {0o700, 0o600}


def test_a_seeded_last_good_script_gives_way(tmp_path: Path) -> None:
    """The package puts a failsafe script where the first accepted one will be."""
    (tmp_path / "last-good.nft").write_text("failsafe")

    save_accepted(tmp_path, accepted(1, "a"))

    assert (tmp_path / "last-good.nft").read_text() == accepted(1).script


def test_ten_generations_are_kept(tmp_path: Path) -> None:
    """The oldest go first, never the accepted one."""
    for number in range(1, 14):
        save_accepted(tmp_path, accepted(number, f"text {number}"))

    assert generations(tmp_path) == tuple(range(4, 14))
    assert load_generation(tmp_path, 4) == (accepted(4, "text 4"), ())


def test_a_generation_from_the_same_sources_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """Interfaces that come and go do not push out what a person may want to go back to."""
    save_accepted(tmp_path, accepted(1, "first"))
    for number in range(2, 30):
        save_accepted(tmp_path, accepted(number, "second"))

    assert len(generations(tmp_path)) == 2
    assert load_generation(tmp_path, 1) == (accepted(1, "first"), ())
    assert load_accepted(tmp_path) == (accepted(29, "second"), ())


def test_a_stored_generation_is_accepted_only_when_it_is(tmp_path: Path) -> None:
    """A change that waits for its confirmation leaves last good alone."""
    save_accepted(tmp_path, accepted(1, "a"))

    number = store_generation(tmp_path, accepted(2, "b"))

    assert load_accepted(tmp_path) == (accepted(1, "a"), ())
    accept_generation(tmp_path, number)
    assert load_accepted(tmp_path) == (accepted(2, "b"), ())
    assert (tmp_path / "last-good.nft").read_text() == accepted(2).script


def test_an_old_generation_can_be_accepted_again(tmp_path: Path) -> None:
    """Going back keeps it from being pruned, and the next number is new."""
    for number in range(1, 11):
        save_accepted(tmp_path, accepted(number, f"text {number}"))
    accept_generation(tmp_path, 1)
    save_accepted(tmp_path, accepted(11, "text 11"))

    assert 1 not in generations(tmp_path)
    assert generations(tmp_path)[-1] == 11

    accept_generation(tmp_path, 2)
    assert load_accepted(tmp_path) == (accepted(2, "text 2"), ())
    assert len(generations(tmp_path)) == 10


@pytest.mark.parametrize("name", ["sources.json", "generation.json"])
@pytest.mark.parametrize("content", [None, b"", b"\xff", b"{}", b'{"format": 1, "settings": 3, "resources": [4]}'])
def test_a_damaged_generation_is_said_and_not_used(tmp_path: Path, name: str, content: bytes | None) -> None:
    """Whatever is in its files, or if they are gone."""
    save_accepted(tmp_path, accepted(1, "a"))
    path = tmp_path / "accepted" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    found, problems = load_accepted(tmp_path)

    assert found is None
    expected = (
        "was not written by hostfw" if content is not None else "cannot be read: there is no such file or directory"
    )
    assert [(p.position.path, p.message) for p in problems] == [(str(path), expected)]


def test_halves_of_characters_in_sources_are_garbage(tmp_path: Path) -> None:
    """JSON may hold them, files may not."""
    save_accepted(tmp_path, accepted(1, "a"))
    (tmp_path / "accepted/sources.json").write_text(
        '{"format": 1, "settings": null, "resources": [{"path": "a", "text": "\\ud800"}]}'
    )

    assert load_accepted(tmp_path)[0] is None


@pytest.mark.parametrize("content", [None, b"table ip hostfw { }", b"", b"\xff"])
def test_a_damaged_script_leaves_the_sources(tmp_path: Path, content: bytes | None) -> None:
    """They compile to it again, so that is a warning."""
    save_accepted(tmp_path, accepted(1, "a"))
    path = tmp_path / "accepted/ruleset.nft"
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    found, problems = load_accepted(tmp_path)

    assert found is not None
    assert found.script == ""
    assert found.configuration == accepted(1, "a").configuration
    assert [p.severity for p in problems] == [Severity.WARNING]


def test_an_accepted_link_that_leads_nowhere_is_said(tmp_path: Path) -> None:
    """Somebody removed the generations by hand."""
    save_accepted(tmp_path, accepted(1, "a"))
    shutil.rmtree(tmp_path / "generations")

    found, problems = load_accepted(tmp_path)

    assert found is None
    assert problems


def test_litter_of_killed_writers_is_swept_by_the_next(tmp_path: Path) -> None:
    """Half a generation, half a link and half a file."""
    save_accepted(tmp_path, accepted(1, "a"))
    (tmp_path / "generations/.000002.tmp").mkdir()
    (tmp_path / "generations/.000002.tmp/ruleset.nft").write_text("half")
    (tmp_path / ".accepted.tmp").symlink_to("generations/000009")
    (tmp_path / ".x.12345678.tmp").write_text("half")

    save_accepted(tmp_path, accepted(2, "b"))

    assert load_accepted(tmp_path) == (accepted(2, "b"), ())
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_kill_anywhere_leaves_the_old_generation_or_the_new(tmp_path: Path) -> None:
    """The writer is killed at each of its system calls in turn, and the next one goes on from there."""
    script = """
import os, sys
from pathlib import Path
from dataclasses import replace
from datetime import UTC, datetime
from hostfw.host.store.generations.generations import Accepted, save_accepted
from hostfw.model.sources import Configuration, Source
directory, survive = Path(sys.argv[1]), int(sys.argv[2])
calls = 0
def deadly(call):
    def counted(*arguments, **named):
        global calls
        calls += 1
        if calls > survive:
            os.kill(os.getpid(), 9)
        return call(*arguments, **named)
    return counted
for name in ("mkdir", "fsync", "rename", "symlink", "replace", "unlink", "rmdir", "fchmod", "link", "utime"):
    setattr(os, name, deadly(getattr(os, name)))
text = f"text {survive}"
save_accepted(directory, Accepted("new", datetime.now(UTC), Configuration(None, (Source("a", text),)), text))
"""
    old = accepted(1, "old")
    save_accepted(tmp_path, old)
    outcomes: list[str] = []
    for survive in range(200):
        process = subprocess.run([sys.executable, "-c", script, str(tmp_path), str(survive)], cwd=ROOT, check=False)
        found, problems = load_accepted(tmp_path)
        assert problems == ()
        assert found is not None
        text = found.configuration.resources[0].text
        assert (tmp_path / "last-good.nft").read_text() == found.script
        assert text in {"old", found.script}
        outcomes.append(text)
        if process.returncode == 0:
            break
        assert process.returncode == -9

    assert outcomes[0] == "old"
    assert outcomes[-1] == f"text {len(outcomes) - 1}"
    assert len(outcomes) > 15


def on_a_small_disk(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run statements where `state` is a file system of 64 KiB that already holds a generation."""
    script = f"""
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from hostfw.host.store.generations.active import *
from hostfw.host.store.generations.generations import *
from hostfw.host.store.generations.active import ActiveGeneration
from hostfw.host.store.generations.generations import Accepted
from hostfw.host.store.codec import StateError
from hostfw.model.sources import Configuration, Source
directory = Path({str(tmp_path)!r})
def generation(name, size):
    return Accepted(name, datetime.now(UTC), Configuration(None, (Source("a", name),)), "x" * size)
save_accepted(directory, generation("old", 10))
{body}
found, problems = load_accepted(directory)
assert problems == (), problems
assert found.id == "old", found
assert not list(directory.rglob("*.tmp")), list(directory.rglob("*"))
"""
    mount = f'mount -t tmpfs -o size=64k tmpfs {tmp_path} && exec {sys.executable} -c "$SCRIPT"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount],
        env=os.environ | {"SCRIPT": script},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")


@needs_mounts
def test_a_full_disk_leaves_the_accepted_generation(tmp_path: Path) -> None:
    """The error says what could not be saved, where, why, and what to do."""
    done = on_a_small_disk(
        tmp_path,
        """
try:
    save_accepted(directory, generation("new", 1_000_000))
except StateError as error:
    print(error.message)
    print(error.hint)
""",
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"the generation could not be saved: {tmp_path}: the disk is full",
        "free some space, then run it again",
    ]


@needs_mounts
def test_a_read_only_disk_leaves_the_accepted_generation(tmp_path: Path) -> None:
    """As after a file system error."""
    done = on_a_small_disk(
        tmp_path,
        """
subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
for save in (
    lambda: save_accepted(directory, generation("new", 10)),
    lambda: accept_generation(directory, 1),
    lambda: save_active(directory / "run", ActiveGeneration("a", datetime.now(UTC), 1)),
):
    try:
        save()
    except StateError as error:
        print(error.message)
""",
    )

    assert done.stderr == ""
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == [
        "the generation could not be saved",
        "the accepted generation could not be saved",
        "the record of the generation in force could not be saved",
    ]
    assert all(line.endswith(": the file system is mounted read-only") for line in done.stdout.splitlines())


def test_a_state_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """A file is in its place."""
    (tmp_path / "state").write_text("")

    with pytest.raises(StateError, match=rf"could not be saved: {tmp_path}/state: file exists"):
        save_accepted(tmp_path / "state", accepted(1, "a"))


def test_a_state_directory_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input/output error is neither an absent file nor a damaged one."""
    save_active(tmp_path, RECORD)

    def broken(_: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", broken)

    with pytest.raises(Unreadable, match=r"generation\.json: cannot be read: input/output error"):
        load_active(tmp_path)


def test_records_of_before_are_read(tmp_path: Path) -> None:
    """Without the node, and stored generations without counts."""
    save_active(tmp_path, RECORD)
    save_accepted(tmp_path / "state", accepted(1, "text"))
    for path, field in (
        (tmp_path / "generation.json", "node"),
        (tmp_path / "state/accepted/generation.json", "counts"),
    ):
        data = json.loads(path.read_text())
        del data[field]
        path.write_text(json.dumps(data))

    assert load_active(tmp_path) == (RECORD, ())
    assert load_accepted(tmp_path / "state") == (accepted(1, "text"), ())
    assert stored_generations(tmp_path / "state") == (Stored(1, "id1", NOON + timedelta(minutes=1)),)


def test_what_is_never_accepted_does_not_pile_up(tmp_path: Path) -> None:
    """The accepted generation stays, however many trials were rolled back."""
    save_accepted(tmp_path, accepted(1, "text"))
    for number in range(2, 40):
        store_generation(tmp_path, accepted(number, f"text {number}"))

    assert accepted_number(tmp_path) == 1
    assert generations(tmp_path) == (1, *range(30, 40))


def many(*texts: str, feeds: tuple[str, ...] = (), history_limit: int = 10) -> Accepted:
    """A generation from 1,000 files, some of which have these texts, and from Feeds."""
    said = dict(enumerate(texts))
    files = tuple(Source(f"/etc/hostfw/{i:04}.yaml", said.get(i, f"text {i}\n" * 40)) for i in range(1000))
    configuration = Configuration(None, files, tuple(Source(f"/feeds/{i}", text) for i, text in enumerate(feeds)))
    return Accepted("many", NOON, configuration, "script of many\n" * 9_000, history_limit=history_limit)


@pytest.fixture(name="written")
def _written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all files that are written from now on."""
    sizes: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        info = os.fstat(descriptor)
        if stat.S_ISREG(info.st_mode):
            sizes.append(info.st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return sizes


def test_only_what_changed_is_written(tmp_path: Path, written: list[int]) -> None:
    """Of an interface that comes the script, and when it goes nothing; of an edit the files about it; of a Feed, it."""
    feeds = ("192.0.2.1\n" * 50_000, "198.51.100.1\n" * 50_000)
    first = many(feeds=feeds)
    save_accepted(tmp_path, first)
    assert sum(written) > 1_300_000
    steps = (
        ("an interface comes", replace(first, script=f"{first.script}eth9"), 140_000),
        ("and goes", first, 4_000),
        ("and comes", replace(first, script=f"{first.script}eth9"), 4_000),
        ("one file changes", many("another text", feeds=feeds), 200_000),
        ("one file comes", replace(first, configuration=_with_another(first.configuration)), 200_000),
        ("a Feed changes", many(feeds=(f"{feeds[0]}192.0.2.2\n", feeds[1])), 650_000),
    )
    for name, generation, most in steps:
        written.clear()
        save_accepted(tmp_path, generation)
        assert sum(written) < most, name
        assert load_accepted(tmp_path) == (generation, ()), name
    assert len(list((tmp_path / "scripts").iterdir())) == 2


def _with_another(configuration: Configuration) -> Configuration:
    files = (*configuration.resources[:500], Source("/etc/hostfw/0499a.yaml", "new"), *configuration.resources[500:])
    return replace(configuration, resources=files)


def test_what_is_damaged_is_not_linked_to_any_more(tmp_path: Path) -> None:
    """Whoever finds it so writes it anew."""
    save_accepted(tmp_path, many())
    (part, *_) = (tmp_path / "accepted" / "parts").iterdir()
    part.write_bytes(b"{}")
    assert [p.message for p in load_accepted(tmp_path)[1]] == ["was not written by hostfw"]

    save_accepted(tmp_path, many(), anew=True)

    assert load_accepted(tmp_path) == (many(), ())


def test_a_disk_without_hard_links_holds_generations_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As FAT does not have them: everything is written each time."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for text in ("a", "b"):
        save_accepted(tmp_path, many(text))
        assert load_accepted(tmp_path) == (many(text), ())
        assert (tmp_path / "last-good.nft").read_text() == many().script


def test_feeds_take_no_place_in_the_history(tmp_path: Path) -> None:
    """A list that cron updates pushes nothing out; the files that people edit do."""
    save_accepted(tmp_path, accepted(1, "first"))
    for number in range(2, 40):
        feeds = (Source("/feed", f"192.0.2.{number}\n"),)
        second = accepted(number, "second")
        save_accepted(tmp_path, replace(second, configuration=replace(second.configuration, feeds=feeds)))

    assert len(generations(tmp_path)) == 2
    assert load_generation(tmp_path, 1) == (accepted(1, "first"), ())


@pytest.mark.parametrize("limit", [1, 3, 25])
def test_as_many_generations_are_kept_as_is_set(tmp_path: Path, limit: int) -> None:
    """The accepted one among them."""
    for number in range(1, 31):
        save_accepted(tmp_path, replace(accepted(number, f"text {number}"), history_limit=limit))

    assert generations(tmp_path) == tuple(range(31 - limit, 31))
    assert load_accepted(tmp_path)[0] is not None


def test_generations_of_before_parts_are_read(tmp_path: Path) -> None:
    """One file held all sources; what is accepted after it knows whether they are the same."""
    save_accepted(tmp_path, accepted(1, "a"))
    folder = tmp_path / "generations" / "000001"
    source = {"path": "/etc/hostfw/0.yaml", "text": "a"}
    (folder / "sources.json").write_text(json.dumps({"format": 1, "settings": None, "resources": [source]}))
    shutil.rmtree(folder / "parts")
    about = json.loads((folder / "generation.json").read_text())
    for name in ("configuration", "history_limit"):
        del about[name]
    (folder / "generation.json").write_text(json.dumps(about))
    assert load_accepted(tmp_path) == (accepted(1, "a"), ())

    save_accepted(tmp_path, accepted(2, "a"))
    assert generations(tmp_path) == (2,)
    save_accepted(tmp_path, accepted(3, "b"))
    assert generations(tmp_path) == (2, 3)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", 7, None])
def test_a_part_is_in_its_folder(tmp_path: Path, name: object) -> None:
    """An index that names another file is none of ours."""
    save_accepted(tmp_path, accepted(1, "a"))
    path = tmp_path / "accepted" / "sources.json"
    path.write_text(json.dumps({"format": 2, "settings": [], "resources": [name], "feeds": []}))

    assert [p.message for p in load_accepted(tmp_path)[1]] == ["was not written by hostfw"]


def test_the_sets_of_one_namespace_leave_what_another_is_writing(tmp_path: Path) -> None:
    """A run directory may be shared; what a killed writer left goes."""
    (tmp_path / "sets").mkdir()
    held, left = tmp_path / "sets/.a.12345678.tmp", tmp_path / "sets/.b.12345678.tmp"
    for path in (held, left):
        path.write_bytes(b"half")
    with held.open() as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        save_contents(tmp_path, {"0123": b"whole"})

    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == [held.name, "0123"]
