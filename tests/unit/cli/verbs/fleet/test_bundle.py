"""`hostfwctl bundle`: what is in a bundle, what makes none, and tallies of records."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hostfw.bundle.manifest import Wave
from hostfw.cli.fleet.bundles.fetched import Verified, verified
from hostfw.cli.fleet.bundles.tally import read_tally
from tests.unit.builders.bundle_builders import signer
from tests.unit.cli_runs import WEB, Ran, hostfwctl

FEED = """\
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: bad, labels: {list: bad}}
spec: {path: lists/bad.txt}
"""


@pytest.fixture(name="policies")
def _policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    (folder / "lists").mkdir(parents=True)
    (folder / "web.yaml").write_text(
        WEB.replace("destination:", "source: {selector: list == 'bad'}\n      destination:")
    )
    (folder / "feeds.yaml").write_text(FEED)
    (folder / "lists/bad.txt").write_text("192.0.2.7\n")
    (folder / "lists/notes.txt").write_text("no list\n")
    (folder / ".git").mkdir()
    (folder / ".git/config.yaml").write_text("no: policy\n")
    return folder


def bundle(policies: Path, *options: object) -> Ran:
    """Make a bundle beside the directory."""
    return hostfwctl("bundle", policies, "-o", policies.parent / "web.hostfw", f"--key={signer().key}", *options)


def made(policies: Path) -> Verified:
    """The bundle that was made, verified as a host does it."""
    return verified((policies.parent / "web.hostfw").read_bytes(), signer().allowed)


def test_a_bundle_has_the_manifests_and_the_lists_that_they_name(
    policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else of the directory. The time of its creation is its number, if nobody gives one."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1900000000")
    done = bundle(policies)

    assert (done.status, done.out) == (0, "")
    assert "web.hostfw was written: bundle 1900000000 (default), 3 files, " in done.err
    found = made(policies)
    assert sorted(found.files) == ["feeds.yaml", "lists/bad.txt", "web.yaml"]
    assert (found.manifest.number, found.manifest.created.isoformat()) == (1900000000, "2030-03-17T17:46:40+00:00")

    first = (policies.parent / "web.hostfw").read_bytes()
    (policies / "web.yaml").touch()
    bundle(policies)
    assert (policies.parent / "web.hostfw").read_bytes() == first, "the same input gives the same bytes"


def test_the_words_of_a_rollout_are_in_the_manifest(policies: Path) -> None:
    """In the order of the waves."""
    done = bundle(
        policies,
        *("--number", "42", "--name", "web", "--created", "2030-01-31T12:00:00+01:00"),
        *("--wave", "all@2h", "--wave", "canary@0", "--wave", "all:10%@30m"),
        *("--most-failed", "3%", "--least-confirmed", "5"),
    )
    assert "; for canary at once, all 10 % after 30 min, all after 2 h" in done.err
    manifest = made(policies).manifest
    assert (manifest.number, manifest.name, manifest.created.isoformat()) == (42, "web", "2030-01-31T11:00:00+00:00")
    assert manifest.waves == (Wave(0, "canary"), Wave(1800, "all", 10), Wave(7200, "all"))
    assert (manifest.most_failed, manifest.least_confirmed) == (3, 5)


@pytest.mark.parametrize(
    "wave", ["canary", "@0", "a:0%@0", "a:101%@0", "a:@0", "a b@0", "a@1w", "a@31d", "a@-1", "a@", "a@99999999999s"]
)
def test_a_wave_that_is_none_says_how_one_looks(policies: Path, wave: str) -> None:
    """And nothing is written."""
    done = bundle(policies, "--wave", wave)
    assert done.status == 2
    assert f'"{wave}" is no wave; expected RING@TIME or RING:10%@TIME' in done.err
    assert not (policies.parent / "web.hostfw").exists()


def test_what_is_invalid_makes_no_bundle(policies: Path) -> None:
    """With every problem and its place, as `validate` has them."""
    (policies / "web.yaml").write_text(WEB.replace("Allow", "Alow"))
    done = bundle(policies)
    assert done.status == 3
    assert "web.yaml:9:15: " in done.err
    assert "nothing was written" in done.err
    assert not (policies.parent / "web.hostfw").exists()


@pytest.mark.parametrize("nodes", [("web1",), ("web1", "db1")])
def test_workloads_of_hosts_are_part_of_a_bundle(policies: Path, nodes: tuple[str, ...]) -> None:
    """Each host has a setting for the interfaces that are workloads', and the publisher has none."""
    (policies / "workloads.yaml").write_text(
        "".join(
            "---\napiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\n"
            f"metadata: {{name: guest-{node}, namespace: shop, labels: {{app: shop}}}}\n"
            f"spec: {{node: {node}, interfaceName: tap0, ipNetworks: [10.0.0.{number}]}}\n"
            for number, node in enumerate(nodes, 1)
        )
    )

    plain = bundle(policies)
    assert plain.status == 0, plain.err
    assert "workloads.yaml" in made(policies).files

    separate = bundle(policies, "--separate-endpoints")
    assert separate.status == 0, separate.err
    assert "workloads.yaml" not in made(policies).files


