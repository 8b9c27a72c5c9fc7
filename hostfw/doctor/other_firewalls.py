"""Other programs at our hooks, and what they do to our verdicts.

Every base chain at a hook is met in the order of priorities, and only a drop is final: what another drops before us
never reaches policy, and what policy allows another may still drop behind us. Chains that deny nothing are no
conflict, whoever they belong to.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hostfw.doctor.findings import Check, Finding, Weight
from hostfw.host.nftables.base_chains import OtherChain, OtherTable
from hostfw.host.nftables.nf_tables import BaseHook

_BEFORE_US = frozenset(("ingress", "prerouting"))
"""Hooks that a packet passes before it comes to the filters, whatever the priority."""
_BEHIND_US = frozenset(("postrouting", "egress"))
_OURS = 0
"""The priority of our filters at input, forward and output."""
_ORDER = ("ingress", "prerouting", "input", "forward", "output", "postrouting", "egress")
_XTABLES = frozenset(("filter", "nat", "mangle", "raw", "security"))
"""The tables that iptables-nft keeps, for all programs that use iptables."""


class Program(NamedTuple):
    """A program by the tables that it makes, as `family name` or the beginning of it, and its chains in others'.

    One that is a `guest` denies what is its own business, and goes well beside policy: that is only to be known.
    """

    name: str
    tables: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    next: str = ""
    guest: bool = False


PROGRAMS = (
    Program(
        "firewalld",
        tables=("inet firewalld", "ip firewalld", "ip6 firewalld"),
        next="let one of the two go: `systemctl disable --now firewalld`, or `hostfwctl disable --remove-rules`",
    ),
    Program("ufw", chains=("ufw-", "ufw6-"), next="`ufw disable` leaves the host to hostfw"),
    Program(
        "Docker",
        tables=("ip docker-bridges", "ip6 docker-bridges"),
        chains=("DOCKER",),
        next="policy cannot open what Docker closes: publish the port, or allow it in the chain DOCKER-USER",
        guest=True,
    ),
    Program(
        "libvirt",
        tables=("ip libvirt_network", "ip6 libvirt_network"),
        chains=("LIBVIRT_",),
        next="policy cannot open what libvirt closes: give guests a bridge or a routed network (`virsh net-edit`)",
        guest=True,
    ),
    Program(
        "fail2ban",
        tables=("inet f2b-", "ip f2b-", "ip6 f2b-"),
        chains=("f2b-",),
        next="nothing, if its bans are to apply in addition to policy; `fail2ban-client status` shows them",
        guest=True,
    ),
    Program(
        "kube-proxy",
        tables=("ip kube-proxy", "ip6 kube-proxy"),
        chains=("KUBE-",),
        next="nothing, if this is a Kubernetes node: policy cannot open what it closes",
        guest=True,
    ),
    Program(
        "Calico",
        tables=("ip calico", "ip6 calico"),
        chains=("cali-",),
        next="let Felix leave the host alone: two firewalls of the same policy do not share their failsafes",
    ),
    Program(
        "Tailscale",
        chains=("ts-",),
        next="nothing, if it is wanted; `tailscale set --netfilter-mode=off` ends it",
        guest=True,
    ),
    Program(
        "Podman",
        tables=("inet netavark",),
        chains=("NETAVARK",),
        next="policy cannot open what netavark closes: publish the port with `podman run -p`",
        guest=True,
    ),
    Program(
        "NetworkManager",
        tables=("ip nm-shared-", "inet nm-shared-"),
        next="nothing, if the shared connection is wanted",
        guest=True,
    ),
    Program(
        "CrowdSec",
        tables=("ip crowdsec", "ip6 crowdsec6"),
        next="nothing, if its bans are to apply in addition to policy",
        guest=True,
    ),
    Program("Foomuuri", tables=("inet foomuuri",), next="let one of the two go: `systemctl disable --now foomuuri`"),
    Program(
        "nftables.service",
        tables=("inet filter",),
        next="move its rules into policy, then `systemctl disable nftables` and `nft delete table inet filter`",
    ),
)

_IPTABLES = Program(
    "iptables",
    next="`iptables-save` and `ip6tables-save` show its rules; `systemctl disable --now netfilter-persistent` if it "
    "brings them back",
)


def conflicts(others: Iterable[OtherTable]) -> tuple[Finding, ...]:
    """A finding for each program that may deny a packet at a hook that ours pass too."""
    denying: dict[Program, list[tuple[OtherTable, BaseHook]]] = {}
    for table in others:
        for base, reached in _denying(table):
            for program in _programs(table, reached):
                denying.setdefault(program, []).append((table, base))
    return tuple(_finding(program, found) for program, found in denying.items())


def mark_setters(others: Iterable[OtherTable]) -> Iterator[Finding]:
    """A note for each table whose rules set all bits of the packet's mark: who else keeps a bit there loses it."""
    for table in others:
        chains = [chain for chain in table.chains if chain.sets_mark]
        if chains:
            names = ", ".join(f"{chain.name}{_at(chain.base)}" for chain in chains)
            yield Finding(
                Check.OTHER_TABLE,
                f"the table {table} sets the whole mark of packets, without a mask, in {names}: no verdict of hostfw "
                "depends on it, but every other program that keeps bits there loses them",
                f"`nft list table {table}` shows the rules; `meta mark set meta mark and MASK or BITS` leaves the rest",
                Weight.NOTE,
            )


