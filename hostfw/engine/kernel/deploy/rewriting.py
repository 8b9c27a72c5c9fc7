"""Chains written again where another program committed between their commit and the read-back.

What is read back then may be its work, and nobody would ever notice it if it were recorded as ours. Nothing but another
commit of the same rules tells: one that nobody disturbs, or one after which the kernel holds the same rules as before
it, and as many as were sent. Commits to other tables without pause do not prevent the latter. An edit of a chain of
ours is undone by it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from hostfw.engine.context import Host
from hostfw.engine.kernel.state.installed import Digests
from hostfw.engine.kernel.state.state import KernelState, read_back, untouched_chains
from hostfw.engine.outcomes import UNKNOWN, Failed
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.model.values import TableFamily
from hostfw.nft.change import change
from hostfw.nft.object_text import table_name
from hostfw.nft.objects import Ruleset

TRIES = 3
"""Most commits of the same rules before another program is said to change them all the time."""
CHANGED_WITHOUT_PAUSE = Failed(
    "another program changes our chains as fast as they are written, so it is not certain what they hold",
    "`nft monitor` shows which; then run `hostfwctl apply` again",
    UNKNOWN,
)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The kernel's state with chains that are certainly ours, and warnings about what another program did to them."""

    state: KernelState
    warnings: tuple[str, ...] = ()


def ensure_ours(
    ruleset: Ruleset,
    before: KernelState,
    now: KernelState,
    host: Host,
    nftables: Nftables,
    send: Callable[[str, Nftables], Failed | None],
) -> Rewritten | Failed:
    """Write the chains of a change from `before` again until it is certain that what was read back is ours.

    What the kernel lacks after that is for the caller to look at. Raises HostError.
    """
    if now.certain or now.lacking:
        return Rewritten(now)
    untouched = untouched_chains(before)
    changed: set[tuple[TableFamily, str]] = set()
    for _ in range(TRIES):
        written = _written(now.chains, ruleset, untouched)
        suspect = {of.family: frozenset(n for f, n in written if f is of.family) for of in ruleset.tables}
        installed = tuple(replace(table, suspect=suspect.get(table.family, frozenset())) for table in now.installed)
        again = change(ruleset, installed)
        stopped = send(again.switch, nftables)
        if stopped is not None:
            return replace(stopped, in_force=UNKNOWN)
        last = replace(now, installed=installed, ruleset=None)
        now = read_back(last, ruleset, host, nftables, int(bool(again.switch)))
        after = _written(now.chains, ruleset, untouched)
        differing = {name for name, digest in after.items() if written.get(name) != digest}
        changed |= differing
        if not differing and not now.lacking and not now.miscounted & after.keys():
            now = replace(now, certain=True)
        if now.certain or now.lacking:
            break
    if not now.certain and not now.lacking:
        return CHANGED_WITHOUT_PAUSE
    return Rewritten(
        now,
        tuple(
            f"table {table_name(family)}: another program changed chain {name} meanwhile, so it was written again"
            for family, name in sorted(changed)
        ),
    )


def _written(
    chains: Digests, ruleset: Ruleset, untouched: dict[tuple[TableFamily, str], str]
) -> dict[tuple[TableFamily, str], str]:
    """The digests of the chains of a ruleset that were written, base chains among them."""
    ours = {(table.family, chain.name) for table in ruleset.tables for chain in table.chains}
    ours |= {(table.family, chain.name) for table in ruleset.tables for chain in table.base_chains}
    return {(f, name): digest for f, name, digest in chains if (f, name) in ours and (f, name) not in untouched}
