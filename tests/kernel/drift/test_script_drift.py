"""Changes of another program to our tables, where only the stored script of what was accepted can put them right.

The accepted files do not build any more, as after an upgrade that refuses more than the release before it.
"""

from collections.abc import Callable

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.reconcile import Resumed
from hostfw.host.store.configuration.files import read_configuration
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, run
from tests.kernel.drift.test_drift import ELEMENTS, MADE_ANEW, TAMPERING, WITH_MAPS, map_and_set, nft, remade, script_of
from tests.kernel.drift.test_drift_kinds import KINDS
from tests.kernel.drift.test_every_change import lasting
from tests.kernel.packets.connections import admits
from tests.unit.engine.trial.test_trial import broken


def _elements(tampering: str) -> Callable[[Namespace], str]:
    def script(node: Namespace) -> str:
        mapped, trusted = map_and_set(node)
        return ELEMENTS[tampering].format(map=mapped, set=trusted, remade=remade(node, mapped))

    return script


def _anew(difference: str) -> Callable[[Namespace], str]:
    def script(node: Namespace) -> str:
        listed = run(node, ["nft", "list", "table", "ip", "hostfw"]).stdout
        return f"delete table ip hostfw\n{listed.replace(*MADE_ANEW[difference], 1)}"

    return script


def _tampered(tampering: str) -> Callable[[Namespace], str]:
    return lambda node: script_of(node, tampering)


def _anew_with_comment(node: Namespace) -> str:
    return KINDS["a comment of the table"][0](node)


CHANGES: dict[str, Callable[[Namespace], str]] = {
    **{name: _tampered(name) for name in TAMPERING},
    **{name: _elements(name) for name in ELEMENTS},
    **{f"made anew: {name}": _anew(name) for name in MADE_ANEW},
    **{name: script for name, (script, _) in KINDS.items()},
    "a comment, and elsewhere": lambda node: "\n".join((_anew_with_comment(node), script_of(node, "another hook"))),
    "everything": lambda _: "flush ruleset",
    "one table": lambda _: "delete table ip hostfw",
}


EVERY_THIRD = [
    pytest.param(name, marks=() if name in ELEMENTS or number % 3 == 0 else pytest.mark.soak)
    for number, name in enumerate(CHANGES)
]
"""Every change of elements, and every third of the others; with --soak all."""


@pytest.mark.parametrize("change", EVERY_THIRD)
def test_the_stored_script_puts_right_what_another_program_did(
    lab: Lab, installation: Installation, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Packets meet what was accepted, and everything is as the script says."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    engine = Engine(Directories(installation.config, installation.state, installation.run))
    with inside(host):
        applied = engine.apply(check_candidate(*read_configuration(installation.config)))
        assert isinstance(applied, Applied), applied
    before = lasting(host)
    nft(host, CHANGES[change](host))

    monkeypatch.setattr("hostfw.engine.trial.rollback.check_candidate", broken)
    with inside(host):
        resumed = engine.resume()

        assert isinstance(resumed, Resumed), resumed
        assert not resumed.from_sources
        assert engine.drift() == ()
    assert lasting(host) == before
    assert (admits(lab, 80), admits(lab, 443), admits(lab, 8080)) == (True, False, False)
