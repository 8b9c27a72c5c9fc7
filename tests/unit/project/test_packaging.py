"""The package and its units, as far as files that must agree can be compared without building it."""

import re
from configparser import ConfigParser
from pathlib import Path

import hostfw

ROOT = Path(__file__).parents[3]


def read(path: str) -> str:
    """A file of the repository."""
    return (ROOT / path).read_text()


def unit(name: str) -> ConfigParser:
    """A unit; of a key that is given twice the last one."""
    parser = ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    parser.read_string(read(f"units/{name}"))
    return parser


def test_the_package_has_the_version_of_the_code() -> None:
    """The latest entry of Debian's changelog is that of hostfw.__version__."""
    assert re.match(r"hostfw \((.+)\) ", read("debian/changelog")) is not None
    assert read("debian/changelog").partition("(")[2].partition(")")[0] == hostfw.__version__


def test_the_package_depends_on_what_hostfw_runs_on() -> None:
    """The same packages that `make try` installs; python3 itself comes from the build."""
    runtime = re.search(r"^runtime='(.+)'$", read("tools/bootstrap"), re.MULTILINE)
    depends = read("debian/control").partition("\nDepends:\n")[2].partition("\nDescription:")[0]
    named = {line.split()[0].rstrip(",") for line in depends.splitlines()}

    assert runtime is not None
    assert {name for name in named if "$" not in name} == set(runtime[1].split()) - {"python3"}


def test_what_the_build_needs_is_what_bootstrap_installs() -> None:
    """`make deb` installs every build dependency; debhelper and dh-python by the packages that have them."""
    build = re.search(r"^build='(.+)'$", read("tools/bootstrap"), re.MULTILINE)
    needs = read("debian/control").partition("Build-Depends:\n")[2].partition("\nStandards")[0]
    named = {line.split()[0].rstrip(",") for line in needs.splitlines()}

    assert build is not None
    by_other_names = {"debhelper-compat": "debhelper", "dh-sequence-python3": "dh-python"}
    assert {by_other_names.get(name, name) for name in named} <= set(build[1].split())


def test_both_units_wait_for_something_to_be_configured() -> None:
    """Either of two conditions, the same for both; a host on which the package was merely unpacked stays as it was."""
    conditions = {
        name: re.findall(r"^Condition.+$", read(f"units/{name}"), re.MULTILINE)
        for name in ("hostfw.service", "hostfw-boot.service")
    }

    assert conditions["hostfw.service"] == conditions["hostfw-boot.service"]
    assert conditions["hostfw.service"] == [
        "ConditionDirectoryNotEmpty=|/etc/hostfw",
        "ConditionDirectoryNotEmpty=|/var/lib/hostfw",
    ]


def test_stopping_a_unit_runs_nothing() -> None:
    """Neither has a command that could remove rules."""
    for name in ("hostfw.service", "hostfw-boot.service"):
        assert not {"ExecStop", "ExecStopPost"} & unit(name)["Service"].keys()


def test_the_boot_unit_stands_before_the_network_and_needs_no_mount() -> None:
    """It orders itself; nothing that fails can keep it from starting."""
    found = unit("hostfw-boot.service")["Unit"]

    assert {"network-pre.target", "sysinit.target", "shutdown.target"} <= set(found["Before"].split())
    assert not {"Requires", "RequiresMountsFor", "Requisite", "BindsTo", "PartOf"} & found.keys()
    assert found["DefaultDependencies"] == "no"
    assert "python" not in read("units/hostfw-boot").replace("Without Python", "").lower()


def test_the_preset_enables_the_units_that_there_are() -> None:
    """Those that can be enabled, and no others; readers of workloads are for whoever runs their engines."""
    installable = sorted(path.name for path in (ROOT / "units").glob("*.service") if "[Install]" in path.read_text())

    assert sorted(read("units/90-hostfw.preset").splitlines()) == sorted(
        f"{'disable' if '@' in name else 'enable'} {name}" for name in installable
    )


def test_udev_runs_the_script_of_the_boot_for_devices_alone() -> None:
    """By the path that the unit runs it by, and never for the virtual devices that come by the hundred."""
    (rule,) = (line for line in read("units/90-hostfw.rules").splitlines() if line and not line.startswith("#"))
    command = unit("hostfw-boot.service")["Service"]["ExecStart"]

    assert rule.endswith(f', RUN+="{command} link"')
    assert {'ACTION=="add"', 'SUBSYSTEM=="net"', 'DEVPATH!="/devices/virtual/*"'} <= set(rule.split(", "))
    assert "units/90-hostfw.rules" in read("Makefile")
