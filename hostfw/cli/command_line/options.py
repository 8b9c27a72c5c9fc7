"""The parsed command line as one value, whatever the verb."""

from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hostfw.model.values import Cidr

if TYPE_CHECKING:
    # A verb of bundles alone has any.
    from hostfw.bundle.manifest import Wave


class Output(StrEnum):
    """A form of the data of a verb."""

    TEXT = "text"
    TABLE = "table"
    WIDE = "wide"
    YAML = "yaml"
    JSON = "json"
    NAME = "name"
    MARKDOWN = "markdown"
    HTML = "html"


class Options(NamedTuple):
    """Every option of every verb; a verb looks at its own. `files` empty means the configuration directory."""

    verb: str
    config_dir: Path
    state_dir: Path
    run_dir: Path
    colour: str = "auto"
    verbosity: int = 0
    files: tuple[Path, ...] = ()
    feeds_anywhere: bool = False
    facts: Path | None = None
    output: Output = Output.TEXT
    annotate: bool = False
    nft: bool = False
    confirm_within_s: int | None = None
    console: bool = False
    to: int | None = None
    if_pending: str | None = None
    accept_shrink: bool = False
    accept_lockout: bool = False
    accept_loss: bool = False
    add: bool = False
    replace: bool = False
    source: str = ""
    destination: str = ""
    in_interface: str | None = None
    out_interface: str | None = None
    source_port: int | None = None
    mac: str | None = None
    ipsec: bool = False
    answer: bool = False
    no_way_back: bool = False
    over_limit: bool = False
    icmp: str | None = None
    state: str = "new"
    selector: str = ""
    labels: tuple[str, ...] = ()
    kind: str = ""
    name: str | None = None
    follow: bool = False
    since: timedelta | datetime | None = None
    for_s: int | None = None
    most: int | None = None
    policy: str | None = None
    source_net: Cidr | None = None
    destination_net: Cidr | None = None
    reason: str | None = None
    top: bool = False
    rate_s: int | None = None
    all: bool = False
    remove_rules: bool = False
    shell: str = ""
    words: tuple[str, ...] = ()
    why: str = ""
    ticket: str = ""
    dry_run: bool = False
    cut: bool = False
    keeps_failsafes: bool | None = None
    if_until: str | None = None
    write: bool = False
    layout: bool = False
    ipv4: Path | None = None
    ipv6: Path | None = None
    listing: Path | None = None
    root: Path = Path("/")
    fleet: Path = Path()
    against: Path | None = None
    tests: tuple[Path, ...] = ()
    reach: tuple[str, ...] = ()
    scripts: Path | None = None
    archive: Path | None = None
    key: Path | None = None
    number: int | None = None
    created: datetime | None = None
    bundle_name: str | None = None
    waves: "tuple[Wave, ...]" = ()
    most_failed: int | None = None
    least_confirmed: int = 1
    records: Path | None = None
    separate_endpoints: bool = False
    all_endpoints: bool = False
    signers: Path = Path()
    ring: str | None = None
    confirm_by: str = ""
    tally: str = ""
    most_bytes: int = 0
    retry: bool = False
    now: bool = False
