"""Imports of rule sets as people publish them: the kernel decides by them as they were read, and as by ours."""

import pytest

from tests.import_sets import SETS, readings
from tests.kernel.cli.import_agreement import agree, load_set

LOADED = {name: path for name, path in SETS.items() if name.startswith(("iptables-", "nft-"))}
"""The sets that a tool loads by itself; ufw and firewalld need a host of their own."""


@pytest.mark.parametrize("name", LOADED)
def test_the_kernel_treats_packets_by_a_set_as_by_its_import(name: str) -> None:
    """Loaded by the tool that people load it with; all but what the import names."""
    agree(readings(LOADED[name]), name, lambda host: load_set(host, LOADED[name]))
