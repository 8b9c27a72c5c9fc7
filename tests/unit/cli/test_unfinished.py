"""A change by hostfw that did not end: nothing that it left is put down to another program."""

from pathlib import Path

import pytest

from hostfw.engine.outcomes import UNKNOWN, Failed
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

_SHOWN = ("status", "doctor", "diff")


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    assert made.hostfwctl("apply").status == 0
    return made


def _fail_midway(host: Machine) -> None:
    """An apply that failed after its switch, so that what is in force is not what is on record."""
    host.write(web=WEB.replace("80", "443"))
    with pytest.MonkeyPatch.context() as patch:

        def failed(*_: object) -> Failed:
            return Failed("the answer was lost", in_force=UNKNOWN)

        patch.setattr("hostfw.engine.kernel.deploy.deploy.read_back", failed)
        patch.setattr("hostfw.engine.kernel.deploy.deploy.ensure_ours", failed)
        assert host.hostfwctl("apply").status == 1


def _said(host: Machine) -> str:
    return "".join(ran.out + ran.err for ran in (host.hostfwctl(verb) for verb in _SHOWN))


def test_nobody_else_is_blamed_for_it(host: Machine) -> None:
    """Every verb that shows it says whose it may be, until the next change ends."""
    _fail_midway(host)
    said = _said(host)
    assert said.count("a change by hostfw") == len(_SHOWN), said
    assert "another program" not in said
    assert host.hostfwctl("status").status == 0
    assert host.hostfwctl("reload").status == 0
    assert "a change by hostfw" not in _said(host)


def test_another_program_is_named_otherwise(host: Machine) -> None:
    """Also after a change that failed and was made good since."""
    _fail_midway(host)
    assert host.hostfwctl("reload").status == 0
    host.kernel.meddle("flush chain ip hostfw input\n")
    said = _said(host)
    assert "another program" in said
    assert "a change by hostfw" not in said


def test_the_note_is_of_one_network_namespace(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in a shared run directory says nothing of the tables here."""
    _fail_midway(host)
    monkeypatch.setattr("hostfw.host.store.generations.active.network_namespace", lambda: 7)
    assert "a change by hostfw" not in _said(host)
