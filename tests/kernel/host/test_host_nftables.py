"""Scripts into a real kernel through the real libnftables."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from hostfw.host.nftables.nft_version import nft_version
from hostfw.host.nftables.tables import read_generation, read_tables
from hostfw.host.nftables.writing.script_runner import NftablesWorker, NftFailure, NftResult
from lab.namespace import Namespace, inside, namespace

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place() -> Iterator[Namespace]:
    """A namespace of its own, which the test is in."""
    with namespace("nft") as made, inside(made):
        yield made


@pytest.fixture
def nft(place: Namespace) -> Iterator[NftablesWorker]:
    """A worker in the namespace."""
    with inside(place), NftablesWorker() as worker:
        yield worker


@pytest.mark.parametrize(
    ("name", "script", "line", "column", "error"),
    [
        ("syntax", "add table ip hostfw\nadd chain ip hostfw a b\n", 2, 23, "syntax error"),
        (
            "the kernel's word",
            "add table ip hostfw\nadd chain ip hostfw a\nadd rule ip hostfw a jump nope\n",
            3,
            27,
            "No such file",
        ),
        ("within a block", "table ip hostfw {\n\tchain a {\n\t\tgoto nope\n\t}\n}\n", 3, 8, "No such file"),
        ("a missing counter", 'table ip hostfw {\n\tchain a {\n\t\tcounter name "k"\n\t}\n}\n', 3, 16, "No such file"),
        (
            "a map that is none",
            "table ip hostfw {\n\tset s {\n\t\ttype mark\n\t\telements = { 1 : 2 }\n\t}\n}\n",
            2,
            6,
            "not a map",
        ),
    ],
)
def test_errors_have_the_line_and_column_of_the_script(
    nft: NftablesWorker, name: str, script: str, line: int, column: int, error: str
) -> None:
    """A check and a commit say the same, and nothing of the transaction stays."""
    checked, committed = nft.check(script), nft.commit(script)

    assert checked == committed, name
    assert not checked.ok
    assert (checked.line, checked.column) == (line, column)
    assert error in checked.error
    assert "/proc" not in checked.error
    assert not read_tables().ip.exists


def test_a_check_changes_nothing(nft: NftablesWorker) -> None:
    """Not even the generation."""
    before = read_generation()

    assert nft.check("add table ip hostfw\n") == NftResult(ok=True)

    assert not read_tables().ip.exists
    assert read_generation() == before


def test_a_commit_is_one_transaction(nft: NftablesWorker) -> None:
    """Both families at one generation."""
    before = read_generation()

    assert nft.commit("add table ip hostfw\nadd table ip6 hostfw\n") == NftResult(ok=True)

    tables = read_tables()
    assert tables.ip.exists
    assert tables.ip6.exists
    assert tables.generation == before + 1


def test_a_worker_stays_in_the_namespace_that_it_started_in(nft: NftablesWorker) -> None:
    """Whatever its parent does meanwhile."""
    with namespace("elsewhere") as other, inside(other):
        assert nft.commit("add table ip hostfw\n").ok
        assert not read_tables().ip.exists

    assert read_tables().ip.exists


def test_interfaces_that_appear_later_are_known(nft: NftablesWorker) -> None:
    """Libnftables keeps a list of them, but not from one request to the next."""
    script = "table ip hostfw {\n\tchain a {\n\t\tiif late accept\n\t}\n}\n"
    assert not nft.check(script).ok
    subprocess.run(["ip", "link", "add", "late", "type", "veth", "peer", "late2"], check=True)

    assert nft.check(script).ok


def test_a_script_of_tens_of_megabytes_arrives_in_time(nft: NftablesWorker) -> None:
    """Comments are as heavy as anything for the parser."""
    filler = "# " + "x" * 998 + "\n"
    script = filler * 20_000 + "add table ip hostfw\nadd rule ip hostfw nope accept\n"

    result = nft.commit(script)

    assert (result.ok, result.line) == (False, 20_002)


def test_twenty_thousand_rules_take_seconds(nft: NftablesWorker) -> None:
    """Far from the timeout, and all of them are there."""
    lines = ["add table ip hostfw", *(f"add chain ip hostfw c{i}" for i in range(1000))]
    lines += [f"add rule ip hostfw c{i} ip saddr 192.0.2.{j} counter accept" for i in range(1000) for j in range(20)]
    started = monotonic()

    assert nft.commit("\n".join(lines)).ok

    assert monotonic() - started < 15
    assert sum(chain.rules or 0 for chain in read_tables().ip.chains) == 20_000


@pytest.mark.usefixtures("place")
def test_a_timeout_leaves_a_checked_ruleset_alone() -> None:
    """The clock runs out on a real transaction; a new worker goes on."""
    rules = "".join(f"add rule ip hostfw c ip saddr 192.0.2.{i % 250} counter accept\n" for i in range(20_000))
    with NftablesWorker(timeout_s=0.15) as nft:
        with pytest.raises(NftFailure, match=r"gave no answer within 0\.15 s") as caught:
            nft.check("add table ip hostfw\nadd chain ip hostfw c\n" + rules)

        assert caught.value.unchanged
        assert not read_tables().ip.exists


@pytest.mark.usefixtures("place")
def test_the_worker_is_found_wherever_the_package_is(tmp_path: Path) -> None:
    """A checkout in the current directory, without PYTHONPATH and without being installed."""
    script = """
import os
from hostfw.host.nftables.writing.script_runner import NftablesWorker
os.chdir("/")
with NftablesWorker() as nft:
    print(nft.check("add table ip hostfw"))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path)},
    )

    assert done.stdout == "NftResult(ok=True, error='', line=None, column=None)\n", done.stderr


def test_the_version_of_nft_is_known() -> None:
    """As its own output has it."""
    said = subprocess.run(["nft", "--version"], capture_output=True, text=True, check=True).stdout

    assert f"v{nft_version()} " in said
    assert nft_version().count(".") >= 1


@pytest.mark.usefixtures("place")
def test_without_the_right_nft_says_so() -> None:
    """A result like any other refusal."""
    script = """
from hostfw.host.nftables.writing.script_runner import NftablesWorker
with NftablesWorker() as nft:
    result = nft.commit("add table ip hostfw")
    print(result.ok, result.error)
"""
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.stdout.startswith("False "), done.stderr
    assert "Operation not permitted" in done.stdout
