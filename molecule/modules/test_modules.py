"""The modules by themselves, on the machine that runs Ansible: nothing of its firewall is looked at or touched."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from conftest import PYTHON, STUB, environment

TREE = Path(__file__).parents[2]
POLICY = {
    "kind": "GlobalNetworkPolicy",
    "metadata": {"name": "monitoring"},
    "spec": {
        "order": 200,
        "selector": "role == 'web'",
        "types": ["Ingress"],
        "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [9100]}}],
    },
}
WRITTEN = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: monitoring
spec:
  order: 200
  selector: role == 'web'
  types:
  - Ingress
  ingress:
  - action: Allow
    protocol: TCP
    destination:
      ports:
      - 9100
"""


@pytest.fixture
def etc(tmp_path):
    """A configuration directory with settings."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "hostfw.yaml").write_text("node: web1\n")
    return folder


@pytest.fixture
def module(tmp_path):
    """Run a module with arguments; gives what it returned, with `failed` where it did."""
    hostfwctl = tmp_path / "hostfwctl"
    hostfwctl.write_text(f'#!/bin/sh\nPYTHONPATH={TREE} exec /usr/bin/python3 -m hostfw.cli "$@"\n')
    hostfwctl.chmod(0o755)

    def run(name, *options, **arguments):
        arguments.setdefault("hostfwctl", str(hostfwctl))
        ansible = str(Path(sys.executable).with_name("ansible"))
        argv = [
            ansible,
            "localhost",
            "-c",
            "local",
            "-m",
            f"hostfw.hostfw.{name}",
            "-a",
            json.dumps(arguments),
            *options,
        ]
        minimal = {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal"}
        done = subprocess.run(
            argv, check=False, capture_output=True, text=True, env=environment() | minimal, timeout=60
        )
        assert " => {" in done.stdout, done.stdout + done.stderr
        return json.JSONDecoder().raw_decode(done.stdout.partition(" => ")[2])[0]

    return run


def files(folder):
    """All files of a directory, by path."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_policy_comes_stays_changes_and_goes(module, etc):
    """Each state is reached once; check mode foretells it, and writes nothing."""
    path = "globalnetworkpolicy/monitoring.yaml"
    before = files(etc)

    foretold = module("hostfw_policy", "--check", resource=POLICY, config_dir=str(etc))
    assert (foretold["changed"], files(etc)) == (True, before)

    came = module("hostfw_policy", "--diff", resource=POLICY, config_dir=str(etc))
    assert (came["changed"], came["path"]) == (True, str(etc / path))
    assert files(etc) == before | {path: WRITTEN}

    assert module("hostfw_policy", resource=POLICY, config_dir=str(etc))["changed"] is False

    other = POLICY | {"spec": POLICY["spec"] | {"order": 300}}
    assert module("hostfw_policy", resource=other, config_dir=str(etc))["changed"] is True
    assert files(etc)[path] == WRITTEN.replace("200", "300")

    assert module("hostfw_policy", resource=other, config_dir=str(etc), state="absent")["changed"] is True
    assert module("hostfw_policy", resource=other, config_dir=str(etc), state="absent")["changed"] is False
    assert files(etc) == before


@pytest.mark.parametrize(
    ("why", "arguments", "said"),
    [
        ("hostfw finds a mistake", {"resource": POLICY | {"spec": {"selectr": "all()"}}}, 'unknown field "selectr"'),
        ("there is no name", {"resource": {"kind": "Tier"}}, "resource needs a kind and a metadata.name"),
        ("the file would be elsewhere", {"resource": POLICY, "path": "../x.yaml"}, "below config_dir"),
        ("hostfw would not read the file", {"resource": POLICY, "path": "x.txt"}, "a .yaml file"),
    ],
)
def test_what_is_refused_is_not_written(module, etc, why, arguments, said):
    """The module fails with hostfw's own words, and the directory stays as it is."""
    before = files(etc)

    refused = module("hostfw_policy", config_dir=str(etc), **arguments)

    assert said in refused["msg"], why
    assert files(etc) == before


def test_a_policy_that_another_needs_is_not_removed(module, etc):
    """The directory is judged as a whole: a tier with a policy in it stays."""
    tier = {"kind": "Tier", "metadata": {"name": "security"}, "spec": {"order": 10}}
    inside = POLICY | {"metadata": {"name": "security.monitoring"}, "spec": POLICY["spec"] | {"tier": "security"}}
    assert module("hostfw_policy", resource=tier, config_dir=str(etc))["changed"] is True
    assert module("hostfw_policy", resource=inside, config_dir=str(etc))["changed"] is True

    kept = module("hostfw_policy", resource=tier, config_dir=str(etc), state="absent")

    assert "security" in kept["msg"]
    assert "tier/security.yaml" in files(etc)


