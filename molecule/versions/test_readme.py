"""The commands of the collection's README, on every ansible-core that it supports: each as a person types it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cores import CORES, MissingError, core

from conftest import COLLECTION, POLICY, PYTHON, Play, environment

README = (COLLECTION / "README.md").read_text()
DEFAULTS = (COLLECTION / "roles/hostfw/defaults/main.yml").read_text()
CHECK = "- name: Look at the host\n  ansible.builtin.assert: {that: inventory_hostname != ''}\n"
ROLLOUT = "ansible-playbook hostfw.hostfw.rollout -i inventory -e hostfw_directory=$PWD/policies"
OPTIONS = {
    "one batch after the other": """-f 25 -e '{"hostfw_rollout_serial": [1, 5, "100%"]}'"""
    " -e hostfw_rollout_order=inventory -e hostfw_rollout_unreachable=5%"
    " -e hostfw_verify_tasks=$PWD/check.yml -e hostfw_rollout_checks=$PWD/check.yml",
    "what is meant": "--tags install,stage,apply,report -e hostfw_accept_lockout=true -e hostfw_accept_loss=true"
    " -e hostfw_accept_removal=true -e hostfw_break_lock=true -e hostfw_confirm_console=true"
    f" -e ansible_python_interpreter={PYTHON} --become --become-method {'sudo' if shutil.which('sudo') else 'su'}",
    "staged": "--tags stage",
    "reported": "--tags report",
    "not applied": "-e hostfw_apply=false -e hostfw_snapshot_write=false",
    "foretold": "--check --diff -e hostfw_rollout_report=$PWD/report.md",
    "foretold for programs": "--check -e hostfw_rollout_report=$PWD/report.json",
}
"""Options of a rollout; one after the other, on the hosts that the first rollout of the page left."""

ELSEWHERE = {
    "hostfw_package_deb": "every Molecule scenario installs the package by it",
    "hostfw_package_url": "the scenario upgrade fetches a package from a web server",
    **dict.fromkeys(
        ("hostfw_report_to", "hostfw_report_insist"), "the last command of test_the_commands_of_the_readme_work"
    ),
    "hostfw_mask_conflicting": "the scenario coexist retires real units",
    **dict.fromkeys(
        (f"hostfw_render_{name}" for name in ("to", "against", "tests", "report", "reach")),
        "modules/test_render_fleet.py renders two states of a repository",
    ),
}


@pytest.fixture(params=CORES)
def tools(request):
    """The commands of one ansible-core."""
    try:
        return core(request.param)
    except MissingError as error:
        pytest.skip(str(error))


class Controller:
    """A controller where the README's first commands have been typed, with hosts that are directories."""

    def __init__(self, top: Path, tools: Path) -> None:
        self.top = top
        # An interpreter, become or forks of the test's own would hide what those of a user do.
        own = environment()
        own.pop("ANSIBLE_PYTHON_INTERPRETER")
        self.variables = own | {
            # A host's PATH is Debian's: what else lies on the one of this machine is no interpreter of a host.
            "PATH": f"{tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(top),
            "ANSIBLE_HOME": str(top / ".ansible"),
            "ANSIBLE_COLLECTIONS_PATH": str(top / "collections"),
        }

    def type(self, script: str) -> Play:
        """Type commands, up to the first that fails."""
        done = subprocess.run(
            ["sh", "-e"],
            input=script,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.top,
            env=self.variables,
            timeout=600,
        )
        return Play(done.returncode, done.stdout)


@pytest.fixture
def controller(fleet, tools):
    """A controller with web1 and db1 of the page, which are directories: their variables are beside the inventory."""
    fleet.add("web1", "db1")
    fleet.tools = tools
    shared = json.loads(fleet.inventory().read_text())["all"]["vars"]
    shared.pop("ansible_remote_tmp")
    beside = fleet.top / "inventory/group_vars"
    beside.mkdir(parents=True)
    (beside / "all.json").write_text(json.dumps(shared))
    (fleet.top / "inventory.json").unlink()
    (fleet.top / "check.yml").write_text(CHECK)
    shutil.rmtree(fleet.top / "collections")
    found = Controller(fleet.top, tools)
    built = found.type(f"ansible-galaxy collection build {COLLECTION} --output-path .")
    assert built.status == 0, built.text
    return found


def first_commands() -> str:
    """The first block of the page."""
    return README.partition("```sh\n")[2].partition("```")[0]


