"""Names, labels and annotations, which every resource has, and selectors over labels."""

from dataclasses import dataclass
from datetime import datetime

from hostfw.model.positions import NOWHERE, Position
from hostfw.model.time.moments import moment_of

EXPIRES = "hostfw.io/expires"
"""The annotation with the moment (RFC 3339) from which a resource is as good as absent."""
REASON = "hostfw.io/reason"
"""The annotation that says why a resource is there."""
TICKET = "hostfw.io/ticket"
"""The annotation that names the ticket, change or issue that a resource belongs to."""

BEFORE_FAILSAFES = "hostfw.io/before-failsafes"
"""The annotation (`true`) of a policy that denies its peers the failsafe ports as well that are open to everybody."""
LOG = "hostfw.io/log"
"""The annotation of a rule, policy or profile whose denials leave no record (`UNRECORDED`); they are counted."""
UNRECORDED = "none"
"""The value of `LOG`."""

ENDPOINTS_FOR = "hostfw.io/endpoints-for"
"""The annotation of an endpoint that a bundle brought: selectors, a line each, for which no endpoint is missing."""

DOMAIN = "hostfw.io"
ANNOTATIONS = (EXPIRES, REASON, TICKET, BEFORE_FAILSAFES, LOG, ENDPOINTS_FOR)
"""The annotations of hostfw's own domain: each means something, and there are no others."""

Labels = tuple[tuple[str, str], ...]
"""Label keys and values, sorted by key."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Name, labels and annotations of a resource, and where its document begins.

    `namespace` is empty for the kinds that belong to none.
    """

    name: str
    labels: Labels = ()
    annotations: Labels = ()
    position: Position = NOWHERE
    namespace: str = ""

    @property
    def full_name(self) -> str:
        """The name that is unique within the kind: behind the namespace, `shop/office`, where there is one."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def expires(self) -> datetime | None:
        """The moment of the annotation `hostfw.io/expires`, None for what stays."""
        text = self.annotation(EXPIRES) if self.annotations else ""
        return moment_of(text.upper()) if text else None

    @property
    def unrecorded(self) -> bool:
        """True if the denials of the policy or profile leave no record."""
        return (LOG, UNRECORDED) in self.annotations

    def annotation(self, key: str) -> str:
        """The value of an annotation, empty where there is none."""
        # Most have none.
        return next((value for known, value in self.annotations if known == key), "") if self.annotations else ""


@dataclass(frozen=True, slots=True)
class SelectorText:
    """A selector as it is evaluated; `selector.parser` parses it. `position` is that of the value.

    `written` are `selector` and `namespaceSelector` of the manifest where the text is of both, or is limited to a
    namespace; None where the manifest has the very text.
    """

    text: str
    position: Position = NOWHERE
    written: tuple[str, str] | None = None

    @property
    def shown(self) -> str:
        """The selector as people know it."""
        return self.text if self.written is None else self.written[0]
