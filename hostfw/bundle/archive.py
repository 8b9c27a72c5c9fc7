"""The file that a bundle is: a tar archive of one form alone.

    manifest.json        what is signed
    manifest.json.sig    the signature, as `ssh-keygen -Y sign` writes it
    files/...            the files of the manifest, in its order

Any tar reads it. hostfw does not: it knows from the manifest, once that is verified, every byte that the archive must
have, and compares. So there is no way for an archive to name other paths, or to hold links, devices or anything else.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from hostfw.bundle.manifest import MOST_MANIFEST_BYTES, BundleError, Manifest

MANIFEST, SIGNATURE, FILES = "manifest.json", "manifest.json.sig", "files"
MOST_SIGNATURE_BYTES = 16 * 1024

_BLOCK = 512
_NAME_BYTES, _PREFIX_BYTES = 100, 155
_SIZE = slice(124, 135)
_ARMOUR = (b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n")
_ARMOUR_COLUMNS = 70
"""As ssh-keygen has them (sshsig_armor)."""
_OTHER = "a file that `hostfwctl bundle` wrote"


class Envelope(NamedTuple):
    """A bundle of which nothing is verified yet: the text of its manifest, the signature, and where its files begin."""

    manifest: bytes
    signature: bytes
    files_at: int


def archive(manifest: bytes, signature: bytes, files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The parts of the archive; the same input gives the same bytes."""
    for name, content in ((MANIFEST, manifest), (SIGNATURE, signature), *((f"{FILES}/{p}", c) for p, c in files)):
        yield header(name, len(content))
        yield content
        yield bytes(-len(content) % _BLOCK)
    yield bytes(2 * _BLOCK)


def header(name: str, size: int) -> bytes:
    """The header of a plain file of root's, of mode 0644 and of 1970 (tar(5), ustar)."""
    short, prefix = _split(name)
    fields = (
        short.ljust(_NAME_BYTES, b"\0"),
        *(b"0000644\0", b"0000000\0", b"0000000\0"),
        *(b"%011o\0" % size, b"%011o\0" % 0, b" " * 8, b"0"),
        *(bytes(100), b"ustar\0", b"00", bytes(32), bytes(32), b"0000000\0", b"0000000\0"),
        prefix.ljust(_PREFIX_BYTES, b"\0"),
        bytes(12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def opened(data: bytes) -> Envelope:
    """The manifest and the signature of a file, whoever wrote it. Raises BundleError for what is no bundle."""
    manifest, at = _member(data, 0, MANIFEST, MOST_MANIFEST_BYTES)
    signature, at = _member(data, at, SIGNATURE, MOST_SIGNATURE_BYTES)
    if _armoured(signature) != signature:
        raise BundleError("its signature is not written as ssh-keygen writes one", f"give {_OTHER}")
    return Envelope(manifest, signature, at)


def contents(data: bytes, at: int, manifest: Manifest) -> dict[str, bytes]:
    """The files of a bundle whose manifest is verified, by path. Raises BundleError if a byte is another."""
    found = dict[str, bytes]()
    expected_size = at + 2 * _BLOCK + sum(_BLOCK + file.size + -file.size % _BLOCK for file in manifest.files)
    if len(data) != expected_size:
        what = "cut off" if len(data) < expected_size else "longer than it was made"
        raise BundleError(f"it is {what}: it has {len(data)} bytes, and should have {expected_size}", _AGAIN)
    for file in manifest.files:
        wanted = header(f"{FILES}/{file.path}", file.size)
        begins, ends = at + _BLOCK, at + _BLOCK + file.size
        at = ends + -file.size % _BLOCK
        content = data[begins:ends]
        if data[begins - _BLOCK : begins] != wanted or any(data[ends:at]):
            raise BundleError(f"the archive around {file.path} is not as it was made", _AGAIN)
        if sha256(content).hexdigest() != file.sha256:
            raise BundleError(f"{file.path} in it is not what was signed: its SHA-256 digest is another", _AGAIN)
        found[file.path] = content
    if any(data[at:]):
        raise BundleError("the end of the archive is not as it was made", _AGAIN)
    return found


_AGAIN = "publish the bundle again, and find out who changed it on its way"


def _split(name: str) -> tuple[bytes, bytes]:
    """The name and prefix fields of a path. Raises BundleError for one that does not fit."""
    whole = name.encode("ascii")
    if len(whole) <= _NAME_BYTES:
        return whole, b""
    cut = whole.find(b"/", len(whole) - _NAME_BYTES - 1)
    if not 0 < cut <= _PREFIX_BYTES:
        raise BundleError(f"the path {name.removeprefix(f'{FILES}/')} is too long for an archive", "shorten its names")
    return whole[cut + 1 :], whole[:cut]


def _member(data: bytes, at: int, name: str, most: int) -> tuple[bytes, int]:
    """The content of a member at a place, and where the next begins; the size alone is taken from its header."""
    block = data[at : at + _BLOCK]
    digits = block[_SIZE]
    size = int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else -1
    if size < 0 or size > most or block != header(name, size):
        raise BundleError("it is no bundle of hostfw", f"give {_OTHER}")
    begins, ends = at + _BLOCK, at + _BLOCK + size
    next_at = ends + -size % _BLOCK
    if len(data) < next_at or any(data[ends:next_at]):
        raise BundleError(f"it was cut off within its {name}, or changed there", _AGAIN)
    return data[begins:ends], next_at


def _armoured(text: bytes) -> bytes:
    """The one text that a signature has, made from what a text says; empty if it is no signature."""
    if not (text.startswith(_ARMOUR[0]) and text.endswith(_ARMOUR[1])):
        return b""
    try:
        blob = base64.b64decode(text[len(_ARMOUR[0]) : -len(_ARMOUR[1])].replace(b"\n", b""), validate=True)
    except binascii.Error:
        return b""
    encoded = base64.b64encode(blob)
    lines = (encoded[at : at + _ARMOUR_COLUMNS] + b"\n" for at in range(0, len(encoded), _ARMOUR_COLUMNS))
    return _ARMOUR[0] + b"".join(lines) + _ARMOUR[1]
