"""Addresses that go out of sets whose elements have a time, and that come into them, in nft's words."""

from dataclasses import dataclass

from hostfw.model.values import Family, address_text
from hostfw.nft.objects import TABLE

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class TimedEdit:
    """An edit of one set of addresses: those that go, then those that come with the seconds that each stays.

    Without seconds an address stays for as long as the set says.
    """

    family: Family
    set_name: str
    gone: tuple[int, ...] = ()
    new: tuple[tuple[int, int | None], ...] = ()

    def __str__(self) -> str:
        """The commands of nft."""
        gone = [address_text(self.family, address) for address in self.gone]
        new = [timed(address_text(self.family, address), seconds) for address, seconds in self.new]
        return "".join(
            f"{verb} element {self.family.nft} {TABLE} {self.set_name} {{ {', '.join(texts)} }}\n"
            for verb, texts in (("delete", gone), ("add", new))
            if texts
        )


def timed(element: str, seconds: int | None) -> str:
    """An element with its time, of which nft takes no more than eight digits of seconds."""
    if seconds is None:
        return element
    days, rest = divmod(seconds, _DAY_S)
    return f"{element} timeout {days}d{rest}s" if days else f"{element} timeout {rest}s"


def seconds_of(left_s: float) -> int:
    """The whole seconds that an element is given: at least one, since none would mean for ever."""
    return max(round(left_s), 1)
