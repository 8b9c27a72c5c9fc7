"""What a command line says, as one value, whatever the verb."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Output(StrEnum):
    """A form of the data of a verb."""

    TEXT = "text"
    TABLE = "table"
    WIDE = "wide"
    YAML = "yaml"
    JSON = "json"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Options:
    """Every option of every verb; a verb looks at its own. `files` empty means the configuration directory."""

    verb: str
    config_dir: Path
    state_dir: Path
    run_dir: Path
    colour: str = "auto"
    verbosity: int = 0
    files: tuple[Path, ...] = ()
    facts: Path | None = None
    output: Output = Output.TEXT
    annotate: bool = False
    nft: bool = False
    kind: str = ""
    name: str | None = None
