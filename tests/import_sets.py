"""Rule sets of other firewalls, as people publish them, each for another way to write, and their readings."""

import re
from collections.abc import Mapping
from pathlib import Path

from hostfw.importer.firewalld.reader import read_firewalld
from hostfw.importer.iptables_save import read_iptables
from hostfw.importer.nft.reader import read_nft
from hostfw.importer.reading import Reading
from hostfw.model.sources import Source
from hostfw.model.values import Family

HERE = Path(__file__).parent / "import"
_V4 = sorted((*HERE.glob("*.v4"), *HERE.glob("iptables/*.v4")))
SETS: Mapping[str, Path] = {
    **{f"iptables-{path.stem}": path for path in _V4},
    **{f"nft-{path.stem}": path for path in sorted(HERE.glob("nft/*.json"))},
    **{f"firewalld-{path.stem}": path for path in sorted(HERE.glob("firewalld/*.txt"))},
}
"""The sets by their names: pairs of iptables-save, listings of nft 1.0.6, and files of firewalld in one file each."""


def readings(path: Path) -> tuple[Reading, ...]:
    """The readings of a set."""
    match path.suffix:
        case ".v4":
            sides = ((Family.V4, path), (Family.V6, path.with_suffix(".v6")))
            return read_iptables([(family, [Source(side.name, side.read_text())]) for family, side in sides])
        case ".json":
            return read_nft(Source(path.name, path.read_text()))
        case _:
            return read_firewalld({**_files(path.with_name("shipped")), **_files(path)})


def _files(path: Path) -> dict[str, Source]:
    """The files that one file holds, each behind a line with its name."""
    parts = re.split(r"^== (.+)\n", path.read_text(), flags=re.MULTILINE)[1:]
    return {name: Source(name, text) for name, text in zip(parts[::2], parts[1::2], strict=True)}
