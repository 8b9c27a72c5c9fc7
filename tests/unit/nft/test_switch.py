"""The switch of base chains: by deletion of the rules in front of new ones, and by a script where that will not do."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from hostfw.engine.kernel.state.installed import installed_tables
from hostfw.model.values import FAMILIES, Family
from hostfw.nft.change import Change, change
from hostfw.nft.deletion import DeletionKind
from hostfw.nft.installed import InstalledTable
from hostfw.nft.objects import BaseChain, Chain, Hook, Priority, Ruleset, Table
from hostfw.nft.rules import Accept, CounterRef, Goto, Key, Match, Rule
from lab.fakes.fake_kernel.kernel import FakeKernel

_FIRST = Rule((Match(Key.CT_STATE, "established,related"),), (Accept(),))


def _ruleset(leaf: str, *more: BaseChain) -> Ruleset:
    chain = Chain(leaf, (Rule((), (CounterRef("hits"), Accept())),))
    base = BaseChain(Hook.INPUT, Priority.FILTER, policy_drop=True, rules=(_FIRST, Rule((), (Goto(leaf),), leaf)))
    return Ruleset(tuple(Table(family, ("hits",), (), (), (chain,), (base, *more)) for family in FAMILIES))


def _installed(kernel: FakeKernel) -> tuple[InstalledTable, ...]:
    """The kernel's tables, none of them suspect."""
    return tuple(replace(table, suspect=frozenset()) for table in installed_tables(kernel.read_tables(), None))


@pytest.fixture
def kernel() -> FakeKernel:
    """A kernel that holds the ruleset `old`."""
    kernel = FakeKernel()
    first = change(_ruleset("old"), ())
    assert not first.activation, "there is nothing to turn"
    assert kernel.commit(first.prepare).ok
    assert kernel.commit(first.switch).ok
    return kernel


def _met(kernel: FakeKernel) -> list[str]:
    """The rules that packets meet in the base chain of input, in IPv4."""
    chain = kernel.read_tables().ip.chain("input")
    assert chain is not None
    return [target for rule in chain.base_rules[: chain.rules] for target in rule.targets]


def _apply(planned: Change, kernel: FakeKernel) -> None:
    assert kernel.commit(planned.prepare).ok
    kernel.activate(planned.activation, kernel.generation)
    kernel.delete(planned.sweep)


def test_a_switch_is_a_deletion(kernel: FakeKernel) -> None:
    """The new rules wait behind the old, of which the switch deletes each by its handle."""
    planned = change(_ruleset("new"), _installed(kernel))

    assert kernel.commit(planned.prepare).ok
    assert _met(kernel) == ["old"], "nothing has changed for packets"
    assert [(one.what, one.name) for one in planned.activation] == [(DeletionKind.RULE, "input")] * 2 * len(FAMILIES)
    kernel.activate(planned.activation, kernel.generation)
    assert _met(kernel) == ["new"]
    kernel.delete(planned.sweep)
    assert change(_ruleset("new"), _installed(kernel)).is_empty


def test_a_change_is_shown_as_it_would_be_sent(kernel: FakeKernel) -> None:
    """For `diff --nft`: the deletions and not the script that stands by."""
    planned = change(_ruleset("new"), _installed(kernel))

    _, switch = str(planned).split("# switch\n")
    lines = switch.split("\n\n")[0].splitlines()
    assert lines == [str(deletion) for deletion in planned.activation]
    assert all(line.startswith("delete rule ip") for line in lines)


def test_what_a_crash_left_behind_is_no_change_for_packets_and_goes_with_the_next(kernel: FakeKernel) -> None:
    """After a prepare alone the old is in force; whichever comes next leaves nothing else."""
    assert kernel.commit(change(_ruleset("new"), _installed(kernel)).prepare).ok

    _apply(change(_ruleset("newer"), _installed(kernel)), kernel)
    assert _met(kernel) == ["newer"]
    assert change(_ruleset("newer"), _installed(kernel)).is_empty

    assert kernel.commit(change(_ruleset("new"), _installed(kernel)).prepare).ok
    _apply(change(_ruleset("newer"), _installed(kernel)), kernel)
    assert _met(kernel) == ["newer"]
    assert {chain.name for chain in kernel.read_tables().ip.chains} == {"input", "newer"}


_FORWARD = BaseChain(Hook.FORWARD, Priority.FILTER, policy_drop=False, rules=(_FIRST, Rule((), (Accept(),), "forward")))
_RETURNS = BaseChain(Hook.INPUT, Priority.FILTER, policy_drop=False, rules=(_FIRST, Rule((), (Goto("new"),), "new")))
_OPEN_END = BaseChain(Hook.INPUT, Priority.FILTER, policy_drop=True, rules=(replace(_FIRST, comment="open"),))


@pytest.mark.parametrize(
    "wanted",
    [
        _ruleset("new", _FORWARD),
        Ruleset(tuple(replace(table, base_chains=(_RETURNS,)) for table in _ruleset("new").tables)),
        Ruleset(tuple(replace(table, base_chains=(_OPEN_END,)) for table in _ruleset("new").tables)),
    ],
    ids=["a base chain that is not there", "another policy", "no end"],
)
def test_where_deletions_will_not_do_a_script_writes_all(kernel: FakeKernel, wanted: Ruleset) -> None:
    """All base chains of both tables switch in one transaction, by script if one of them has to."""
    planned = change(wanted, _installed(kernel))

    assert planned.activation == ()
    assert "input" not in "".join(line for line in planned.prepare.splitlines() if "hook" in line)
    assert kernel.commit(planned.prepare).ok
    assert kernel.commit(planned.switch).ok
    kernel.delete(planned.sweep)
    assert change(wanted, _installed(kernel)).is_empty


@pytest.mark.parametrize("suspects", [("input",), ("old",)])
def test_what_another_hand_changed_is_written_by_script(kernel: FakeKernel, suspects: Sequence[str]) -> None:
    """The number of its rules is unknown."""
    installed = _installed(kernel)
    suspicious = (replace(installed[0], suspect=frozenset(suspects)), *installed[1:])

    planned = change(_ruleset("old"), suspicious)

    assert planned.activation == ()
    assert f"flush chain ip hostfw {suspects[0]}" in planned.switch.splitlines()


def test_a_base_chain_that_nobody_wants_is_emptied_with_the_turn(kernel: FakeKernel) -> None:
    """Its hook stays, and with it whatever is queued there."""
    first = change(_ruleset("new", _FORWARD), _installed(kernel))
    assert kernel.commit(first.prepare).ok
    assert kernel.commit(first.switch).ok
    kernel.delete(first.sweep)

    planned = change(_ruleset("newer"), _installed(kernel))

    assert (Family.V4, DeletionKind.RULES, "forward", 0) in planned.activation
    _apply(planned, kernel)
    assert change(_ruleset("newer"), _installed(kernel)).is_empty
