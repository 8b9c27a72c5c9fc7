"""Keys of ssh, bundles signed by them, and bundles as nobody should take them."""

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from hostfw.bundle.archive import archive
from hostfw.bundle.manifest import File, Manifest, manifest_text
from hostfw.host.bundles.signature import sign

CREATED = datetime(2030, 1, 1, tzinfo=UTC)


class Signer(NamedTuple):
    """A private key, and a list of allowed signers that has its public half alone."""

    key: Path
    allowed: Path


@cache
def signer(name: str = "ops", namespaces: str = 'namespaces="hostfw" ') -> Signer:
    """A signer of this name, whose key is made once for all tests."""
    folder = Path(mkdtemp(prefix="hostfw-signer-"))
    key = folder / "key"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key), check=True)
    allowed = folder / "allowed_signers"
    allowed.write_text(f"{name} {namespaces}{key.with_suffix('.pub').read_text()}")
    return Signer(key, allowed)


def manifest(number: int, files: Mapping[str, bytes], **others: object) -> Manifest:
    """A manifest of these files, with other fields as given."""
    found = tuple(File(path, len(text), sha256(text).hexdigest()) for path, text in sorted(files.items()))
    made = Manifest("default", number, CREATED, found)
    return replace(made, **others)  # type: ignore[arg-type]  # the fields of a manifest


def bundle(number: int, files: Mapping[str, bytes], by: Signer | None = None, **others: object) -> bytes:
    """The bytes of a bundle of these files."""
    text = manifest_text(manifest(number, files, **others))
    return b"".join(archive(text, sign(text, (by or signer()).key), sorted(files.items())))