def _at(base: BaseHook | None) -> str:
    return "" if base is None else f" ({base.hook}, {base.priority})"


def _denying(table: OtherTable) -> Iterator[tuple[BaseHook, tuple[OtherChain, ...]]]:
    """The base chains of a table that may deny, with the chains that they lead to."""
    by_name = {chain.name: chain for chain in table.chains}
    for chain in table.chains:
        if chain.base is None or chain.base.hook not in _ORDER or chain.base.type == "nat" or table.family == "bridge":
            continue
        reached = tuple(_reached(chain, by_name))
        if any(other.denies for other in reached):
            yield chain.base, reached


def _reached(chain: OtherChain, by_name: dict[str, OtherChain]) -> Iterator[OtherChain]:
    """A chain and all that it may lead to; a verdict map may lead to any of the table's regular chains."""
    seen: set[str] = set()
    waiting = [chain.name]
    while waiting:
        here = by_name.get(waiting.pop())
        if here is None or here.name in seen:
            continue
        seen.add(here.name)
        yield here
        anywhere = [other.name for other in by_name.values() if other.base is None]
        waiting += anywhere if here.leads_to is None else here.leads_to


def _programs(table: OtherTable, reached: Iterable[OtherChain]) -> tuple[Program, ...]:
    """The programs that deny in a base chain: by the table's name, or in a table of iptables by the chains."""
    title = str(table)
    named = tuple(program for program in PROGRAMS if any(_is_of(title, name) for name in program.tables))
    if named:
        return named
    if table.family not in ("ip", "ip6") or table.name not in _XTABLES:
        return (Program(f"the table {title}", next=f"`nft list table {title}` shows what it is for"),)
    base, *others = reached
    # What the base chain itself denies, as by its policy, is the doing of all who lead away from it.
    deciding = [chain.name for chain in others if chain.denies or base.denies]
    sharing = (program for program in PROGRAMS if program.chains)
    return tuple(p for p in sharing if any(name.startswith(p.chains) for name in deciding)) or (_IPTABLES,)


def _is_of(title: str, name: str) -> bool:
    return title.startswith(name) if name.endswith("-") else title == name or title.startswith(f"{name}_")


def _finding(program: Program, found: list[tuple[OtherTable, BaseHook]]) -> Finding:
    tables = list(dict.fromkeys(str(table) for table, _ in found))
    where = "" if tables[0] in program.name else f" ({', '.join(tables)})"
    before = _hooks(base for _, base in found if _is_before(base))
    behind = _hooks(base for _, base in found if not _is_before(base))
    effects = [f"what it denies at {before} never reaches policy"] if before else []
    effects += [f"what policy allows it may still deny at {behind}"] if behind else []
    return Finding(
        Check.OTHER_TABLE,
        f"{program.name}{where} denies packets as well: {', and '.join(effects)}",
        program.next,
        Weight.NOTE if program.guest else Weight.PROBLEM,
    )


def _is_before(base: BaseHook) -> bool:
    return base.hook in _BEFORE_US or (base.hook not in _BEHIND_US and base.priority < _OURS)


def _hooks(bases: Iterable[BaseHook]) -> str:
    """Hooks in the order of a packet's way, each with its priorities."""
    priorities: dict[str, set[int]] = {}
    for base in bases:
        priorities.setdefault(base.hook, set()).add(base.priority)
    return ", ".join(
        f"{hook} ({', '.join(map(str, sorted(priorities[hook])))})" for hook in _ORDER if hook in priorities
    )
