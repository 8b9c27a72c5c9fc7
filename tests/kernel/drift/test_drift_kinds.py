"""Changes of our tables that no packet meets, or meets only later: another comment, a limit, a counter, an interface.

Status says of each what differs, the next apply puts it right, and so does the service that hears of it.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import Failed
from hostfw.host.store.configuration.files import read_configuration
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, run
from lab.service import Service, service
from tests.kernel.drift.test_drift import WITH_MAPS, map_and_set, nft
from tests.kernel.drift.test_every_change import lasting

_PATIENCE_S = 30


def _listed(node: Namespace) -> str:
    return run(node, ["nft", "-s", "list", "table", "ip", "hostfw"]).stdout


def _commented(chain: str, number: int) -> Callable[[Namespace], str]:
    """One rule of a chain replaced by the same rule with another comment."""

    def script(node: Namespace) -> str:
        name = next(name for name in re.findall(r"chain (\S+) \{", _listed(node)) if re.fullmatch(chain, name))
        rules = run(node, ["nft", "-a", "-s", "list", "chain", "ip", "hostfw", name]).stdout
        text, handle = re.findall(r"^\t\t(.*) # handle (\d+)$", rules, re.MULTILINE)[number]
        bare = re.sub(r' comment ".*"', "", text)
        return f'replace rule ip hostfw {name} handle {handle} {bare} comment "theirs"'

    return script


def _redeclared(old: str, new: str) -> Callable[[Namespace], str]:
    """A set that rules fill, declared again as it is but for one thing, which the kernel takes (6.18)."""

    def script(node: Namespace) -> str:
        found = re.findall(r"\tset (\S+) \{\n((?:\t\t.*\n)*?)\t\}", _listed(node))
        name, lines = next((name, lines) for name, lines in found if "dynamic,timeout" in lines and old in lines)
        spec = "; ".join(line.strip() for line in lines.splitlines() if not line.startswith(("\t\telements", "\t\t\t")))
        return f"add set ip hostfw {name} {{ {spec.replace(old, new)}; }}"

    return script


def _anew(kind: str, old: str, new: str) -> Callable[[Namespace], str]:
    """The table made again as it is, but for one thing of the map or the set."""

    def script(node: Namespace) -> str:
        name = map_and_set(node)[kind == "set"]
        head, title, rest = _listed(node).partition(f"{kind} {name} {{\n")
        assert old in rest
        return f"delete table ip hostfw\n{head}{title}{rest.replace(old, new, 1)}"

    return script


def _commented_object(title: str) -> Callable[[Namespace], str]:
    """The table made again as it is, but for a comment of itself or of a chain."""

    def script(node: Namespace) -> str:
        head, found, rest = re.split(rf"({title} \{{\n)", _listed(node), maxsplit=1)
        return f'delete table ip hostfw\n{head}{found}comment "theirs"\n{rest}'

    return script


def _element(of: str, key: str, spec: str) -> Callable[[Namespace], str]:
    def script(node: Namespace) -> str:
        name = map_and_set(node)[of == "set"]
        return f"delete element ip hostfw {name} {{ {key} }}\nadd element ip hostfw {name} {{ {spec} }}"

    return script


def _links(change: str) -> Callable[[Namespace], str]:
    """All sets of interfaces changed alike, so that none contradicts another."""

    def script(node: Namespace) -> str:
        names = re.findall(r"\tset (links\S*) \{", _listed(node))
        assert names
        return "".join(change.format(set=f"{family} hostfw {name}") for family in ("ip", "ip6") for name in names)

    return script


KINDS: dict[str, tuple[Callable[[Namespace], str], str]] = {
    "the comment that names a generation": (_commented("input", -1), "chain input was changed"),
    "a comment on a rule of a base chain": (_commented("input", 0), "chain input was changed"),
    "a comment on a rule": (_commented("in/uplink.*", 0), "chain in/uplink"),
    "a rule behind the last": (
        lambda _: "add rule ip hostfw input accept",
        "1 rule behind the last one of chain input",
    ),
    "rules behind the last": (lambda _: "add rule ip6 hostfw output drop\n" * 2, "2 rules behind the last one of"),
    "a counter": (lambda _: "add counter ip hostfw theirs", "1 counter was added by another program: theirs"),
    "a time to clear": (_redeclared("timeout 1m", "timeout 1m; gc-interval 1h"), "declared otherwise"),
    "another time": (_redeclared("timeout 1m", "timeout 2s"), "declared otherwise"),
    "another size": (_redeclared("size 16384", "size 7"), "declared otherwise"),
    "another comment of a set": (_anew("set", "has(trusted)", "theirs"), "declared otherwise"),
    "a comment of a map": (_anew("map", "type", 'comment "theirs"\n\t\ttype'), "declared otherwise"),
    "a comment of the table": (_commented_object("table ip hostfw"), "table ip hostfw: a comment was added"),
    "a comment of a base chain": (_commented_object("chain input"), "a comment was added to chain input"),
    "a comment of a chain": (_commented_object(r"chain in/uplink\S*"), "a comment was added to chain in/uplink"),
    "a statement for elements": (_anew("set", "type", "counter\n\t\ttype"), "declared otherwise"),
    "a comment of an element": (_element("set", "203.0.113.1", '203.0.113.1 comment "theirs"'), "the elements of"),
    "a comment of an entry": (_element("map", "192.0.2.0", '192.0.2.0 comment "theirs" : drop'), "the elements of"),
    "no interfaces": (_links("flush set {set}\n"), "the elements of links"),
    "an interface more": (_links("add element {set} {{ 77 }}\n"), "the elements of links"),
}


def _drift(engine: Engine) -> str:
    found = engine.drift()
    assert not isinstance(found, Failed)
    return "\n".join(found)


@pytest.mark.timeout(300)
def test_each_is_reported_and_put_right(lab: Lab, installation: Installation) -> None:
    """By status, and by an apply that changes nothing else."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    engine = Engine(Directories(installation.config, installation.state, installation.run))
    unseen, unrepaired = [], []
    with inside(host):
        applied = engine.apply(check_candidate(*read_configuration(installation.config)))
        assert isinstance(applied, Applied), applied
        assert _drift(engine) == ""
    before = lasting(host)
    for kind, (script, words) in KINDS.items():
        nft(host, script(host))
        assert lasting(host) != before, kind
        with inside(host):
            if words not in (said := _drift(engine)):
                unseen.append((kind, said))
            applied = engine.apply(check_candidate(*read_configuration(installation.config)))
            if not isinstance(applied, Applied) or lasting(host) != before or _drift(engine):
                unrepaired.append((kind, applied if not isinstance(applied, Applied) else _drift(engine)))
    assert (unseen, unrepaired) == ([], [])


