"""The boot unit's script: the ruleset that it loads, and the one line that says what is in force."""

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from hostfw.host.store.block import BlockRecord, save_block
from hostfw.model.prefixes import pack
from hostfw.model.values import Family, PortRange
from hostfw.nft.object_text import render
from hostfw.nft.objects import Dynamic, ElementType, Ruleset, Set, Table, VerdictMap
from hostfw.nft.rules import Accept
from tests.unit.cli_runs import hostfwctl

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "units" / "hostfw-boot"
PROTECTED = "".join(
    f"""\
table {family} hostfw {{
\tchain input {{
\t\ttype filter hook input priority filter; policy drop;
\t}}
\tchain in/eth0.0123456789ab {{
\t}}
\tchain output {{
\t\ttype filter hook output priority filter; policy drop;
\t}}
}}
"""
    for family in ("ip", "ip6")
)
OTHERS = PROTECTED.replace("table ip6 hostfw", "table ip6 filter")
OPEN_BY_POLICY = PROTECTED.replace("policy drop", "policy accept", 1)
ELSEWHERE = PROTECTED.replace("hook output", "hook forward", 1)
LATER = PROTECTED.replace("priority filter", "priority filter + 5", 1)
UNHOOKED = PROTECTED.replace("\t\ttype filter hook input priority filter; policy drop;\n", "", 1)


@dataclass(frozen=True, slots=True)
class Booted:
    """The end of the script, its output with priorities, and the scripts that nft was given."""

    status: int
    said: tuple[str, ...]
    loaded: tuple[str, ...]


def boot(
    folder: Path, *, chains: str = "", sets: str = "", refuses: Sequence[str] = (), hangs: Sequence[str] = ()
) -> Booted:
    """Run it with an nft that notes what it is given, refuses some scripts and never comes back from others.

    `chains` and `sets` are what it lists; what came through a pipe last is in the file `piped`.
    """
    (folder / "chains").write_text(chains)
    (folder / "sets").write_text(sets)
    nft = folder / "nft"
    refused = "".join(
        f"{name} | */{name}) echo '{name}:3:1-4: Error: syntax error' >&2; echo more >&2; exit 1 ;;\n"
        for name in refuses
    )
    hanging = "".join(f"*/{name}) exec sleep 60 ;;\n" for name in hangs)
    nft.write_text(
        f'#!/bin/sh\nif [ "$*" = "list chains" ]; then cat {folder}/chains; exit; fi\n'
        f"case $* in *list*) cat {folder}/sets; exit ;; esac\n"
        f'echo "${{2##*/}}" >>{folder}/loaded\n[ "$2" != - ] || cat >{folder}/piped\n'
        f"case $2 in\n{refused}{hanging}esac\n"
    )
    nft.chmod(0o755)
    (folder / "failsafe.nft").write_text("# failsafe\n")
    script = SCRIPT.read_text().replace("seconds=60", "seconds=0.3")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOSTFW_NFT": str(nft),
        "HOSTFW_FAILSAFE": str(folder / "failsafe.nft"),
        "HOSTFW_STATE": str(folder / "state"),
    }
    done = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    loaded = (folder / "loaded").read_text().split() if (folder / "loaded").exists() else []
    said = tuple(line.replace(str(folder), "") for line in done.stderr.splitlines())
    assert done.stdout == ""
    return Booted(done.returncode, said, tuple(loaded))


def accept(folder: Path, *, script: str = "# last good\n", noted: str | None = None) -> None:
    """Lay down an accepted generation as hostfw does, noted as having been another script if one is given."""
    generation = folder / "state" / "generations" / "000042"
    generation.mkdir(parents=True)
    (generation / "ruleset.nft").write_text(script)
    digest = sha256((script if noted is None else noted).encode()).hexdigest()
    (generation / "generation.json").write_text(json.dumps({"format": 1, "ruleset_sha256": digest}, indent=1))
    (folder / "state" / "accepted").symlink_to("generations/000042")
    (folder / "state" / "last-good.nft").symlink_to("accepted/ruleset.nft")


FAILSAFE = "The failsafe rules are in force"
OPEN = "NO RULES of hostfw are in force, this host is open"
NO_FAILSAFE = "<2>The failsafe rules do not load: failsafe.nft:3:1-4: Error: syntax error"
NEVER = "there is no accepted generation in /state."
BOTH = ("failsafe.nft", "last-good.nft")


