"""A page of help: what `hostfwctl VERB --help` and the manual say of a verb beside its arguments."""

from typing import NamedTuple


class Page(NamedTuple):
    """What a verb does at length, what to type, and what its exit status means."""

    description: str
    examples: str
    exits: str

    @property
    def epilog(self) -> str:
        """What follows the options in the help."""
        return f"examples:\n{_indented(self.examples)}\n\nexit status:\n{_indented(self.exits)}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip().splitlines())
