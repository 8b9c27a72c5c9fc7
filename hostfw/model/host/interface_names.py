"""Names of interfaces: what nftables can match of what the kernel takes."""

WILDCARD_END = "*"
"""The end of a pattern that stands for every name which begins with the rest, as in nftables."""


def fits(pattern: str, interface: str) -> bool:
    """True if an interface has the name of a pattern, or one that begins as it says."""
    if pattern.endswith(WILDCARD_END):
        return interface.startswith(pattern[:-1])
    return interface == pattern


def covers(wider: str, pattern: str) -> bool:
    """True if every interface that has the name of a pattern has that of another one as well."""
    return wider == pattern or (wider.endswith(WILDCARD_END) and pattern.startswith(wider[:-1]))


def is_safe_name(interface: str) -> bool:
    """True if an interface name means itself, and itself alone, as a quoted string of nftables.

    The kernel takes nearly any byte. Between double quotes nft 1.0.6 takes printable ASCII as it stands, apart from
    the double quote itself, the backslash (an escape before `*`), and a `*` at the end (any name that begins so).
    """
    return (
        bool(interface)
        and all("!" <= character <= "~" and character not in '"\\' for character in interface)
        and not interface.endswith("*")
    )
