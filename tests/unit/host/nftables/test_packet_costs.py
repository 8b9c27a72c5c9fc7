"""Costs of rules on this host: what cannot be measured is told as on most machines."""

import subprocess

import pytest

from hostfw.host.nftables.packet_costs import measured_prices
from hostfw.nft.worst_packet import TYPICAL, Cost, Prices


@pytest.mark.parametrize("printed", ["", "7", "seven 50", "0 50", "7 -1", "7 900000", "7 50 3"])
def test_no_measurement_is_no_figure(printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of a process that failed, or that others were in the way of, are not taken for a cost."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess((), 0, stdout=printed))

    assert measured_prices() == TYPICAL


@pytest.mark.parametrize("error", [PermissionError(), FileNotFoundError(), subprocess.TimeoutExpired("python3", 10)])
def test_a_process_that_fails_is_no_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root or nft there are typical costs."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fail)

    assert measured_prices() == TYPICAL


def test_costs_add_up() -> None:
    """A packet pays for its lookups and its rules."""
    assert Prices(8, 60, measured=True).ns(Cost(3, 10)) == 260