def test_what_has_no_place_in_a_bundle_is_refused(policies: Path) -> None:
    """Settings, names that a host would not read or write, and lists elsewhere; each with the next step."""
    (policies / "hostfw.yaml").write_text("denyAction: reject\n")
    done = bundle(policies)
    assert done.status == 1
    assert "hostfw.yaml: settings are those of a host, and no part of a bundle" in done.err
    (policies / "hostfw.yaml").unlink()
    (policies / "my web.yaml").write_text(WEB.replace("name: web", "name: other"))
    assert "my web.yaml: a bundle cannot have a file of this path" in bundle(policies).err
    (policies / "my web.yaml").unlink()
    (policies / "feeds.yaml").write_text(FEED.replace("lists/bad.txt", "/etc/passwd"))
    assert "/etc/passwd is outside of" in bundle(policies).err.replace(":1:1:", "")
    assert bundle(policies.parent / "nowhere").status == 1


def test_a_key_that_does_not_sign_says_why(policies: Path, tmp_path: Path) -> None:
    """One that is not there, and one that is none."""
    target = ("-o", tmp_path / "web.hostfw")
    for key, says in ((tmp_path / "none", "there is no such file"), (policies / "web.yaml", "does not sign: ")):
        done = hostfwctl("bundle", policies, *target, "--key", key)
        assert done.status == 1
        assert says in done.err
    assert hostfwctl("bundle", policies, *target).status == 2
    assert hostfwctl("bundle", policies, "--key", signer().key).status == 2
    assert hostfwctl("bundle", *target, "--key", signer().key).status == 2


def test_keys_of_rsa_and_of_ecdsa_sign_too(policies: Path, tmp_path: Path) -> None:
    """Whatever ssh has; those of hardware are asked by the same tool."""
    for kind in ("rsa", "ecdsa"):
        key = tmp_path / kind
        subprocess.run(("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key), check=True)
        allowed = tmp_path / "allowed"
        allowed.write_text(f"{kind} {key.with_suffix('.pub').read_text()}")
        assert hostfwctl("bundle", policies, "-o", tmp_path / "b", "--key", key).status == 0
        assert verified((tmp_path / "b").read_bytes(), allowed).signer == kind


def record(node: str, at: str, in_force: int | None, failed: int | None) -> dict[str, Any]:
    """As much of a status record as is counted."""
    return {"kind": "BundleStatus", "node": node, "at": at, "inForce": in_force, "failed": failed}


def test_a_tally_counts_the_last_record_of_each_host(tmp_path: Path) -> None:
    """Whatever the files are called, and whatever other documents are there."""
    folder = tmp_path / "records/today"
    folder.mkdir(parents=True)
    for number, content in enumerate(
        (
            record("web1", "2030-01-01T00:00:00+00:00", 6, 7),
            record("web1", "2030-01-01T01:00:00+00:00", 7, None),
            record("web2", "2030-01-01T00:00:00+00:00", 7, None),
            record("web3", "2030-01-01T00:00:00+00:00", 6, 7),
            record("web4", "2030-01-01T00:00:00+00:00", None, None),
            {"kind": "Other"},
        )
    ):
        (folder / f"{number}.json").write_text(json.dumps(content))
    out = tmp_path / "tally.json"

    assert hostfwctl("bundle", "--records", tmp_path / "records", "-o", out).status == 0

    assert json.loads(out.read_text())["items"] == [
        {"number": 6, "confirmed": 1, "failed": 0},
        {"number": 7, "confirmed": 2, "failed": 1},
    ]
    tally = read_tally(str(out), 7, tmp_path)
    assert tally is not None
    assert (tally.confirmed, tally.failed) == (2, 1)
    unknown = read_tally(str(out), 8, tmp_path)
    assert unknown is not None
    assert unknown.tried == 0
    out.write_text("<html>")
    assert read_tally(str(out), 7, tmp_path) is None
    (folder / "half.json").write_text("{")
    assert "half.json is no JSON" in hostfwctl("bundle", "--records", tmp_path / "records", "-o", out).err
