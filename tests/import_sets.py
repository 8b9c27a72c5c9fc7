"""Rule sets of other firewalls, as people publish them, each for another way to write, and their readings."""

import re
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

from hostfw.importer.firewalld.reader import read_firewalld
from hostfw.importer.iptables.save import read_iptables
from hostfw.importer.iptables.ufw import read_ufw
from hostfw.importer.nft.reader import read_nft
from hostfw.importer.reading import PROGRAMS, Reading
from hostfw.importer.rule_set import Continue, ForeignRule, ForeignRules, Hook, Jump, Return, Verdict
from hostfw.model.packets.packet import Packet
from hostfw.model.sources import Source
from hostfw.model.values import Family

HERE = Path(__file__).parent / "import"
_V4 = sorted((*HERE.glob("pairs/*.v4"), *HERE.glob("iptables/*.v4")))
UFW_SETS = {path.stem: path for path in sorted(HERE.glob("ufw/*.ufw"))}
"""Commands that people type for ufw, and changes of its files; beside each is what it has in its files then."""
FIREWALLD_SETS = {path.stem: path for path in sorted(HERE.glob("firewalld/*.txt"))}
SETS: Mapping[str, Path] = {
    **{f"iptables-{path.stem}": path for path in _V4},
    **{f"nft-{path.stem}": path for path in sorted(HERE.glob("nft/*.json"))},
    **{f"firewalld-{name}": path for name, path in FIREWALLD_SETS.items()},
    **{f"ufw-{name}": path for name, path in UFW_SETS.items()},
}
"""The sets by name: pairs of iptables-save, listings of nft 1.0.6, files of firewalld and of ufw in one file each."""


def readings(path: Path) -> tuple[Reading, ...]:
    """The readings of a set."""
    match path.suffix:
        case ".v4":
            sides = ((Family.V4, path), (Family.V6, path.with_suffix(".v6")))
            return read_iptables([(family, [Source(side.name, side.read_text())]) for family, side in sides])
        case ".json":
            return read_nft(Source(path.name, path.read_text()))
        case ".ufw":
            return read_ufw({**sections(path.with_name("shipped")), **sections(path.with_suffix(".txt"))})
        case _:
            return read_firewalld({**sections(path.with_name("shipped")), **sections(path)})


def ufw_sections(path: Path) -> Iterator[tuple[str, str]]:
    """The parts of a set of ufw: what to do and its text; `commands` may stand first without a line for them."""
    first, *parts = re.split(r"^== (.+)\n", path.read_text(), flags=re.MULTILINE)
    if parts[::2].count("commands") == 0:
        parts += ["commands", first]
    return zip(parts[::2], parts[1::2], strict=True)


def with_section(what: str, before: str, text: str) -> str:
    """A file of ufw with a text `before` it, `behind` it, `within` its filter rules, or with other settings."""
    match what:
        case "before":
            return text + before
        case "behind":
            return before + text
        case "within":
            begin, commit, end = before.rpartition("COMMIT")
            return begin + text + commit + end
        case "setting":
            name, _, value = text.strip().partition("=")
            return re.sub(rf"^{name}=.*$", f"{name}={value}", before, flags=re.MULTILINE)
        case _:
            return text


def kept_files(files: Mapping[str, Source]) -> str:
    """The files of a running ufw that are not as it ships them, without comments, as one file."""
    shipped = sections(HERE / "ufw/shipped")
    bare = {name: "".join(_rules_alone(source.text)) for name, source in files.items()}
    return "".join(f"== {name}\n{text}" for name, text in bare.items() if text != shipped[name].text)


def _rules_alone(text: str) -> Iterator[str]:
    return (f"{line.rstrip()}\n" for line in text.split("\n") if line.strip() and not line.startswith("#"))


def sections(path: Path) -> dict[str, Source]:
    """The files that one file holds, each behind a line with its name."""
    parts = re.split(r"^== (.+)\n", path.read_text(), flags=re.MULTILINE)[1:]
    return {name: Source(name, text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def met(rules: ForeignRules, hook: Hook, packet: Packet, into: str, out: str) -> Iterator[ForeignRule]:
    """The rules that a packet matches until one decides, those that policy cannot say among them."""
    for stage in rules.stages.get(hook, ()):
        walked = _walked(rules, stage.chain, packet, into, out)
        try:
            while True:
                yield next(walked)
        except StopIteration as ended:
            if (ended.value or stage.end) is Verdict.DENY:
                return


def _walked(
    rules: ForeignRules, chain: str, packet: Packet, into: str, out: str
) -> Generator[ForeignRule, None, Verdict | None]:
    for rule in rules.chains.get(chain, ()):
        if not rule.condition.matches(packet, into, out):
            continue
        yield rule
        if rule.unsaid:
            continue
        match rule.target:
            case Verdict():
                return rule.target
            case Return():
                return None
            case Jump(chain=name, goto=goto):
                found = yield from _walked(rules, name, packet, into, out)
                if found is not None or goto:
                    return found
            case Continue():
                pass
    return None


def may_decide(rule: ForeignRule) -> bool:
    """True for a rule that policy cannot say, or says with other figures, or that leads to another program's chains."""
    leads = any(f"{option} {program}" in rule.text for option in ("-j", "-g", "jump", "goto") for program in PROGRAMS)
    return bool(rule.unsaid or rule.note or leads)
