"""The forms of names: resources, labels, ports, interfaces. All are Calico's, which took most from Kubernetes."""

import re
from functools import lru_cache
from typing import NamedTuple

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_WORD = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"


class NameForm(NamedTuple):
    """A form of names: a regular expression, the most characters, and the words that describe it in messages.

    Most forms are needed for few configurations, and an expression takes 0.2 ms to compile: that waits for a name.
    """

    expression: str
    limit: int
    expected: str

    def fits(self, name: str) -> bool:
        """True if a name has the form."""
        return len(name) <= self.limit and re.match(self.expression, name) is not None

    @property
    def pattern(self) -> re.Pattern[str]:
        """The compiled expression."""
        return re.compile(self.expression)


SUBDOMAIN = NameForm(
    rf"{_LABEL}(?:\.{_LABEL})*\Z",
    253,
    "up to 253 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
)
NODE_NAME = NameForm(
    rf"(?:\*|{_LABEL}(?:\.{_LABEL})*)\Z", 253, f"'*' for every host that reads it, or {SUBDOMAIN.expected}"
)
POLICY_NAME = NameForm(
    rf"{_LABEL}(?:\.{_LABEL})?\Z",
    253,
    "up to 253 lower-case letters, digits, '-' and at most one '.', beginning and ending with a letter or digit",
)
NETWORK_POLICY_NAME = NameForm(
    rf"(?:{_LABEL}(?:\.{_LABEL})?|(?:knp|ossg)\.default(?:\.{_LABEL})+)\Z", 253, POLICY_NAME.expected
)
"""Names that Calico gives to policies of Kubernetes and OpenStack have more dots."""
TIER_NAME = NameForm(
    rf"{_LABEL}\Z",
    63,
    "up to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
)
NAMESPACE_NAME = TIER_NAME
INTERFACE_NAME = NameForm(
    r"(?!\.{1,2}$)(?:\*|[A-Za-z0-9_.-]+)\Z",
    15,
    "'*', or up to 15 letters, digits, '_', '.' and '-', taken literally",
)
ONE_INTERFACE_NAME = NameForm(
    r"(?!\.{1,2}$)[A-Za-z0-9_.-]+\Z", 15, "up to 15 letters, digits, '_', '.' and '-', taken literally"
)
INTERFACE_PATTERN = NameForm(
    r"(?:[A-Za-z0-9_.-]+|[A-Za-z0-9_.-]+\*)\Z",
    15,
    "up to 15 letters, digits, '_', '.' and '-', or the beginning of a name with '*' behind it",
)
ENDPOINT_PORT_NAME = NameForm(
    r"(?!.*--)(?=.*[a-z])[a-z0-9](?:[-a-z0-9]*[a-z0-9])?\Z",
    15,
    "up to 15 lower-case letters, digits and single '-', with at least one letter",
)
LABEL_VALUE = NameForm(
    rf"(?:{_WORD})?\Z",
    63,
    "up to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
)

LABEL_KEY_EXPECTED = f"a name of {LABEL_VALUE.expected}, after an optional DNS domain and '/'"
_LABEL_NAME = NameForm(rf"{_WORD}\Z", 63, LABEL_VALUE.expected)


@lru_cache(maxsize=512)
def is_label_key(key: str) -> bool:
    """True if a text is a Kubernetes qualified name, the form of label and annotation keys."""
    domain, slash, name = key.rpartition("/")
    if slash and not SUBDOMAIN.fits(domain):
        return False
    return _LABEL_NAME.fits(name)
