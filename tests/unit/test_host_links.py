"""What is read of links without asking the kernel."""

import struct
import sys
from pathlib import Path

import pytest

from hostfw.host.errors import HostError
from hostfw.host.links import _next_hops, link_groups, observe


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Debian's own", "# device group names\n0\tdefault\n", (("default", 0),)),
        ("by name", "2 wan\n0x10 dmz # behind\n 0 default\n", (("default", 0), ("dmz", 16), ("wan", 2))),
        ("lines that mean nothing", "x y\n7\n1 2 3\n-\n5 ok\n", (("ok", 5),)),
        ("the last of two", "1 a\n2 a\n", (("a", 2),)),
        ("nothing", "", ()),
    ],
)
def test_link_groups_have_names(tmp_path: Path, name: str, text: str, expected: tuple[tuple[str, int], ...]) -> None:
    """As iproute2 reads them."""
    (tmp_path / "group").write_text(text)

    assert link_groups((tmp_path / "group",)) == expected, name


def test_the_first_file_of_link_groups_is_the_one(tmp_path: Path) -> None:
    """An administrator's file hides the distribution's."""
    etc, usr, none = tmp_path / "etc", tmp_path / "usr", tmp_path / "none"
    etc.write_text("1 mine\n")
    usr.write_text("0 default\n")

    assert link_groups((none, etc, usr)) == (("mine", 1),)
    assert link_groups((none, usr)) == (("default", 0),)
    assert link_groups((none,)) == ()


def hop(index: int, attributes: bytes = b"") -> bytes:
    """A next hop of a multipath route."""
    return struct.pack("=HBBi", 8 + len(attributes), 0, 0, index) + attributes


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (hop(3), [3]),
        (hop(3, bytes(8)) + hop(4, bytes(20)), [3, 4]),
        (struct.pack("=HBBi", 0, 0, 0, 5), [5]),
        (hop(3)[:6], []),
    ],
)
def test_a_multipath_route_leads_to_every_next_hop(data: bytes, expected: list[int]) -> None:
    """Whatever each of them carries; malformed ones end the list."""
    assert list(_next_hops(data)) == expected


def test_without_pyroute2_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those who observe a host need it."""
    monkeypatch.setitem(sys.modules, "pyroute2", None)

    with pytest.raises(HostError, match="interfaces cannot be read") as caught:
        observe()

    assert caught.value.hint == "install the package python3-pyroute2"