@pytest.fixture(name="running")
def _running(installation: Installation, tmp_path: Path) -> Iterator[Service]:
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    with service(installation, tmp_path / "log") as running:
        yield running


_TOGETHER = (
    (
        "the comment that names a generation",
        "a comment on a rule of a base chain",
        "a comment on a rule",
        "rules behind the last",
        "a time to clear",
        "a comment of an element",
        "an interface more",
    ),
    ("a counter",),
    ("another size", "no interfaces"),
    ("another comment of a set",),
    ("a comment of a chain",),
)
"""Each in a transaction of its own: more than five repairs within a minute are held back."""


@pytest.mark.timeout(300)
def test_the_service_puts_each_right(lab: Lab, installation: Installation, running: Service) -> None:
    """And says so once, without a failure on the way."""
    host = lab["host"]
    engine = Engine(Directories(installation.config, installation.state, installation.run))
    before = lasting(host)
    for number, kinds in enumerate(_TOGETHER, 1):
        nft(host, "\n".join(KINDS[kind][0](host) for kind in kinds))
        deadline = monotonic() + _PATIENCE_S
        while len(running.told("restored")) < number or lasting(host) != before:
            assert monotonic() < deadline, f"{kinds}: {running.log.read_text()[-3000:]}"
            sleep(0.05)
        with inside(host):
            assert _drift(engine) == "", kinds
    assert not running.told("could not be restored")
    assert len(running.told("restored")) == len(_TOGETHER)