def test_a_directory_becomes_another_and_the_old_one_is_kept(module, etc, tmp_path):
    """Check mode names the files; the second run has nothing to do."""
    staging, previous = tmp_path / "staging", tmp_path / "previous"
    staging.mkdir()
    (staging / "hostfw.yaml").write_text("node: web1\n")
    (staging / "tier.yaml").write_text("new\n")
    (etc / "old.yaml").write_text("old\n")
    before = files(etc)
    arguments = {"src": str(staging), "dest": str(etc), "backup": str(previous)}

    foretold = module("hostfw_config", "--check", **arguments)
    assert (foretold["changed"], foretold["files"]) == (True, ["- old.yaml", "+ tier.yaml"])
    assert files(etc) == before

    assert module("hostfw_config", **arguments)["files"] == ["- old.yaml", "+ tier.yaml"]
    assert (files(etc), files(previous)) == (files(staging), before)
    assert module("hostfw_config", **arguments)["changed"] is False
    assert files(previous) == before


def test_what_is_in_force_comes_with_the_directory_and_staging_goes(module, etc, tmp_path):
    """In one module each, as runs of modules are what a rollout costs; check mode removes nothing."""
    state, staging, link = tmp_path / "state", tmp_path / "staging", tmp_path / "link"
    shutil.copytree(etc, staging)
    link.symlink_to(staging)
    stub = tmp_path / "hostfwctl"
    stub.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nexec {PYTHON} {STUB} {state} "$@"\n')
    stub.chmod(0o755)
    shutil.copytree(etc, state / "accepted")
    shutil.copytree(etc, state / "etc")
    arguments = {"src": str(staging), "dest": str(state / "etc"), "look": True, "hostfwctl": str(stub)}
    arguments["clear"] = [str(link), str(staging)]

    assert module("hostfw_config", "--check", **arguments)["now"]["installed"] is True
    assert (staging.exists(), link.is_symlink()) == (True, True)
    moved = module("hostfw_config", **arguments)
    assert (moved["now"]["agrees"], moved["now"]["in_force"]) == (True, True)
    assert (staging.exists(), link.is_symlink()) == (False, False)

    run = {"controller": "c", "process": "1", "who": "me", "alive": ["1"]}
    given = {"run": run, "lock_dir": str(tmp_path / "lock"), "hostfwctl": str(stub), "config_dir": str(state / "etc")}
    module("hostfw_turn", **given)
    released = module("hostfw_turn", state="released", look=True, **given)
    assert released["configuration"] == moved["now"]["configuration"]
    assert not (tmp_path / "lock/turn").exists()

    (tmp_path / "calls").unlink()
    brief = module("hostfw_info", details=False, hostfwctl=str(stub), config_dir=str(state / "etc"))
    assert (brief["generation"], brief["history"], brief["version"]) == (moved["now"]["generation"], [], {})
    assert len((tmp_path / "calls").read_text().splitlines()) == 2, "status and diff"


def test_a_host_without_hostfw_says_so(module, tmp_path):
    """Nothing is in force there, which is no failure."""
    found = module("hostfw_info", hostfwctl=str(tmp_path / "nowhere"))

    assert (found["installed"], found["in_force"], found["generation"], found["changed"]) == (False, False, "", False)


@pytest.fixture
def staged(tmp_path):
    """The arguments of hostfw_stage for an archive with a policy; calls of hostfwctl are written down."""
    state, stub = tmp_path / "state", tmp_path / "stub"
    (state / "etc").mkdir(parents=True)
    stub.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nexec {PYTHON} {STUB} {state} "$@"\n')
    stub.chmod(0o755)
    source = tmp_path / "source"
    (source / "team").mkdir(parents=True)
    (source / "team/web.yaml").write_text("kind: GlobalNetworkPolicy\nmetadata: {name: web}\n")
    (source / "host.yaml.j2").write_text("{{ a_template }}")
    subprocess.run(["tar", "-czf", tmp_path / "etc.tar.gz", "-C", source, "."], check=True)
    return {
        "archive": str(tmp_path / "etc.tar.gz"),
        "exclude": ["host.yaml.j2"],
        "files": {"inventory-resources.yaml": "kind: NetworkSet\n"},
        "settings": {"node": "web1"},
        "run": {"controller": "c", "process": "1", "who": "me", "alive": ["1"]},
        "lock_dir": str(tmp_path / "lock"),
        "staging": str(tmp_path / "staging"),
        "config_dir": str(state / "etc"),
        "hostfwctl": str(stub),
    }


