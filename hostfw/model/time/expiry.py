"""Expired resources, as values."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class Expired:
    """A resource that has expired: its kind, its name, and its moment.

    The same resource with another moment has not.
    """

    kind: str
    name: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"
