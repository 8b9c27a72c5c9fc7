"""Every verb under every failure, as docs/failures.md has it: the exit status, and that what is said is true.

The page is written by this test's own run (`python -m tests.unit.cli.test_failure_table > docs/failures.md`), and
compared with it, so that they cannot diverge.
"""

import errno
import io
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import monotonic
from typing import Any

import pytest

from hostfw.cli.command_line.verb_table import VERBS
from hostfw.cli.output.documents import json_text
from hostfw.control import channel
from hostfw.host.journal.reader import open_history, why_no_history
from hostfw.host.nftables.writing.block_table import BlockTable
from hostfw.host.nftables.writing.script_runner import NftFailure, NftResult
from hostfw.manifest.files.facts_file import facts_document
from hostfw.model.values import FAMILIES
from tests.unit.builders.bundle_builders import bundle, signer
from tests.unit.cli_runs import FACTS, UPLINK, WEB, Machine, Ran, machine
from tests.unit.engine.failures.test_failures import (
    ANSWERS,
    BUSY,
    DIED,
    FORBIDDEN,
    FULL,
    REFUSED,
    Injection,
    _damaged,
    _lock_held,
    _nft,
    _nothing,
    daemon,
)
from tests.unit.engine.trial.test_trial import lets_in

PAGE = Path(__file__).parents[3] / "docs" / "failures.md"
_MOST = 20
"""More transactions than any verb sends."""
_PATIENCE_S = 0.05
_OF_BATCHES = ("Device or resource busy",)
"""The words of the kernel where no script is sent."""
_STAGED = WEB.replace("kind: Global", "kind: StagedGlobal").replace("name: web", "name: later").replace("80", "8443")


def _dead_socket(host: Machine, _: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(host.directory / "run" / "control.sock"))


