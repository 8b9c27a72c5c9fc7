"""Stored files in decoded form: the same content as their texts give, or none at all."""

import errno
import os
import pickle
import re
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

import hostfw
from hostfw.build.candidate import check_candidate
from hostfw.build.stored import keep_decoded, stored_content
from hostfw.host.store.configuration.files import read_paths
from hostfw.host.store.generations import decoded as store
from hostfw.host.store.generations.generations import load_accepted
from hostfw.host.store.generations.sources import parts_of
from hostfw.manifest import decode as decoding
from hostfw.model.sources import Configuration, Source
from hostfw.policy.resolve.plan import without_policies
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine
from tests.unit.project.documentation import ROOT
from tests.unit.project.recipes import PAGES

ETC = [*sorted((ROOT / "examples").glob("*/etc")), ROOT / "tests/golden"]
CONFIGURATION = Configuration(None, (Source("uplink.yaml", UPLINK), Source("web.yaml", WEB)))
SETTINGS = Source("hostfw.yaml", "node: web1\nlogging: {rate: 5/second}\n")
MANY_NETS = f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {{name: many}}
spec: {{nets: [{", ".join(f"10.{n // 250}.{n % 250}.0/24" for n in range(3000))}]}}
"""
RARE = """\
apiVersion: hostfw.io/v1
kind: NftRules
metadata: {name: own}
spec: {hook: output, order: 1.5, ipVersion: 6, rules: [meta skuid 1000 counter, 'meta mark 7 reject']}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: tried, annotations: {hostfw.io/expires: "2040-01-01T00:00:00Z"}}
spec: {selector: all(), types: [Ingress], ingress: [{action: Log, protocol: 47, notICMP: {type: 8}}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkSet
metadata: {name: peers, namespace: shop, labels: {a: b}}
spec: {nets: [192.0.2.0/24, "2001:db8::/32"]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {ingress: [{action: Allow, source: {selector: has(a)}}]}
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {ingress: [{action: Deny, source: {namespaceSelector: has(team), selector: has(a)}}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchExpressions: [{key: a, operator: In, values: [b]}]}
  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {podSelector: {}}], ports: [{port: http}]}]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: web}
spec:
  tier: Baseline
  priority: 1
  subject: {pods: {namespaceSelector: {matchLabels: {team: a}}, podSelector: {}}}
  ingress: [{name: named, action: Accept, from: [{namespaces: {}}], protocols: [{destinationNamedPort: http}]}]
  egress: [{action: Deny, to: [{networks: [10.0.0.0/8]}], protocols: [{tcp: {destinationPort: {number: 25}}}]}]
"""


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return machine(tmp_path, monkeypatch)


def texts() -> list[tuple[str, Configuration]]:
    """Every YAML that the tree has policy in, as a configuration."""
    examples = [(etc.parent.name, read_paths([etc])[0]) for etc in ETC if etc.name == "etc"]
    blocks = [
        (page.name, Source(f"{number}.yaml", block))
        for page in sorted((*PAGES.glob("*.md"), *(ROOT / "docs").glob("*.md")))
        for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))
    ]
    singles = [*blocks, ("many nets", Source("many.yaml", MANY_NETS)), ("rare kinds", Source("rare.yaml", RARE))]
    return [*examples, *((name, Configuration(SETTINGS, (source,))) for name, source in singles)]


def in_place(folder: Path, *, decode: bool) -> bool:
    """True if `stored_content` gives the content of WEB and UPLINK; with `decode` from their texts if need be."""
    candidate = check_candidate(CONFIGURATION)
    with pytest.MonkeyPatch.context() as patch:
        if not decode:
            patch.setattr(decoding, "decode", lambda *_: pytest.fail("the texts were decoded"))
        return stored_content(CONFIGURATION, folder) == (candidate.resources, candidate.settings)


@pytest.mark.parametrize("configuration", [pytest.param(each, id=name) for name, each in texts()])
def test_what_is_kept_is_what_the_texts_say(
    configuration: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same resources and settings, without a text being decoded."""
    candidate = check_candidate(configuration)

    keep_decoded(tmp_path, candidate)
    monkeypatch.setattr(decoding, "decode", lambda *_: pytest.fail("the texts were decoded"))

    assert stored_content(candidate.configuration, tmp_path) == (candidate.resources, candidate.settings)
    bare = without_policies(candidate.resources), candidate.settings
    assert stored_content(candidate.configuration, tmp_path, policies=False) == bare


def test_the_texts_have_every_kind() -> None:
    """So that each kind of resource is tried above."""
    found = (each for _, configuration in texts() for each in check_candidate(configuration).resources.all())

    assert {type(each).__name__ for each in found} == decoding.RESOURCE_KINDS.keys()