def test_the_last_good_ruleset_follows_the_failsafe_rules(tmp_path: Path) -> None:
    """In that order, so that there is no moment without rules."""
    accept(tmp_path)

    assert boot(tmp_path) == Booted(0, ("<6>The last good ruleset is in force: generation 42.",), BOTH)


@pytest.mark.parametrize(
    ("name", "first", "last", "loads"),
    [
        ("in time", -10, 1000, "last-good.nft"),
        ("a clock that was adjusted", 30, 1000, "last-good.nft"),
        ("past its moment", -1000, 0, "lasting.nft"),
        ("a clock without a battery", 86_400, 90_000, "lasting.nft"),
        ("damaged", "x", 1000, "lasting.nft"),
        ("cut off", -10, "", "lasting.nft"),
        ("lost", None, None, "lasting.nft"),
    ],
)
def test_what_expires_is_loaded_in_its_time_alone(
    tmp_path: Path, name: str, first: int | str | None, last: int | str | None, loads: str
) -> None:
    """Otherwise the ruleset without it is, and its digest is looked at all the same."""
    accept(tmp_path)
    now = int(time.time())
    generation = tmp_path / "state" / "generations" / "000042"
    (generation / "lasting.nft").write_text("# lasting\n")
    about = json.loads((generation / "generation.json").read_text())
    about["lasting"] = {"sha256": sha256(b"# lasting\n").hexdigest()}
    (generation / "generation.json").write_text(json.dumps(about, indent=1))
    times = [str(now + one) if isinstance(one, int) else one for one in (first, last) if one is not None]
    if times:
        (generation / "expires").write_text(" ".join(times) + "\n")

    booted = boot(tmp_path)

    assert (name, booted.status, booted.loaded) == (name, 0, ("failsafe.nft", loads))
    assert ("without what was allowed for a time" in booted.said[-1]) == (loads == "lasting.nft")

    (generation / "lasting.nft").write_text("# meddled with\n")
    (tmp_path / "loaded").unlink()
    assert boot(tmp_path).loaded == (("failsafe.nft",) if loads == "lasting.nft" else BOTH)


def test_sets_that_are_left_to_the_service_are_told_of(tmp_path: Path) -> None:
    """In the words that hostfw writes in their place."""
    nothing = Set("nets/32.x", ElementType.ADDRESS, pack(Family.V4, range(10)))
    accept(tmp_path, script=render(Ruleset((Table(Family.V4, sets=(nothing,)),)), most_elements=9))
    said = (
        "<5>The last good ruleset is in force: generation 42, "
        "without the elements of big sets (1), which hostfw.service fills."
    )

    assert boot(tmp_path) == Booted(0, (said,), BOTH)


def test_without_an_accepted_generation_the_failsafe_rules_stay(tmp_path: Path) -> None:
    """As on a host that was configured, and started before anybody applied."""
    assert boot(tmp_path) == Booted(0, (f"<5>{FAILSAFE}: {NEVER}",), BOTH[:1])


def test_what_does_not_load_leaves_the_failsafe_rules(tmp_path: Path) -> None:
    """With the first line of what nft says."""
    accept(tmp_path)
    said = f"<3>{FAILSAFE}: the last good ruleset does not load: last-good.nft:3:1-4: Error: syntax error"

    assert boot(tmp_path, refuses=["last-good.nft"]) == Booted(0, (said,), BOTH)


def test_what_takes_too_long_leaves_the_failsafe_rules(tmp_path: Path) -> None:
    """A boot must go on."""
    accept(tmp_path)
    said = f"<3>{FAILSAFE}: the last good ruleset does not load: it took longer than 0.3 seconds"

    assert boot(tmp_path, hangs=["last-good.nft"]) == Booted(0, (said,), BOTH)


@pytest.mark.parametrize(
    ("name", "script", "noted"),
    [
        ("it lost its end", "# last", "# last good\n"),
        ("it is another", "# something else\n", "# last good\n"),
    ],
)
def test_a_damaged_script_is_not_loaded(tmp_path: Path, name: str, script: str, noted: str) -> None:
    """It may load all the same, and lock everybody out."""
    accept(tmp_path, script=script, noted=noted)
    said = f"<3>{FAILSAFE}: /state/last-good.nft is damaged."

    assert boot(tmp_path) == Booted(0, (said,), BOTH[:1]), name


