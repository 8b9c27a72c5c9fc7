"""The file of a bundle: the same input gives the same bytes, every tar reads it, and no other byte passes."""

import io
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.bundle.archive import contents, header, opened
from hostfw.bundle.manifest import BundleError, manifest_of, manifest_text
from hostfw.cli.fleet.bundles.fetched import verified
from tests.unit.builders.bundle_builders import Signer, bundle, manifest, signer

FILES = {"a.yaml": b"kind: A\n", "lists/bad.txt": b"192.0.2.7\n" * 60, "z/y/x.yaml": b""}
LONG = "a" * 90 + "/" + "b" * 90 + ".yaml"


def test_the_same_input_gives_the_same_bytes() -> None:
    """Whoever makes it, and in whatever order the files come."""
    turned = dict(reversed(FILES.items()))
    assert bundle(7, FILES) == bundle(7, turned)


def test_any_tar_reads_it_and_ssh_verifies_it(tmp_path: Path) -> None:
    """So a person can look at a bundle without hostfw."""
    data = bundle(7, {**FILES, LONG: b"kind: B\n"})
    path = tmp_path / "web.hostfw"
    path.write_bytes(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        names = [member.name for member in members]
    assert names == ["manifest.json", "manifest.json.sig", *(f"files/{path}" for path in sorted((*FILES, LONG)))]
    assert {(member.mode, member.uid, member.mtime, member.isreg()) for member in members} == {(0o644, 0, 0, True)}
    subprocess.run(("tar", "-xf", path, "-C", tmp_path), check=True)
    assert (tmp_path / "files/lists/bad.txt").read_bytes() == FILES["lists/bad.txt"]
    subprocess.run(
        ("ssh-keygen", "-Y", "verify", "-n", "hostfw", "-I", "ops", "-f", signer().allowed, "-s", "manifest.json.sig"),
        check=True,
        input=(tmp_path / "manifest.json").read_bytes(),
        cwd=tmp_path,
        capture_output=True,
    )


def test_what_was_put_in_comes_out() -> None:
    """With the number, and who signed it."""
    found = verified(bundle(7, FILES), signer().allowed)
    assert (found.manifest, found.files, found.signer) == (manifest(7, FILES), FILES, "ops")


def refused(data: bytes, by: Signer | None = None) -> str:
    """The reason why some bytes are not taken."""
    with pytest.raises(BundleError) as caught:
        verified(data, (by or signer()).allowed)
    assert caught.value.hint
    return caught.value.message


def test_no_byte_of_the_archive_may_be_another() -> None:
    """Of headers, contents, padding and the end; those of manifest and signature are for ssh-keygen."""
    data = bundle(7, FILES)
    envelope = opened(data)
    said = manifest_of(envelope.manifest)
    assert contents(data, envelope.files_at, said) == FILES
    at_manifest, at_signature = data.index(envelope.manifest), data.index(envelope.signature)
    signed = {*range(at_manifest, at_manifest + len(envelope.manifest))}
    signed |= {*range(at_signature, at_signature + len(envelope.signature))}
    for place in (place for place in range(len(data)) if place not in signed):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(BundleError):
            contents(changed, opened(changed).files_at, said)


@pytest.mark.parametrize("step", [97, pytest.param(1, marks=pytest.mark.slow)])
def test_no_byte_of_manifest_and_signature_may_be_another(step: int) -> None:
    """A signature has one form alone: a line break elsewhere, which ssh-keygen lets pass, is another."""
    data = bundle(7, {"a.yaml": b"kind: A\n"})
    envelope = opened(data)
    for part in (envelope.manifest, envelope.signature):
        begins = data.index(part)
        for place in range(begins, begins + len(part), step):
            refused(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    lines = envelope.signature.split(b"\n")
    lines[1], lines[2] = lines[1][:-1], lines[1][-1:] + lines[2]
    assert "not written as ssh-keygen writes" in refused(data.replace(envelope.signature, b"\n".join(lines)))


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_no_byte_of_an_allowed_key_may_be_another(step: int, tmp_path: Path) -> None:
    """The file of allowed signers with another key allows nobody else's bundle."""
    data, allowed = bundle(7, {"a.yaml": b"kind: A\n"}), signer().allowed.read_bytes()
    begins = allowed.index(b"ssh-ed25519 ")
    key = begins, allowed.index(b" ", begins + 12)
    assert "signed" in refused(data, Signer(Path(), _written(tmp_path, b"")))
    for place in range(*key, step):
        changed = allowed[:place] + bytes([allowed[place] ^ 1]) + allowed[place + 1 :]
        refused(data, Signer(Path(), _written(tmp_path, changed)))


def _written(folder: Path, text: bytes) -> Path:
    path = folder / "allowed"
    path.write_bytes(text)
    return path


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/../b.yaml", ".hidden.yaml", "a//b.yaml", "ä.yaml"]
)
def test_a_signed_manifest_names_no_path_elsewhere(name: str) -> None:
    """A signer whose tool is broken cannot write elsewhere either."""
    text = manifest_text(
        replace(manifest(7, {"a.yaml": b""}), files=(replace(manifest(7, {"a.yaml": b""}).files[0], path=name),))
    )
    with pytest.raises(BundleError, match="is not a path that a bundle may have"):
        manifest_of(text)


@pytest.mark.parametrize("kind", list(b"123456LKxgSDVM"))
def test_no_member_is_anything_but_a_file(kind: int) -> None:
    """Neither a link nor a device, a folder, a long name or a header of pax."""
    data = bundle(7, {"a.yaml": b"kind: A\n"})
    at = data.index(b"files/a.yaml\0")
    block = bytearray(data[at : at + 512])
    block[156] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert "the archive around a.yaml is not as it was made" in refused(data[:at] + bytes(block) + data[at + 512 :])


def test_a_header_is_the_one_that_tar_makes() -> None:
    """Byte for byte, so that nothing of the form is our own."""
    for name, size in (("files/a.yaml", 0), ("files/a.yaml", 123_456_789), (f"files/{LONG}", 7)):
        info = tarfile.TarInfo(name)
        info.size = size
        made = info.tobuf(tarfile.USTAR_FORMAT)
        assert header(name, size)[:148] == made[:148]
        assert header(name, size)[156:265] == made[156:265]
        assert tarfile.TarInfo.frombuf(header(name, size), "ascii", "strict").name == name


def test_a_size_that_lies_reads_nothing_of_it() -> None:
    """Neither terabytes nor what is not a number."""
    for size in (b"77777777777", b"00000000-01", b" 1234567890", b"0000000001\xb2"):
        block = bytearray(header("manifest.json", 0))
        block[124:135] = size
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        with pytest.raises(BundleError, match="it is no bundle of hostfw"):
            opened(bytes(block) + bytes(2048))