def test_an_apply_keeps_what_it_accepted(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that asks about what is in force decodes nothing."""
    host.write(web=WEB, uplink=UPLINK)
    assert host.hostfwctl("apply").status == 0

    monkeypatch.setattr(decoding, "decode", lambda *_: pytest.fail("the texts were decoded"))

    assert "web.yaml" in host.hostfwctl("rules").out


def test_files_that_nothing_stored_has_are_let_go(tmp_path: Path) -> None:
    """The folder does not grow with every change."""
    keep_decoded(tmp_path, check_candidate(Configuration(None, (Source("other.yaml", UPLINK),))))
    keep_decoded(tmp_path, check_candidate(CONFIGURATION))
    there = kept_in(tmp_path)
    keep_decoded(tmp_path, check_candidate(CONFIGURATION))

    assert len(there) == 1
    assert kept_in(tmp_path) == there


def test_what_the_history_has_stays(host: Machine) -> None:
    """A rollback to an earlier generation has its copy as well."""
    host.write(web=WEB, uplink=UPLINK)
    host.hostfwctl("apply")
    before = kept_in(host.directory / "var")
    host.write(web=WEB.replace("80", "8080"), uplink=UPLINK)
    host.hostfwctl("apply")

    assert before < kept_in(host.directory / "var")


def test_an_edit_of_the_decoder_lets_all_be_decoded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that reads a text otherwise does not use what another made of it."""
    keep_decoded(tmp_path, check_candidate(CONFIGURATION))
    assert in_place(tmp_path, decode=False)

    monkeypatch.setattr(store, "decoder_mark", lambda: "0" * 16)

    with pytest.raises(pytest.fail.Exception):
        in_place(tmp_path, decode=False)
    assert in_place(tmp_path, decode=True)


def test_the_mark_follows_every_file_of_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However deep the file is."""
    file = tmp_path / "hostfw/manifest/deep/kinds.py"
    file.parent.mkdir(parents=True)
    file.write_text("A = 1")
    monkeypatch.setattr(hostfw, "__file__", str(tmp_path / "hostfw/__init__.py"))
    mark = store.decoder_mark.__wrapped__()

    file.write_text("A = 22")

    assert store.decoder_mark.__wrapped__() != mark


class Evil:
    """An object that runs something when it is read back."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (f"{Path(os.environ['HOME'])}/came",)


def evil(of: object) -> bytes:
    """A copy with the right digest before this."""
    data = pickle.dumps((of,))
    return sha256(data).digest() + data


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("empty", lambda _: b""),
        ("cut short", lambda data: data[:-5]),
        ("a flipped bit", lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:]),
        ("no pickle", lambda _: sha256(b"nonsense").digest() + b"nonsense"),
        ("of another shape", lambda _: evil(7)),
        ("of too few files", lambda _: evil(store.FileContent(None))),
        ("of something that runs", lambda _: evil(Evil())),
        ("a function of ours", lambda _: evil(store.load_decoded)),
        ("a class that a module of values imports", lambda _: evil(BytesIO())),
    ],
)
def test_a_damaged_copy_is_not_used(
    name: str, damage: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The texts are decoded, and nothing that a copy names is called."""
    monkeypatch.setenv("HOME", str(tmp_path))
    keep_decoded(tmp_path, check_candidate(CONFIGURATION))
    (path,) = (tmp_path / "decoded").iterdir()
    path.write_bytes(damage(path.read_bytes()))

    assert in_place(tmp_path, decode=True), name
    assert not (tmp_path / "came").exists()


@pytest.mark.parametrize("suspicious", ["writable by others", "a link", "a folder", "a pipe"])
def test_a_copy_that_others_may_have_written_is_not_used(suspicious: str, tmp_path: Path) -> None:
    """Nor is anything waited for that is not a file."""
    keep_decoded(tmp_path, check_candidate(CONFIGURATION))
    (path,) = (tmp_path / "decoded").iterdir()
    match suspicious:
        case "writable by others":
            path.chmod(0o606)
        case "a link":
            path.symlink_to(path.rename(tmp_path / "elsewhere"))
        case "a folder":
            path.unlink()
            path.mkdir()
        case _:
            path.unlink()
            os.mkfifo(path)

    with pytest.raises(pytest.fail.Exception):
        in_place(tmp_path, decode=False)
    assert in_place(tmp_path, decode=True)


def test_files_around_one_that_changed_are_not_decoded(tmp_path: Path) -> None:
    """A part is decoded again as soon as one of its files is another, and no other part is."""
    many = tuple(Source(f"{n}.yaml", WEB.replace("name: web", f"name: web{n}")) for n in range(1000))
    keep_decoded(tmp_path, check_candidate(Configuration(None, many)))
    changed = Configuration(None, (*many[:500], Source("500.yaml", WEB), *many[501:]))
    cache = decoding.DecodeCache()

    parts = parts_of(changed).resources
    kept = store.load_decoded(tmp_path, parts)

    assert "500.yaml" not in kept
    assert len(kept) == 1000 - next(len(part.sources) for part in parts if Source("500.yaml", WEB) in part.sources)
    assert len(kept) > 500
    assert stored_content(changed, tmp_path, cache)[0] == check_candidate(changed).resources


def test_a_full_disk_takes_nothing_of_it_and_stops_nothing(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies are missing, and the change stands."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    host.write(web=WEB, uplink=UPLINK)
    monkeypatch.setattr(store, "_write", full)

    assert host.hostfwctl("apply").status == 0
    assert not kept_in(host.directory / "var")
    assert load_accepted(host.directory / "var")[0] is not None


def kept_in(state_dir: Path) -> set[str]:
    """The names of the copies in a state directory."""
    return {path.name for path in (state_dir / "decoded").iterdir()}
