"""The forms of names: resources, labels, ports, interfaces. All are Calico's, which took most from Kubernetes."""

import re
from dataclasses import dataclass
from functools import lru_cache

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_WORD = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"


@dataclass(frozen=True, slots=True)
class NameForm:
    """A form of names: a pattern, the characters it may have, and the words that describe it in messages."""

    pattern: re.Pattern[str]
    limit: int
    expected: str

    def fits(self, name: str) -> bool:
        """True if a name has the form."""
        return len(name) <= self.limit and self.pattern.match(name) is not None


SUBDOMAIN = NameForm(
    re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z"),
    253,
    "up to 253 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
)
NODE_NAME = NameForm(
    re.compile(rf"(?:\*|{_LABEL}(?:\.{_LABEL})*)\Z"), 253, f"'*' for every host that reads it, or {SUBDOMAIN.expected}"
)
POLICY_NAME = NameForm(
    re.compile(rf"{_LABEL}(?:\.{_LABEL})?\Z"),
    253,
    "up to 253 lower-case letters, digits, '-' and at most one '.', beginning and ending with a letter or digit",
)
NETWORK_POLICY_NAME = NameForm(
    re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})?|(?:knp|ossg)\.default(?:\.{_LABEL})+)\Z"), 253, POLICY_NAME.expected
)
"""Names that Calico gives to policies of Kubernetes and OpenStack have more dots."""
TIER_NAME = NameForm(
    re.compile(rf"{_LABEL}\Z"),
    63,
    "up to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
)
NAMESPACE_NAME = TIER_NAME
INTERFACE_NAME = NameForm(
    re.compile(r"(?!\.{1,2}$)(?:\*|[A-Za-z0-9_.-]+)\Z"),
    15,
    "'*', or up to 15 letters, digits, '_', '.' and '-', taken literally",
)
ONE_INTERFACE_NAME = NameForm(
    re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]+\Z"), 15, "up to 15 letters, digits, '_', '.' and '-', taken literally"
)
INTERFACE_PATTERN = NameForm(
    re.compile(r"(?:[A-Za-z0-9_.-]+|[A-Za-z0-9_.-]+\*)\Z"),
    15,
    "up to 15 letters, digits, '_', '.' and '-', or the beginning of a name with '*' behind it",
)
ENDPOINT_PORT_NAME = NameForm(
    re.compile(r"(?!.*--)(?=.*[a-z])[a-z0-9](?:[-a-z0-9]*[a-z0-9])?\Z"),
    15,
    "up to 15 lower-case letters, digits and single '-', with at least one letter",
)
LABEL_VALUE = NameForm(
    re.compile(rf"(?:{_WORD})?\Z"),
    63,
    "up to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
)

LABEL_KEY_EXPECTED = f"a name of {LABEL_VALUE.expected}, after an optional DNS domain and '/'"
_LABEL_NAME = re.compile(rf"{_WORD}\Z")
_LABEL_NAME_LIMIT = 63


@lru_cache(maxsize=4096)
def is_label_key(key: str) -> bool:
    """True if a text is a Kubernetes qualified name, the form of label and annotation keys."""
    domain, slash, name = key.rpartition("/")
    if slash and not SUBDOMAIN.fits(domain):
        return False
    return len(name) <= _LABEL_NAME_LIMIT and _LABEL_NAME.match(name) is not None
