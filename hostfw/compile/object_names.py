"""The names of everything in the ruleset: readable in `nft list table`, stable, and within nft's 255 bytes.

Names hold letters, digits, `/`, `.`, `-` and `_` only. Resource names hold no `_`, so a shortened one cannot be taken
for another (`audit.prefix.shorten`).
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from hostfw.audit.log_prefix import LogTag, shorten
from hostfw.model.kinds.feed_sources import EXTERNAL_SIZE
from hostfw.model.packets.decisions import Reason
from hostfw.model.plan import ExternalSet, RuleIdentity
from hostfw.model.settings import FailsafePort
from hostfw.model.values import Direction, TableFamily
from hostfw.nft.object_text import elements_digest, purpose_digest, rules_digest
from hostfw.nft.objects import EXTERNAL, EXTERNAL_NETS, LINKS, Chain, Set, VerdictMap
from hostfw.nft.rule_text import elements_text
from hostfw.nft.rules import Rule

_MAX_NAME = 120
_KINDS = {
    "ClusterNetworkPolicy": "cnp",
    "GlobalNetworkPolicy": "gnp",
    "KubernetesNetworkPolicy": "knp",
    "NetworkPolicy": "np",
    "Profile": "profile",
    "StagedGlobalNetworkPolicy": "staged",
    "StagedNetworkPolicy": "staged-np",
}
_UNSAFE = re.compile(r"[^A-Za-z0-9/._-]")


def rule_counter(identity: RuleIdentity) -> str:
    """The counter of a policy rule: by what the rule is, not by where it stands, so that it outlives edits nearby."""
    parts = (_KINDS[identity.kind], identity.tier, shorten(identity.policy, _MAX_NAME, "_"), identity.direction.short)
    number = f".{identity.number}" if identity.number else ""
    return "/".join(part for part in (*parts, identity.digest) if part) + number


def limit_counter(identity: RuleIdentity, reason: Reason) -> str:
    """The counter of what the limit of a policy rule denies, by the reason."""
    return f"{rule_counter(identity)}/{reason}"


def failsafe_counter(port: FailsafePort, direction: Direction, *, place: str = "", reply: bool = False) -> str:
    """The counter of a failsafe port: `place` tells the hooks apart that a packet may pass one after the other."""
    net = f"/{_plain(str(port.net))}" if port.net else ""
    where = "/".join(part for part in ("failsafe", place, direction.short, "reply" if reply else "") if part)
    return f"{where}/{_plain(str(port.protocol)).lower()}/{port.port}{net}"


def drop_counter(tag: LogTag) -> str:
    """The counter of a drop that no policy rule decided: by direction, reason and tier."""
    tier = f"/{tag.tier}" if tag.tier else ""
    return f"drop/{tag.direction.short}/{tag.reason}{tier}"


def chain(purpose: str, rules: Iterable[Rule], family: TableFamily) -> Chain:
    """A chain named after its purpose and the digest of its content."""
    content = tuple(rules)
    return Chain(f"{_plain(purpose)}.{rules_digest(content, family)}", content)


def nft_rules(name: str, rules: Iterable[Rule], family: TableFamily) -> Chain:
    """The chain of NftRules of a name."""
    return chain(f"nft/{shorten(name, _MAX_NAME, '_')}", rules, family)


def named_set(contents: Set, family: TableFamily) -> Set:
    """The set under its final name: the purpose that it is called now, and the digest of its content."""
    name = f"{_plain(contents.name)}.{elements_digest(contents, family)}"
    return Set(name, contents.type, contents.elements, contents.interval, contents.comment)


def set_edited_in_place(contents: Set, selector: str, family: TableFamily) -> Set:
    """A set whose content is edited in place: its name carries the digest of what it is for."""
    unnamed = replace(contents, edited_in_place=True)
    return replace(unnamed, name=f"{_plain(contents.name)}.{purpose_digest(unnamed, selector, family)}")


def named_map(purpose: str, contents: VerdictMap, family: TableFamily, before: VerdictMap | None = None) -> VerdictMap:
    """The map under its final name: the purpose and the digest of its content.

    What it has in common with a map of before of its type is not written again.
    """
    written = replace(contents, text=elements_text(contents, family, before))
    return replace(written, name=f"{_plain(purpose)}.{elements_digest(written, family)}")


def signed(rules: Iterable[Rule], family: TableFamily) -> tuple[Rule, ...]:
    """The rules of a base chain, the last with the digest of them all as its comment."""
    content = tuple(rules)
    if not content:
        return content
    last = content[-1]
    return (*content[:-1], Rule(last.matches, last.statements, rules_digest(content, family)))


def external_sets(external: ExternalSet) -> tuple[str, str]:
    """The sets of addresses and of prefixes of an external set, in either table.

    Other programs name them, so they stay the same for as long as size and timeout do, and say these only where they
    are not the default.
    """
    size = f"/{external.size}" if external.size != EXTERNAL_SIZE else ""
    timeout = f"/{external.timeout_s}s" if external.timeout_s is not None else ""
    hosts, nets = (_plain(f"{purpose}{external.name}{size}{timeout}") for purpose in (EXTERNAL, EXTERNAL_NETS))
    return hosts, nets


def governed_links(endpoint: str = "") -> str:
    """The set of the indices of the interfaces that a HostEndpoint governs, or that any does."""
    return f"{LINKS}/{_plain(endpoint)}" if endpoint else LINKS


def set_comment(text: str) -> str:
    """Text fit for an nft comment: one line, no quotes, at most 120 bytes."""
    plain = re.sub(r"[^ -~]|[\\]", "?", text).replace('"', "'")
    return plain if len(plain) <= _MAX_NAME else f"{plain[: _MAX_NAME - 3]}..."


def _plain(text: str) -> str:
    return shorten(_UNSAFE.sub("-", text), _MAX_NAME, "_")
