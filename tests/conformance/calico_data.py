"""Calico's own test cases as data, read from beside the repository."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

Json = Any
"""The content of Calico's own JSON."""

DATA = Path(os.environ.get("HOSTFW_CONFORMANCE", Path(__file__).parents[2].parent / "shared/conformance"))


def table(name: str) -> Json:
    """One file of cases; the test is skipped where the data is absent."""
    path = DATA / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no conformance data at {path}")
    return json.loads(path.read_text())
