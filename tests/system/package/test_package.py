"""The package on a host: installed, upgraded, removed and purged, with a neighbour knocking meanwhile."""

import re
import subprocess
from pathlib import Path

import pytest

from lab.hosts.host import Host
from lab.hosts.package import install_package
from tests.system.street import CLOSED, OPEN, Street, configure, connects

ROOT = Path(__file__).parents[3]
UNITS = ("hostfw.service", "hostfw-boot.service")
OTHER_TABLE = "table inet others {\n\tcounter kept {\n\t\tpackets 0 bytes 0\n\t}\n}\n"

# What a package manager, the journal and the host itself write, whatever the package; paths of hostfw are never here.
_NOT_OURS = re.compile(r"/(dev|proc|sys|run|tmp|root|var/(cache|log|tmp|lib/(apt|dpkg|systemd|private)))(/|$)")
_DEBIANS = re.compile(r"/usr/share/(doc|lintian)/|/dist-packages/hostfw-|/dist-packages/hostfw/.*\.py/|__pycache__")
"""Paths of the package beyond `make install`, and modules, which both take as they are."""


@pytest.fixture(scope="module")
def next_package(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package as a later build: a higher version, one file changed and one more."""
    folder = tmp_path_factory.mktemp("next")
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*$", r"\g<0>+next", control.read_text()))
    (tree / "usr" / "lib" / "python3" / "dist-packages" / "hostfw" / "later.py").write_text('"""Later."""\n')
    built = folder / "hostfw_next_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, built], check=True, capture_output=True)
    return built


def version(host: Host) -> str:
    """The version that is installed."""
    return host.run(["dpkg-query", "--show", "--showformat=${Version}", "hostfw"]).stdout


def states(host: Host, question: str) -> list[str]:
    """The output of systemctl about both units."""
    return host.run(["systemctl", question, *UNITS], check=False).stdout.split()


def files(host: Host) -> set[str]:
    """Every path of the host that a package may leave something at."""
    found = host.run(["find", "/", "-xdev", "-not", "-path", "*/__pycache__*"]).stdout.splitlines()
    return {path for path in found if not _NOT_OURS.match(path) or "hostfw" in path} - {"/root/hostfw.deb"}


def tables(host: Host) -> list[str]:
    """The nftables tables that there are."""
    return host.run(["nft", "list", "tables"]).stdout.splitlines()


def chains(host: Host) -> str:
    """All chains and rules in force, without the elements of sets, some of which note who was denied."""
    return host.run(["nft", "--stateless", "--terse", "list", "ruleset"]).stdout


def apt(host: Host, *arguments: str) -> str:
    """The output of apt-get without questions."""
    return host.run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet", *arguments]).stdout


def test_installing_changes_nothing_until_something_is_configured(
    bare_host: Host, street: Street, package: Path
) -> None:
    """Both units are enabled and do nothing; no table, no daemon, nothing closed."""
    bare_host.copy_in(package, "/root/new.deb")
    apt(bare_host, "install", "/root/new.deb")

    assert states(bare_host, "is-enabled") == ["enabled", "enabled"]
    assert states(bare_host, "is-active") == ["inactive", "inactive"]
    assert tables(bare_host) == []
    assert connects(street.peer, CLOSED)
    assert bare_host.run(["systemctl", "is-system-running"], check=False).stdout == "running\n"
    assert bare_host.run(["hostfwctl", "version"]).stdout.startswith("hostfw  ")


def test_installing_on_a_configured_host_protects_it(bare_host: Host, street: Street, package: Path) -> None:
    """Whoever lays down the configuration first needs no further command."""
    configure(bare_host)
    assert connects(street.peer, CLOSED)

    install_package(bare_host, package)

    assert states(bare_host, "is-active") == ["active", "active"]
    assert connects(street.peer, OPEN)
    assert not connects(street.peer, CLOSED)


def test_an_upgrade_never_drops_protection(host: Host, street: Street, next_package: Path) -> None:
    """The daemon is a new one, of the new files; the rules have not been touched, nor has the boot unit run again."""
    before, daemon, boot = chains(host), host.pid_of("hostfw"), host.property_of("hostfw-boot", "InvocationID")

    with street.knocking(host) as knocks:
        install_package(host, next_package)
        assert connects(street.peer, OPEN)

    assert version(host).endswith("+next")
    assert knocks.sent > 100
    assert knocks.through == ()
    assert chains(host) == before
    assert states(host, "is-active") == ["active", "active"]
    assert host.pid_of("hostfw") not in (0, daemon)
    assert host.property_of("hostfw-boot", "InvocationID") == boot
    assert host.property_of("hostfw", "NRestarts") == "0"


def test_an_upgrade_leaves_disabled_units_disabled(host: Host, street: Street, next_package: Path) -> None:
    """Units that an administrator has disabled stay disabled."""
    host.run(["systemctl", "disable", "--quiet", "--now", "hostfw", "hostfw-boot"])

    install_package(host, next_package)

    assert states(host, "is-enabled") == ["disabled", "disabled"]
    assert host.pid_of("hostfw") == 0
    assert not connects(street.peer, CLOSED)


def test_removing_leaves_the_rules_until_the_next_boot(host: Host, street: Street) -> None:
    """It says so, with the way to remove them; after the boot nothing has failed and nothing is in force."""
    before = chains(host)
    with street.knocking(host) as knocks:
        said = apt(host, "remove", "hostfw")

    assert knocks.through == ()
    assert chains(host) == before
    assert "hostfw: the firewall rules stay in force until the next boot; the daemon is stopped.\n" in said
    advice = "hostfw: to remove them now: apt purge hostfw (which keeps what you wrote in /etc/hostfw), or nft "
    assert f"{advice}'delete table ip hostfw; delete" in said
    assert states(host, "is-active") == ["inactive", "inactive"]
    host.run(["sh", "-c", said.partition("in /etc/hostfw), or ")[2].splitlines()[0]])
    assert tables(host) == []

    host.reboot()

    assert tables(host) == []
    assert host.run(["systemctl", "is-system-running"], check=False).stdout == "running\n"
    assert host.run(["ls", "/etc/hostfw"]).stdout.split() == ["hostfw.yaml", "policy.yaml"]


def test_installing_again_after_removal_takes_up_what_was_accepted(host: Host, street: Street, package: Path) -> None:
    """Removing keeps the configuration and the state, as it does of every package."""
    apt(host, "remove", "hostfw")
    host.run(["nft", "flush", "ruleset"])
    assert connects(street.peer, CLOSED)

    install_package(host, package)

    assert states(host, "is-enabled") == ["enabled", "enabled"]
    assert connects(street.peer, OPEN)
    assert not connects(street.peer, CLOSED)


def test_purging_leaves_nothing_of_ours_and_all_of_others(bare_host: Host, street: Street, package: Path) -> None:
    """No rule, no file, no link of systemd; other tables and what a person wrote in /etc/hostfw are untouched."""
    before = files(bare_host)
    bare_host.run(["nft", "--file", "-"], text=OTHER_TABLE)
    configure(bare_host)
    install_package(bare_host, package)
    assert not connects(street.peer, CLOSED)
    assert files(bare_host) - before

    with street.knocking(bare_host) as knocks:
        said = apt(bare_host, "purge", "hostfw")

    assert knocks.through, "protection is expected to end with the purge"
    assert "hostfw: /etc/hostfw keeps what you wrote there\n" in said
    assert bare_host.run(["ls", "/etc/hostfw"]).stdout.split() == ["hostfw.yaml", "policy.yaml"]
    bare_host.run(["rm", "-r", "/etc/hostfw"])
    assert files(bare_host) - before == set()
    assert bare_host.run(["nft", "list", "ruleset"]).stdout == OTHER_TABLE
    assert connects(street.peer, CLOSED)
    assert bare_host.run(["systemctl", "list-unit-files", "hostfw*", "--no-legend"], check=False).stdout == ""
    assert bare_host.run(["systemctl", "is-system-running"], check=False).stdout == "running\n"


def test_purging_what_was_removed_before(host: Host) -> None:
    """In two steps it comes to the same, on a host that is blocked as well."""
    host.run(["hostfwctl", "lockdown", "--all"])
    apt(host, "remove", "hostfw")
    assert sorted(tables(host)) == ["table inet hostfw-block", "table ip hostfw", "table ip6 hostfw"]

    apt(host, "purge", "hostfw")

    assert tables(host) == []
    assert host.run(["sh", "-c", "ls -d /var/lib/hostfw /run/hostfw"], check=False).stdout == ""


def test_the_failsafe_script_is_what_an_empty_configuration_compiles_to(host: Host) -> None:
    """Byte for byte, with the facts of a real host."""
    host.run(["mkdir", "/root/nothing"])

    assert host.run(["hostfwctl", "compile", "-f", "/root/nothing"]).stdout == host.read(
        "/usr/share/hostfw/failsafe.nft"
    )


def test_the_boot_unit_says_what_is_in_force(host: Host) -> None:
    """In its status and in the journal, in the same words."""
    said = host.property_of("hostfw-boot", "StatusText")

    assert said == "The last good ruleset is in force: generation 1."
    assert host.journal("-b", "-t", "hostfw-boot").splitlines() == [said]


def test_what_shells_and_readers_need_is_where_they_look(host: Host) -> None:
    """Completions of three shells, pages of five names, the schema and the examples."""
    listed = set(host.run(["dpkg", "--listfiles", "hostfw"]).stdout.split())

    share = "/usr/share"
    assert {
        f"{share}/bash-completion/completions/hostfwctl",
        f"{share}/fish/vendor_completions.d/hostfwctl.fish",
        f"{share}/zsh/vendor-completions/_hostfwctl",
        f"{share}/hostfw/hostfw.schema.json",
        f"{share}/doc/hostfw/examples/README.md",
        *(f"{share}/man/man{page[-1]}/{page}.gz" for page in ("hostfwctl.1", "hostfw.yaml.5", "hostfw-resources.5")),
        *(f"{share}/man/man{page[-1]}/{page}.gz" for page in ("hostfw-audit.7", "hostfw.service.8")),
    } <= listed
    assert not [path for path in listed if "/packages/lab" in path or "__pycache__" in path]


def test_make_install_gives_what_the_package_gives(package: Path, tmp_path: Path) -> None:
    """The same files at the same places, but for what only Debian needs."""
    by_dpkg, by_make = tmp_path / "package", tmp_path / "make"
    subprocess.run(["dpkg-deb", "--extract", package, by_dpkg], check=True)
    subprocess.run(["make", "--quiet", "install", f"DESTDIR={by_make}"], cwd=ROOT, check=True, capture_output=True)

    found = [
        {
            (str(path.relative_to(root)).removesuffix(".gz"), path.stat().st_mode)
            for path in root.rglob("*")
            if not _DEBIANS.search(f"{path}/")
        }
        for root in (by_dpkg, by_make)
    ]
    assert found[1] == found[0]
