"""Locks on hosts, as the Ansible collection takes them: one run at a time."""

from collections.abc import Callable, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/turn.py"
_SPEC = spec_from_file_location("ansible_turn", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
turn = module_from_spec(_SPEC)
_SPEC.loader.exec_module(turn)


def _run(process: str, controller: str = "one", alive: tuple[str, ...] = ("1:1", "2:2")) -> Mapping[str, object]:
    return {"controller": controller, "process": process, "who": f"root@{controller}", "alive": list(alive)}


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let seconds pass on the host."""
    now_s = turn._now_s()

    def forward(seconds: float) -> None:
        monkeypatch.setattr(turn, "_now_s", lambda: now_s + seconds)

    return forward


def test_another_run_is_refused_by_name_until_the_lock_is_given_up(tmp_path: Path) -> None:
    """The same run takes it as often as it likes; another one gives up nothing."""
    turn.take(str(tmp_path / "lock"), _run("1:1"), 60, force=False)
    turn.take(str(tmp_path / "lock"), _run("1:1"), 60, force=False)

    for other in (_run("2:2"), _run("1:1", controller="two")):
        with pytest.raises(turn.HeldError, match="another run of root@one changes this host"):
            turn.take(str(tmp_path / "lock"), other, 60, force=False)
        assert turn.release(str(tmp_path / "lock"), other) is False
        with pytest.raises(turn.HeldError):
            turn.insist(str(tmp_path / "lock"), other)

    turn.insist(str(tmp_path / "lock"), _run("1:1"))
    assert turn.release(str(tmp_path / "lock"), _run("1:1")) is True
    turn.take(str(tmp_path / "lock"), _run("2:2"), 60, force=False)


def test_a_run_that_died_is_no_hindrance_to_the_next_one_of_its_controller(tmp_path: Path) -> None:
    """Another controller cannot know that it died, and waits for the end of the lease."""
    turn.take(str(tmp_path), _run("1:1"), 60, force=False)

    with pytest.raises(turn.HeldError):
        turn.take(str(tmp_path), _run("5:5", controller="two", alive=("5:5",)), 60, force=False)

    turn.take(str(tmp_path), _run("2:2", alive=("2:2",)), 60, force=False)
    with pytest.raises(turn.HeldError):
        turn.insist(str(tmp_path), _run("1:1"))


def test_a_lease_ends_and_is_renewed(tmp_path: Path, pass_time: Callable[[float], None]) -> None:
    """The run that had it finds out before it applies anything."""
    turn.take(str(tmp_path), _run("1:1"), 60, force=False)
    pass_time(50)
    turn.take(str(tmp_path), _run("1:1"), 60, force=False)
    pass_time(100)
    with pytest.raises(turn.HeldError):
        turn.take(str(tmp_path), _run("2:2"), 60, force=False)
    pass_time(111)
    turn.take(str(tmp_path), _run("2:2"), 60, force=False)

    with pytest.raises(turn.HeldError):
        turn.insist(str(tmp_path), _run("1:1"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"until": "soon"}', '{"until": 9e99}'])
def test_a_damaged_lock_is_none(tmp_path: Path, content: str) -> None:
    """Nobody could give it up."""
    (tmp_path / "turn").write_text(content)

    turn.take(str(tmp_path), _run("1:1"), 60, force=False)

    turn.insist(str(tmp_path), _run("1:1"))


def test_a_person_may_take_the_lock(tmp_path: Path) -> None:
    """With hostfw_break_lock."""
    turn.take(str(tmp_path), _run("1:1"), 60, force=False)

    turn.take(str(tmp_path), _run("2:2"), 60, force=True)

    turn.insist(str(tmp_path), _run("2:2"))


def test_a_run_stages_in_an_empty_directory_of_its_own_and_removes_what_others_left(tmp_path: Path) -> None:
    """The path without a name of a run leads to the latest; check mode touches neither."""
    staging = tmp_path / "staging"
    first = Path(turn.place(str(staging), "aaaaaaaa", alone=True))
    (first / "web.yaml").write_text("")
    looked = Path(turn.place(str(tmp_path / "check"), "bbbbbbbb", alone=False))

    second = Path(turn.place(str(staging), "cccccccc", alone=True))

    assert staging.resolve() == second
    assert (first.exists(), list(second.iterdir()), second.stat().st_mode & 0o777) == (False, [], 0o700)
    assert looked.is_dir()
    assert not (tmp_path / "check").exists()
