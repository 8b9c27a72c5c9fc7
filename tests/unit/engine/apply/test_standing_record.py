"""The record of governed interfaces on disk: written when it says something else, and not otherwise."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hostfw.engine.apply.standing_record import keep_record
from hostfw.engine.context import Directories
from hostfw.host.store.generations.generations import generation_folder
from hostfw.host.store.generations.governance import load_governance, save_governance
from hostfw.model.host.governance import Governance, GovernedInterface

ETH0 = GovernedInterface(
    "eth0", "uplink", "interfaceName eth0", 2, mac="02:00:00:00:00:01", permanent_mac="02:00:00:00:00:01"
)
VETH = GovernedInterface("veth7", "lan", "interfaceGroup lan", 7, "veth", "02:00:00:00:00:07")
KEPT = replace(VETH, kept="it is no longer in InterfaceGroup lan", since=datetime(2030, 1, 1, tzinfo=UTC))
BEFORE = Governance("web1", (ETH0, VETH), "boot-1")

CASES: list[tuple[str, Governance, Governance, bool]] = [
    ("the same", BEFORE, BEFORE, False),
    ("one is gone", BEFORE, replace(BEFORE, interfaces=(ETH0, replace(VETH, index=0))), False),
    ("one is gone, and stands last now", BEFORE, replace(BEFORE, interfaces=(VETH, replace(ETH0, index=0))), False),
    ("one is back", BEFORE, replace(BEFORE, interfaces=(ETH0, replace(VETH, index=8))), True),
    ("one is new", replace(BEFORE, interfaces=(ETH0,)), BEFORE, True),
    ("one is forgotten", BEFORE, replace(BEFORE, interfaces=(ETH0,)), True),
    ("one has another endpoint", BEFORE, replace(BEFORE, interfaces=(ETH0, replace(VETH, endpoint="dmz"))), True),
    (
        "one is gone and has another claim",
        BEFORE,
        replace(BEFORE, interfaces=(ETH0, replace(VETH, index=0, claim="interfaceGroup dmz"))),
        True,
    ),
    (
        "one that is kept is gone",
        replace(BEFORE, interfaces=(ETH0, KEPT)),
        replace(BEFORE, interfaces=(ETH0, replace(KEPT, index=0))),
        True,
    ),
    ("another boot", BEFORE, replace(BEFORE.without_indices(), boot="boot-2"), True),
]


@pytest.mark.parametrize(("before", "now", "written"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_it_is_written_when_it_says_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: Governance, now: Governance, written: bool
) -> None:
    """An interface that comes and goes all the time costs a write when it comes, and none when it goes."""
    directories = Directories(tmp_path / "etc", tmp_path / "var", tmp_path / "run")
    folder = generation_folder(directories.state, 1)
    folder.mkdir(parents=True)
    assert keep_record(directories, 1, before, None) == ()
    saved: list[Governance] = []

    def counted(into: Path, governance: Governance) -> None:
        saved.append(governance)
        save_governance(into, governance)

    monkeypatch.setattr("hostfw.engine.apply.standing_record.save_governance", counted)

    assert keep_record(directories, 1, now, None) == ()
    assert saved == ([now] if written else [])
    assert load_governance(folder)[0] == (now if written else before)