def _elsewhere(_: Machine, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("hostfw.control.channel.service_elsewhere", lambda _: (7, Path("/run/other")))


def _state_unreadable(host: Machine, _: pytest.MonkeyPatch) -> None:
    """The directory of state is a link that leads to itself."""
    state = host.directory / "var"
    state.rename(host.directory / "gone")
    state.symlink_to("var")


def _record_damaged(host: Machine, _: pytest.MonkeyPatch) -> None:
    (host.directory / "run" / "generation.json").write_bytes(b"\0")


def _full(host: Machine, patch: pytest.MonkeyPatch) -> None:
    """Disks that take nothing more, and say so."""
    FULL(host, patch)
    patch.setattr("hostfw.cli.verbs.host.doctor.is_full", lambda _: True)


_WRITERS = ("unlink", "rename", "replace", "symlink", "link", "mkdir", "rmdir")


def _calls_fail(number: int, *, writing: bool, folders: tuple[str, ...] = ("var", "run")) -> Injection:
    """System calls that read files of the host's directories, or those that write them, the lock of writers apart."""

    def inject(host: Machine, patch: pytest.MonkeyPatch) -> None:
        ours = tuple(f"{host.directory / name}/" for name in folders)

        def around(owner: Any, name: str) -> None:  # noqa: ANN401  a module
            real = getattr(owner, name)

            def call(*of: Any, **named: Any) -> Any:  # noqa: ANN401  whatever it takes
                path = str(of[-1] if name == "symlink" else of[0])
                if f"{path}/".startswith(ours) and ".lock" not in path and _writes(name, *of) is writing:
                    raise OSError(number, os.strerror(number), path)
                return real(*of, **named)

            patch.setattr(owner, name, call)

        for owner, name in ((io, "open"), (os, "open"), (os, "readlink"), *((os, name) for name in _WRITERS)):
            around(owner, name)

    return inject


def _writes(name: str, *of: Any) -> bool:  # noqa: ANN401  whatever it takes
    """True if a call writes."""
    if name == "open":
        how = of[1] if len(of) > 1 else "r"
        return bool(how & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if isinstance(how, int) else "w" in how
    return name in _WRITERS


def _read_only(host: Machine, patch: pytest.MonkeyPatch) -> None:
    _calls_fail(errno.EROFS, writing=True, folders=("var", "run", "etc"))(host, patch)
    patch.setattr("hostfw.cli.verbs.host.doctor.is_read_only", lambda _: True)


def _no_journal(host: Machine, patch: pytest.MonkeyPatch) -> None:
    """A host of systemd whose journald is gone."""
    patch.setattr("hostfw.host.journal.reader.SOCKET", host.directory / "nobody listens")
    patch.setattr("hostfw.cli.verbs.traffic.drops.open_history", open_history)
    patch.setattr("hostfw.cli.verbs.host.doctor.why_no_history", why_no_history)
    patch.setattr("hostfw.cli.verbs.host.doctor.runs_here", lambda: True)


def _no_configuration(host: Machine, _: pytest.MonkeyPatch) -> None:
    host.config.rename(host.directory / "away")


def _repeated(answer: object) -> Injection:
    assert answer is REFUSED or isinstance(answer, NftFailure)
    return _nft(*[answer] * _MOST)


@dataclass(frozen=True)
class Failure:
    """A failure in the words of the page, and the sentence that a verb in its way may say of it."""

    name: str
    inject: Injection
    answers: bytes = b""
    said: tuple[str, ...] = ()


FAILURES = (
    Failure("no service runs", _nothing),
    Failure("a dead service's socket", _dead_socket),
    Failure("the service hangs", _nothing, ANSWERS["silence"], ("gave no answer within",)),
    Failure("a service of another release", _nothing, ANSWERS["another release"], ("of different releases",)),
    Failure("a service of another run directory", _elsewhere, said=("has the run directory /run/other",)),
    Failure("the record damaged", _record_damaged),
    Failure("generations damaged", _damaged),
    Failure("the state unreadable", _state_unreadable),
    Failure("the disks full", _full, said=("the disk is full",)),
    Failure(
        "read-only file systems",
        _read_only,
        said=("the file system is mounted read-only",),
    ),
    Failure(
        "reads fail",
        _calls_fail(errno.EIO, writing=False),
        said=("input/output error",),
    ),
    Failure(
        "writes are interrupted",
        _calls_fail(errno.EINTR, writing=True),
        said=("interrupted system call",),
    ),
    Failure("no journald", _no_journal, said=("no journald listens at",)),
    Failure("another writes", _lock_held, said=("another process is changing the ruleset",)),
    Failure("the nft worker dies", _repeated(DIED), said=("died of SIGSEGV", *_OF_BATCHES)),
    Failure("the kernel refuses", _repeated(REFUSED), said=("No such file or directory", *_OF_BATCHES)),
    Failure("the dump is interrupted", BUSY, said=("it kept changing while it was read",)),
    Failure("no configuration directory", _no_configuration),
    Failure(
        "no room for the configuration",
        _calls_fail(errno.ENOSPC, writing=True, folders=("etc",)),
        said=("the disk is full",),
    ),
    Failure("not root", FORBIDDEN, said=("run it as root",)),
)
LINES: dict[str, str] = {
    "validate": "validate",
    "compile": "compile",
    "diff": "diff",
    "apply": "apply",
    "confirm": "confirm --console",
    "rollback": "rollback --to 1",
    "history": "history",
    "reload": "reload",
    "status": "status",
    "get": "get gnp",
    "describe": "describe gnp web",
    "rules": "rules",
    "explain": "explain 192.0.2.9 192.0.2.1:80 --in eth0",
    "selector": "selector all()",
    "schema": "schema",
    "interfaces": "interfaces",
    "workloads": "workloads",
    "counters": "counters",
    "staged": "staged later",
    "promote": "promote later",
    "completion": "completion bash",
    "lockdown": "lockdown --all",
    "disable": "disable --remove-rules",
    "doctor": "doctor",
    "version": "version",
    "allow": "allow 22/tcp",
    "deny": "deny 203.0.113.77",
    "remove": "remove allow-tcp-9090",
    "set": "set list",
    "feed": "feed list",
    "feed update": "feed update",
    "set add": "set add banned 203.0.113.8",
    "set del": "set del banned 203.0.113.8",
    "apply --add": "apply --add -f policies/fleet.yaml",
    "trial": "apply --confirm-within 90s",
    "init": "init",
    "init --write": "init --write",
    "exposure": "exposure",
    "drops": "drops --since 1h",
    "unblock": "unblock",
    "import": "import iptables-save --packets 100 --ipv4 rules.v4",
    "fleet": "fleet build/fleet",
    "bundle": "bundle policies -o web.hostfw --key key",
    "pull": "pull fleet.hostfw --signers signers --confirm-by true",
}
"""The command line of each verb, by its name, and of other forms of some."""
_FORMS = frozenset({"set add", "set del", "feed update", "apply --add", "trial", "init --write"})
_IPTABLES = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n"
_OF_FLEET = WEB.replace("name: web", "name: fleet").replace("80", "8444")
_BANNED = """\
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: banned, labels: {list: banned}}
spec: {external: true}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: banned}
spec:
  order: 1
  selector: role == 'web'
  ingress:
    - {action: Deny, source: {selector: list == 'banned'}}
"""


class _NoEvents:
    """A journal without entries of hostfw."""

    def entries(self) -> Iterator[object]:
        """None of them."""
        return iter(())


@contextmanager
def _stage(folder: Path, verb: str, failure: Failure) -> Iterator[Machine]:
    """A host that lets port 80 in, with 443 written and not applied, where something fails."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        host = machine(folder, patch)
        host.write(web=WEB, uplink=UPLINK, later=_STAGED)
        (folder / "rules.v4").write_text(_IPTABLES)
        (folder / "build/fleet/hosts/web1").mkdir(parents=True)
        (folder / "build/fleet/hosts/web1/facts.json").write_text(json_text(facts_document(FACTS)))
        (folder / "policies").mkdir()
        (folder / "policies/fleet.yaml").write_text(_OF_FLEET)
        (folder / "fleet.hostfw").write_bytes(bundle(7, {"fleet.yaml": _OF_FLEET.encode()}))
        if verb in ("set add", "set del"):
            host.write(banned=_BANNED)
        patch.setattr("hostfw.cli.verbs.traffic.drops.open_history", lambda *_: _NoEvents())
        patch.setattr("hostfw.cli.verbs.host.doctor.why_no_history", lambda: "")
        assert host.hostfwctl("apply").status == 0
        if verb == "remove":
            assert host.hostfwctl("allow", "tcp/9090").status == 0
        if verb == "unblock":
            host.kernel.failures.extend([NftResult(ok=True)] * 2)
            assert host.hostfwctl("lockdown", "--all").status == 0
            host.blocked = BlockTable(())
        if verb == "init --write":
            for path in host.config.iterdir():
                path.unlink()
        elif verb not in _QUICK:
            host.write(web=WEB.replace("80", "443"))
        real = host.kernel.read_tables, host.kernel.read_names
        if failure.answers:
            stack.enter_context(daemon(host, failure.answers))
            patch.setattr(channel.send, "__defaults__", (_PATIENCE_S,))
            _impatient(patch)
        failure.inject(host, patch)
        if verb in ("lockdown", "set add") and not host.kernel.failures:
            # The machine in memory has neither a table of a block nor members: nft takes them.
            host.kernel.failures.extend([NftResult(ok=True)] * 2)
        yield host
        host.kernel.read_tables, host.kernel.read_names = real  # type: ignore[method-assign]


def _place(folder: Path, word: str) -> str:
    """A word of a command line, with the place of what it names."""
    of_signer = {"key": signer().key, "signers": signer().allowed}
    ours = word in ("rules.v4", "build/fleet", "policies", "policies/fleet.yaml", "web.hostfw", "fleet.hostfw")
    return str(folder / word if ours else of_signer.get(word, word))


def _impatient(patch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for the service for longer than a moment, whatever time it is asked with."""
    receive, limit = channel._receive, _PATIENCE_S

    def soon(of: socket.socket, _: float) -> bytes:
        return receive(of, monotonic() + limit)

    patch.setattr(channel, "_receive", soon)


def run_of(folder: Path, verb: str, failure: Failure) -> tuple[Ran, bool, bool, bool]:
    """Run a verb: its answer, whether the kernel is as it was, and which of the ports it lets in."""
    with _stage(folder, verb, failure) as host:
        before = host.kernel._tables
        words = LINES[verb].split()
        done = host.hostfwctl(*(_place(folder, word) for word in words))
        same = host.kernel._tables == before
    tables = host.kernel.read_tables()
    there = all(tables.of(family).exists for family in FAMILIES)
    return done, same, there and lets_in(host, 80), there and lets_in(host, 443)


def check(verb: str, failure: Failure, found: tuple[Ran, bool, bool, bool]) -> None:
    """Hold what was said against what is so."""
    done, same, old, new = found
    said = done.out + done.err
    assert "Traceback" not in said
    assert max(map(len, done.err.splitlines()), default=0) < 400, "a dump"
    if done.status and verb not in ("explain", "diff"):
        assert said.strip(), "it ended without a word"
    if done.status == 0:
        assert "hostfwctl: " not in done.err
    if "is unchanged" in done.err:
        assert (old, new) == (True, False), "it says that nothing changed"
    if done.status and verb in ("apply", "reload", "rollback", "confirm") and "in force" not in done.err:
        assert (old, new) == (True, False), "it failed without a word about what is in force"
    if verb in ("apply", "reload", "trial") and done.status == 0 and "no change" not in done.err:
        assert (old, new) == (False, True), "it says that it is done"
    if verb not in _WRITE:
        assert same, "it only looks, and changed the kernel"
    if done.status in (1, 4) and failure.said and verb in _WRITE:
        assert any(sentence in said for sentence in failure.said), "it does not name what is wrong"
    if done.status == 4 and failure.name == "not root":
        assert "run it as root" in said


_QUICK = frozenset({"allow", "deny", "remove"})
"""Verbs that refuse to put anything into force beside what waits to be applied."""
_WRITE = frozenset(
    {
        *("apply", "trial", "confirm", "rollback", "reload", "lockdown", "unblock", "disable", "allow", "deny"),
        *("remove", "set add", "set del", "feed update", "apply --add", "pull"),
    }
)


def _rows(found: dict[tuple[str, str], int]) -> Iterator[str]:
    names = [failure.name for failure in FAILURES]
    yield f"| verb | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for verb, line in LINES.items():
        yield f"| `{line}` | {' | '.join(str(found[verb, name]) for name in names)} |"


def page(found: dict[tuple[str, str], int]) -> str:
    """The page of the documentation."""
    return "\n".join((_HEAD, *_rows(found), ""))


_HEAD = """\
# Exit statuses under failure

The exit status of each verb while something is broken, on a host where a generation is in force and a changed policy
waits to be applied. What each status means is in [hostfwctl](hostfwctl.md#exit-status). A test runs every cell of this
table on a kernel in memory and compares. It also holds that what a verb says of the rules in force is true, and that a
verb that writes names what is wrong. `lockdown` and `unblock` write by themselves, whatever the service does.
"""


def _cell(name: str) -> Failure:
    return next(failure for failure in FAILURES if failure.name == name)


def _statuses() -> dict[tuple[str, str], int]:
    """The table as the page has it."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    names = lines[0][1:]
    verbs = {f"`{line}`": verb for verb, line in LINES.items()}
    return {(verbs[row[0]], name): int(cell) for row in lines[1:] for name, cell in zip(names, row[1:], strict=True)}


def test_the_page_has_every_verb_and_every_failure() -> None:
    """None is left out, and none is there that does not exist."""
    assert {verb.name for verb in VERBS} == LINES.keys() - _FORMS
    found = _statuses()
    assert found.keys() == {(verb, failure.name) for verb in LINES for failure in FAILURES}
    assert PAGE.read_text() == page(found)


@pytest.mark.parametrize(
    "name", [FAILURES[0].name, *(pytest.param(failure.name, marks=pytest.mark.slow) for failure in FAILURES[1:])]
)
def test_every_verb_ends_as_the_page_says(tmp_path: Path, name: str) -> None:
    """With its exit status, and what it says is true of the kernel."""
    expected, failure, wrong = _statuses(), _cell(name), list[str]()
    for verb in LINES:
        folder = tmp_path / verb
        folder.mkdir()
        found = run_of(folder, verb, failure)
        try:
            check(verb, failure, found)
            assert found[0].status == expected[verb, name]
        except AssertionError as error:
            wrong.append(f"{verb}: {error}: {found[0]}")
    assert not wrong, "\n".join(wrong)


def _write_page() -> None:
    found: dict[tuple[str, str], int] = {}
    for failure in FAILURES:
        for verb in LINES:
            folder = Path(mkdtemp(prefix="hostfw-table-"))
            try:
                done = run_of(folder, verb, failure)
            finally:
                rmtree(folder)
            try:
                check(verb, failure, done)
            except AssertionError as error:
                sys.stderr.write(f"{failure.name}: {verb}: {error!r:.200}: {done}\n")
            found[verb, failure.name] = done[0].status
    sys.stdout.write(page(found))


if __name__ == "__main__":
    _write_page()
