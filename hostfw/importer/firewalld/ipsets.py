"""ipsets of firewalld (firewalld.ipset(5)) as sets of nftables."""

from hostfw.importer.firewalld.xml import Element
from hostfw.importer.nft.text import Json
from hostfw.importer.nft.values import NamedSet
from hostfw.model.values import parse_cidr

_KNOWN = frozenset({"short", "description", "option", "entry"})


class IpSet:
    """An ipset: its parts, its family, and its content as a set."""

    def __init__(self, element: Element) -> None:
        """Read the set that an element describes."""
        self.position = element.position
        self.parts = tuple(element.get("type").partition(":")[2].split(","))
        options = {option.get("name"): option.get("value") for option in element.all("option")}
        self.family = "ip6" if options.get("family") == "inet6" else "ip"
        entries = [entry.text.strip() for entry in element.all("entry")]
        unknown = [child.name for child in element.children if child.name not in _KNOWN]
        why = ""
        if unknown:
            why = f"which has <{unknown[0]}>"
        elif options.get("timeout", "0") != "0":
            why = "whose elements expire"
        elif not set(self.parts) <= {"ip", "net", "port", "mac", "iface", "mark"}:
            why = f"of the type {element.get('type')}"
        self.content = NamedSet(tuple(self._element(entry) for entry in entries), why)

    @property
    def is_empty(self) -> bool:
        """True if nothing is in it."""
        return not self.content.elements

    def match(self, side: str, op: str) -> dict[str, Json]:
        """The left side and operator of a match of the set, without the set."""
        keys: list[Json] = []
        for part in self.parts:
            match part:
                case "port":
                    keys.append({"meta": {"key": "l4proto"}})
                    keys.append({"payload": {"protocol": "th", "field": "dport" if side == "daddr" else "sport"}})
                case "iface":
                    keys.append({"meta": {"key": "iifname" if side == "daddr" else "oifname"}})
                case "mark":
                    keys.append({"meta": {"key": "mark"}})
                case "mac":
                    keys.append({"payload": {"protocol": "ether", "field": side}})
                case _:
                    keys.append({"payload": {"protocol": self.family, "field": side}})
        left: Json = {"concat": keys} if len(keys) > 1 else keys[0]
        return {"op": op, "left": left}

    def _element(self, entry: str) -> Json:
        found: list[Json] = []
        for part, text in zip(self.parts, entry.split(","), strict=False):
            if part == "port":
                protocol, colon, ports = text.partition(":")
                first, dash, last = (ports if colon else text).partition("-")
                if not first.isdecimal() or (dash and not last.isdecimal()):
                    return entry
                found.append(protocol if colon else "tcp")
                found.append({"range": [int(first), int(last)]} if dash else int(first))
            elif part in ("ip", "net") and "/" in text and (cidr := parse_cidr(text)) is not None:
                found.append({"prefix": {"addr": text.partition("/")[0], "len": cidr.length}})
            elif part in ("ip", "net") and "-" in text:
                found.append({"range": [*text.split("-")]})
            else:
                found.append(text)
        return {"concat": found} if len(found) > 1 else found[0]