def test_an_empty_script_is_none(tmp_path: Path) -> None:
    """As a full disk may leave it; nft would load it and do nothing."""
    accept(tmp_path, script="")

    assert boot(tmp_path) == Booted(0, (f"<3>{FAILSAFE}: {NEVER}",), BOTH[:1])


def test_a_generation_that_cannot_be_told_of_is_damaged(tmp_path: Path) -> None:
    """Nothing says that the script is what it was."""
    accept(tmp_path)
    (tmp_path / "state" / "accepted" / "generation.json").unlink()

    assert boot(tmp_path).said == (f"<3>{FAILSAFE}: /state/last-good.nft is damaged.",)


def test_without_failsafe_rules_the_last_good_ruleset_still_counts(tmp_path: Path) -> None:
    """Both are said."""
    accept(tmp_path)
    said = (NO_FAILSAFE, "<6>The last good ruleset is in force: generation 42.")

    assert boot(tmp_path, refuses=["failsafe.nft"]) == Booted(0, said, BOTH)


def test_a_host_that_nothing_protects_fails_the_unit(tmp_path: Path) -> None:
    """The only case in which it does."""
    said = (NO_FAILSAFE, f"<2>{OPEN}: {NEVER}")

    assert boot(tmp_path, refuses=["failsafe.nft"]) == Booted(1, said, BOTH[:1])


WOKEN, ANEW = ("-",), ("-", "-")
BLOCKED = "This host is BLOCKED, which hostfwctl unblock ends. "


def test_a_block_is_loaded_before_the_last_good_ruleset(tmp_path: Path) -> None:
    """So that what policy allows is not allowed first; both are said at once."""
    accept(tmp_path)
    (tmp_path / "state" / "block.nft").write_text("# block\n")
    said = f"<4>{BLOCKED}The last good ruleset is in force: generation 42."

    assert boot(tmp_path) == Booted(0, (said,), ("failsafe.nft", "block.nft", "last-good.nft"))


@pytest.mark.parametrize(
    ("began_s", "ends_s", "is_loaded"),
    [(-7200, -3600, False), (-7200, 3600, True), (3600, 7200, True), (-7200, None, True)],
    ids=["over", "not over", "the clock is behind", "for ever"],
)
def test_a_block_whose_time_is_over_is_not_loaded(
    tmp_path: Path, began_s: int, ends_s: int | None, *, is_loaded: bool
) -> None:
    """Although the service may never start; nor does a record that nobody can read end it."""
    accept(tmp_path)
    now = datetime.now(UTC)
    began = now + timedelta(seconds=began_s)
    ends = None if ends_s is None else now + timedelta(seconds=ends_s)
    save_block(
        tmp_path / "state",
        BlockRecord(began, everything=False, kept=(), boot_id="b", script="# x", boot_script="# block\n", until=ends),
    )

    assert ("block.nft" in boot(tmp_path).loaded) is is_loaded
    (tmp_path / "state" / "block.json").write_text('{"at": "then", "until": "soon"')
    assert "block.nft" in boot(tmp_path).loaded