def test_the_commands_of_the_readme_work(fleet, controller):
    """The first rollout as it stands there, and then every option that the page names, and the way back."""
    first = controller.type(first_commands())
    assert first.status == 0, first.text
    for name in ("web1", "db1"):
        assert "web.yaml" in fleet.etc(name), first.text

    failed = {}
    for what, options in OPTIONS.items():
        done = controller.type(f"{ROLLOUT} {options}")
        if done.status != 0:
            failed[what] = done.text
    reported = controller.type(
        "ansible-playbook hostfw.hostfw.report -i inventory"
        " -e hostfw_report_to=$PWD/fleet.html -e hostfw_report_insist=true"
    )
    back = controller.type("ansible-playbook hostfw.hostfw.back -i inventory --limit web1")

    assert failed == {}
    assert reported.status == 0, reported.text
    assert back.status == 0, back.text
    assert fleet.etc("web1") == {}
    assert "web.yaml" in fleet.etc("db1")
    assert json.loads((fleet.top / "report.json").read_text())["foretold"]
    assert (fleet.top / "report.md").read_text().startswith("### hostfw: ")


def test_what_is_false_on_the_command_line_is_false(fleet, controller):
    """Every switch of the role; nothing is in force then."""
    names = re.findall(r"^(hostfw_\w+): (?:true|false)$", DEFAULTS, re.MULTILINE)
    controller.type(first_commands().partition("ansible-playbook")[0])

    done = controller.type(
        f"{ROLLOUT} {' '.join(f'-e {name}=false' for name in names if name != 'hostfw_confirm_console')}"
    )

    assert done.status == 0, done.text
    assert len(names) > 10
    assert all(fleet.log(name) == [] for name in ("web1", "db1"))


def test_a_role_alone_with_the_free_strategy_is_the_same(fleet, tools):
    """Hosts at their own pace: each gets what all get."""
    fleet.tools = tools
    fleet.add("web1", "web2", "web3", "web4")
    (fleet.state("web2") / "seconds").write_text("3")

    done = fleet.run("role", "-e", f"hostfw_directory={fleet.policies('web')}", ANSIBLE_STRATEGY="free")

    assert done.status == 0, done.text
    for name in fleet.variables:
        assert sorted(fleet.etc(name)) == ["hostfw.yaml", "inventory-endpoints.yaml", "web.yaml"]
        assert fleet.etc(name)["inventory-endpoints.yaml"] == fleet.etc("web1")["inventory-endpoints.yaml"]
        assert len([line for line in fleet.log(name) if line.startswith("accepted")]) == 1


def test_a_local_edit_is_told_before_it_is_overwritten(fleet, tools):
    """Each line of ansible-core has its own way with warnings."""
    fleet.tools = tools
    fleet.add("web1")
    directory = f"hostfw_directory={fleet.policies('web')}"
    assert fleet.run("role", "-e", directory).status == 0
    (fleet.state("web1") / "etc/web.yaml").write_text(POLICY.format(name="web", port=1001))

    done = fleet.run("role", "-e", directory)

    assert done.status == 0, done.text
    assert "was edited since the last run: ~ web.yaml" in " ".join(done.text.split())


def test_every_option_of_the_page_is_executed():
    """One that is added to the page is added here."""
    named = set(re.findall(r"-e '?\{?\"?(hostfw_\w+)", README))
    executed = set(re.findall(r"-e '?\{?\"?(hostfw_\w+)", first_commands() + " ".join(OPTIONS.values())))

    assert named - executed == set(ELSEWHERE) & named


def test_the_newest_line_of_ansible_core_is_among_those_that_are_tried():
    """As the registry of Python packages has it today, for the newest interpreter of this machine."""
    newest = list(CORES)[-1]
    try:
        python = core(newest) / "python"
    except MissingError as error:
        pytest.skip(str(error))
    asked = subprocess.run(
        [python, "-m", "pip", "index", "versions", "ansible-core"], check=False, capture_output=True, text=True
    )
    if asked.returncode != 0:
        pytest.skip(f"the registry does not answer: {asked.stderr.strip()[-200:]}")

    released = asked.stdout.partition("(")[2].partition(")")[0]

    assert line_of(released) in {line_of(version) for version in CORES}, f"{released} is out, and is not tried"


def line_of(version):
    """The numbers that all patch releases of a line share."""
    return tuple(version.split(".")[:2])