def test_a_configuration_is_staged_in_one_module(module, staged, tmp_path):
    """The files of all and of the host, the lock, what is in force, and the validation; no secret is said."""
    done = module("hostfw_stage", **staged)

    folder = tmp_path / "staging"
    assert done["staging"] == str(folder.resolve())
    assert files(folder) == {
        "team/web.yaml": "kind: GlobalNetworkPolicy\nmetadata: {name: web}\n",
        "inventory-resources.yaml": "kind: NetworkSet\n",
        "hostfw.yaml": "node: web1\n",
    }
    assert (done["installed"], done["in_force"], done["changed"]) == (True, False, False)
    assert (tmp_path / "lock/turn").exists()
    assert "invocation" not in done
    assert "validate -f ." in (tmp_path / "calls").read_text()

    (tmp_path / "state/invalid").write_text("team/web.yaml:2:1: unknown field\n")
    assert "team/web.yaml:2:1: unknown field" in module("hostfw_stage", **staged)["msg"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"archive": "/nonexistent"}, "cannot be read on the controller"),
        ({"archive": "/etc/passwd"}, "the configuration cannot be staged"),
        ({"hostfwctl": "/nonexistent"}, "hostfw_install: true installs it"),
        ({"run": {"controller": "c", "process": "2", "who": "you", "alive": ["1", "2"]}}, "another run of me"),
    ],
)
def test_what_cannot_be_staged_is_refused_and_changes_nothing(module, staged, tmp_path, change, said):
    """An archive that is none, a host without hostfw, a lock of another run."""
    if "run" in change:
        module("hostfw_turn", **{name: staged[name] for name in ("run", "lock_dir", "hostfwctl")})

    done = module("hostfw_stage", **{**staged, **change})

    assert said in done["msg"]
    assert not (tmp_path / "staging/team").exists()


@pytest.mark.parametrize("name", ["../outside.yaml", "/outside.yaml", "link"])
def test_an_archive_lays_nothing_out_beside_the_directory(module, staged, tmp_path, name):
    """No path that leads out, and no link."""
    with tarfile.open(staged["archive"], "w:gz") as archive:
        member = tarfile.TarInfo(name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)

    done = module("hostfw_stage", **staged)

    assert "in the archive is neither" in done["msg"] or "not below the directory" in done["msg"]
    assert not (tmp_path / "outside.yaml").exists()


def test_a_lock_comes_with_the_facts_of_interfaces(module, tmp_path):
    """Those of Ansible's own module, by the same names."""
    run = {"controller": "c", "process": "1", "who": "me", "alive": ["1"]}

    facts = module("hostfw_turn", run=run, lock_dir=str(tmp_path / "lock"), gather=True)["ansible_facts"]

    assert "lo" in facts["ansible_interfaces"]
    assert facts["ansible_lo"]["ipv4"]["address"] == "127.0.0.1"
    assert "ansible_default_ipv4" in facts


def test_units_are_asked_about_once_and_changed_where_they_do_not_run(module, etc, tmp_path, monkeypatch):
    """In check mode it is foretold."""
    shutil.copytree(etc, tmp_path / "staging")
    stub = tmp_path / "bin/systemctl"
    stub.parent.mkdir()
    stub.write_text(
        f"#!/bin/sh\necho $* >>{tmp_path}/asked\ncase $1 in\n"
        f"is-enabled) test -e {tmp_path}/on && printf 'enabled\\nenabled\\n' ;;\n"
        f"is-active) test -e {tmp_path}/on ;;\nstart) touch {tmp_path}/on ;;\nesac\n"
    )
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stub.parent}:{os.environ['PATH']}")
    arguments = {"src": str(tmp_path / "staging"), "dest": str(etc), "service": True}

    assert module("hostfw_config", "--check", **arguments)["service_changed"] is True
    assert not (tmp_path / "on").exists()
    assert module("hostfw_config", **arguments)["changed"] is True
    assert module("hostfw_config", **arguments)["changed"] is False
    assert (tmp_path / "asked").read_text().splitlines().count("start hostfw.service") == 1


def test_nothing_is_kept_while_a_host_of_the_batch_cannot(module):
    """The command is not even asked."""
    done = module("hostfw_confirm", behind=["web2"], hostfwctl="/nonexistent")

    assert done["msg"] == "not kept, because of web2"
