"""A whole rollout with the default batches, to hosts that wait as real ones do: each is confirmed in time."""

import os
import sys
from pathlib import Path

from bench.fleets import rollout

HOSTS = int(os.environ.get("HOSTFW_SIMULATED_HOSTS", "6"))


def test_every_host_is_confirmed_well_within_its_deadline():
    """Half of the time is left to the slowest; HOSTFW_SIMULATED_HOSTS says how many hosts there are."""
    tools = Path(os.environ.get("ANSIBLE_BIN", str(Path(sys.executable).parent)))

    found = rollout.simulate(HOSTS, 25, 2.0, tools)

    assert found.status == 0, found.text
    assert len(found.kept) == HOSTS
    assert all(took_s < had_s / 2 for took_s, had_s in found.kept), found.kept