def test_a_block_protects_although_nothing_else_loads(tmp_path: Path) -> None:
    """Nothing passes it."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "block.nft").write_text("# block\n")
    said = (NO_FAILSAFE, f"<4>{BLOCKED}No other rules of hostfw are in force: {NEVER}")

    assert boot(tmp_path, refuses=["failsafe.nft"]).status == 0
    assert boot(tmp_path, refuses=["failsafe.nft"]).said == said


def test_a_block_that_does_not_load_is_said(tmp_path: Path) -> None:
    """The rest is in force all the same."""
    accept(tmp_path)
    (tmp_path / "state" / "block.nft").write_text("# block\n")
    said = (
        "<2>The block does not load: block.nft:3:1-4: Error: syntax error",
        "<6>The last good ruleset is in force: generation 42.",
    )

    assert boot(tmp_path, refuses=["block.nft"]).said == said


@pytest.mark.parametrize(
    ("name", "chains", "loaded"),
    [
        ("both tables protect", PROTECTED, WOKEN),
        ("one is another's", OTHERS, ANEW),
        ("a chain that lets pass", OPEN_BY_POLICY, ANEW),
        ("a chain at another hook", ELSEWHERE, ANEW),
        ("a chain at another priority", LATER, ANEW),
        ("a chain at no hook", UNHOOKED, ANEW),
        ("tables of others alone", PROTECTED.replace("hostfw", "theirs"), BOTH[:1]),
    ],
)
def test_rules_in_force_are_left_alone(tmp_path: Path, name: str, chains: str, loaded: tuple[str, ...]) -> None:
    """Started on a running host it must not undo what is in force, perhaps on trial; a dormant table it wakes.

    What another program has changed is made anew, by a second script where the first does not do.
    """
    found = boot(tmp_path, chains=chains)

    assert found.loaded == loaded, name
    stays = f"<5>Rules of hostfw are in force already, and stay as they are, unchecked: {NEVER}"
    assert (found.said == (stays,)) is (loaded == WOKEN)


def _script(*addresses: int, most_elements: int | None = None) -> str:
    """A ruleset with a set that is edited in place, one that its name is the digest of, and one that fills itself."""
    feed = Set("feed", ElementType.ADDRESS, pack(Family.V4, addresses), edited_in_place=True)
    nets = Set("nets/32.x", ElementType.ADDRESS, (1, 2))
    seen = Set("seen", ElementType.ADDRESS, (), dynamic=Dynamic(9, 60))
    ports = VerdictMap("ports.x", ElementType.PORT, ((PortRange(80, 90), Accept()),), interval=True)
    table = Table(Family.V4, sets=(feed, nets, seen), maps=(ports,))
    return render(Ruleset((table,)), most_elements=most_elements)


_FILLED = """\
add set ip hostfw nets/32.x {
\ttype ipv4_addr
\tsize 2
}
flush set ip hostfw nets/32.x
add set ip hostfw nets/32.x {
\ttype ipv4_addr
\tsize 2
\telements = { 0.0.0.1, 0.0.0.2 }
}
add map ip hostfw ports.x {
\ttype inet_service : verdict
\tflags interval
}
flush map ip hostfw ports.x
add map ip hostfw ports.x {
\ttype inet_service : verdict
\tflags interval
\telements = { 80-90 : accept }
}
"""


@pytest.mark.parametrize("content", ["that of the script", "another", "left to the service"])
def test_sets_in_force_are_filled_with_what_their_names_say(tmp_path: Path, content: str) -> None:
    """One that is edited in place only if the mark beside it says so; no other set of a trial or of another program."""
    script = _script(7, 9, most_elements=1 if "service" in content else None)
    marks = [line.split()[4] for line in _script(7, 9).splitlines() if line.startswith("add set ip hostfw feed/")]
    assert len(marks) == 1
    there = ["feed", "nets/32.x", "seen", "more", *(marks if "script" in content else ["feed/0123"])]
    listed = "".join(f"\tset {name} {{\n\t\ttype ipv4_addr\n\t}}\n" for name in there)
    listed = f"table ip hostfw {{\n{listed}\tmap ports.x {{\n\t}}\n}}\ntable ip theirs {{\n\tset feed {{\n\t}}\n}}\n"
    accept(tmp_path, script=script)

    found = boot(tmp_path, chains=PROTECTED, sets=listed)

    assert found == Booted(0, ("<6>Rules of hostfw are in force already, and stay as they are.",), ("-", "-"))
    piped = (tmp_path / "piped").read_text()
    assert piped.endswith(_FILLED)
    assert ("flush set ip hostfw feed\n" in piped) is ("script" in content)
    assert "seen" not in piped


def test_sets_that_cannot_be_filled_again_are_made_anew(tmp_path: Path) -> None:
    """Another program has declared them otherwise, or taken away the chain that an element leads to."""
    accept(tmp_path, script=_script())

    found = boot(tmp_path, chains=PROTECTED, refuses=["-"])

    assert "<4>Another program has changed the tables of hostfw, which are made anew." in found.said
    assert found.loaded == (*WOKEN, "-", *ANEW, *ANEW)


def test_the_failsafe_script_is_what_no_configuration_compiles_to(tmp_path: Path) -> None:
    """On any host: facts do not matter where nothing names an interface."""
    nothing, facts = tmp_path / "nothing", tmp_path / "facts.json"
    nothing.mkdir()
    facts.write_text((ROOT / "examples" / "bastion" / "facts.json").read_text())
    bare = hostfwctl("compile", "-f", nothing, "--facts", ROOT / "units" / "bare-host.json")

    assert bare.out.startswith("#!/usr/sbin/nft -f\n")
    assert (bare.status, bare.err) == (0, "")
    assert hostfwctl("compile", "-f", nothing, "--facts", facts).out == bare.out
