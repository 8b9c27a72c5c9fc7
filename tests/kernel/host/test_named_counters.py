"""Named counters, all at once."""

import pytest

from hostfw.host.nftables.named_counters import read_counters
from hostfw.host.nftables.nf_tables import KernelCounter
from hostfw.model.values import Family
from lab.namespace import inside, namespace, run

SCRIPT = """\
table ip hostfw {
    counter hits { packets 3 bytes 180 }
    counter spare { }
    quota most { 10 mbytes }
}
table ip6 hostfw {
    counter hits { packets 9007199254740993 bytes 1 }
}
table ip other {
    counter hits { }
}
"""


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            SCRIPT,
            {
                (Family.V4, "hits"): (3, 180),
                (Family.V4, "spare"): (0, 0),
                (Family.V6, "hits"): (9_007_199_254_740_993, 1),
            },
        ),
        ("table ip hostfw { }", {}),
        ("table ip other { }", {}),
    ],
    ids=["ours and others'", "an empty table", "no table of ours"],
)
def test_every_counter_of_our_tables_is_read(script: str, expected: dict[tuple[Family, str], tuple[int, int]]) -> None:
    """With its exact values, and nothing else."""
    with namespace("counters") as place:
        run(place, ("nft", "-f", "-"), text=script)
        with inside(place):
            found = read_counters()

    assert found == {(family, name): KernelCounter(name, *values) for (family, name), values in expected.items()}
