"""`apply -f FILE`: nothing goes out of force unless it is said; `--add`, `--replace` and `--accept-loss` say it."""

import json
from pathlib import Path

import pytest

from hostfw.host.nftables.writing.script_runner import NftResult
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

TIER = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: NAME}\nspec: {order: 7}\n"


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    made.hostfwctl("apply")
    return made


@pytest.fixture(name="new")
def _new(host: Machine) -> Path:
    path = host.directory / "new.yaml"
    path.write_text(TIER.replace("NAME", "front"))
    return path


def test_a_file_that_lacks_what_is_in_force_is_refused(host: Machine, new: Path) -> None:
    """It names what would go out of force, and the two ways to say what is meant; nothing changes."""
    committed = len(host.kernel.committed)

    status, out, err = host.hostfwctl("apply", "-f", new)

    assert (status, out) == (1, "")
    assert "2 resources would go out of force, which the files of -f do not have: " in err
    assert "GlobalNetworkPolicy/web" in err
    assert "HostEndpoint/" in err
    assert "--add" in err
    assert "--replace" in err
    assert len(host.kernel.committed) == committed
    assert host.hostfwctl("diff").out == ""


@pytest.mark.parametrize("how", [(), ("--add",), ("--replace",)], ids=["alone", "added", "replacing"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no such file or directory"),
        (TIER.replace("Tier", "Teir"), "Teir"),
        (TIER.replace("order: 7", "order: [7"), "not valid YAML"),
    ],
    ids=["absent", "misspelt", "no YAML"],
)
def test_a_file_that_cannot_be_read_is_refused_for_that(
    host: Machine, new: Path, text: str | None, said: str, how: tuple[str, ...]
) -> None:
    """It is not counted as one that lacks everything: that would send people to `--replace`."""
    new.unlink()
    if text is not None:
        new.write_text(text)

    status, _, err = host.hostfwctl("apply", *how, "-f", new)

    assert status == 3, err
    assert said in err
    assert "would go out of force" not in err
    assert "nothing was changed" in err


def test_settings_that_are_not_among_the_files_would_go_as_well(host: Machine) -> None:
    """A file alone would have the default settings."""
    host.write(hostfw="failsafe: {inbound: [{protocol: tcp, port: 2222}]}")
    host.hostfwctl("apply")
    everything = [host.config / "web.yaml", host.config / "uplink.yaml"]

    assert "the settings" in host.hostfwctl("apply", "-f", *everything).err
    assert host.hostfwctl("apply", "-f", *everything, host.config / "hostfw.yaml").status == 0


def test_diff_says_beforehand_that_it_would_be_refused(host: Machine, new: Path) -> None:
    """Removed resources are listed, with the next step."""
    status, out, err = host.hostfwctl("diff", "-f", new)

    assert status == 1
    assert "- GlobalNetworkPolicy/web" in out
    assert "`apply` of these files alone is refused, as 2 resources would go out of force" in err


def test_a_directory_is_the_whole(host: Machine) -> None:
    """Nothing is asked about a directory whose resources are a few less."""
    folder = host.directory / "staging"
    folder.mkdir()
    (folder / "all.yaml").write_text(f"{WEB}---\n{UPLINK}")
    host.write(tier=TIER.replace("NAME", "front"))
    host.hostfwctl("apply")

    assert host.hostfwctl("apply", "-f", folder).status == 0
    assert "- Tier/front" not in host.hostfwctl("diff", "-f", folder).out


def test_files_of_everything_are_no_question(host: Machine) -> None:
    """Nothing would go out of force."""
    assert host.hostfwctl("apply", "-f", host.config / "web.yaml", host.config / "uplink.yaml").status == 0


def test_add_puts_the_file_beside_the_others_and_applies_all(host: Machine, new: Path) -> None:
    """The active resources stay, and the directory holds what is in force."""
    status, _, err = host.hostfwctl("apply", "--add", "-f", new)

    assert status == 0, err
    assert "etc/new.yaml was written" in err
    assert (host.config / "new.yaml").read_text() == new.read_text()
    assert host.hostfwctl("diff") == (0, "", "no difference\n")
    assert host.hostfwctl("get", "tier", "front", "-o", "name").out == "tier/front\n"


def test_add_replaces_a_resource_where_it_stands(host: Machine, new: Path) -> None:
    """By kind and name, with the comments around it and what else is in that file."""
    host.write(tiers=f"# ours\n{TIER.replace('NAME', 'back')}# between\n---\n{TIER.replace('NAME', 'front')}# end\n")
    host.hostfwctl("apply")
    new.write_text(TIER.replace("NAME", "back").replace("7", "9"))

    assert host.hostfwctl("apply", "--add", "-f", new).status == 0
    back = TIER.replace("NAME", "back").replace("7", "9")
    assert (host.config / "tiers.yaml").read_text() == (
        f"# ours\n{back}# between\n---\n{TIER.replace('NAME', 'front')}# end\n"
    )
    assert not (host.config / "new.yaml").exists()


def test_add_again_changes_nothing(host: Machine, new: Path) -> None:
    """The same file twice is the same as once."""
    host.hostfwctl("apply", "--add", "-f", new)
    before = (host.config / "new.yaml").stat().st_mtime_ns

    status, _, err = host.hostfwctl("apply", "--add", "-f", new)

    assert (status, "was written" in err) == (0, False)
    assert (host.config / "new.yaml").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("name", "text", "status"),
    [
        ("an unknown field", TIER.replace("order", "ordr"), 3),
        ("a policy of a tier that is not there", WEB.replace("spec:", "spec:\n  tier: nowhere"), 3),
        ("no YAML", "a: [", 3),
    ],
)
def test_add_of_what_is_invalid_writes_nothing(host: Machine, new: Path, name: str, text: str, status: int) -> None:
    """The whole is validated before anything is written."""
    new.write_text(text)
    before = {path: path.read_bytes() for path in host.config.iterdir()}

    done = host.hostfwctl("apply", "--add", "-f", new)

    assert done.status == status, f"{name}: {done.err}"
    assert {path: path.read_bytes() for path in host.config.iterdir()} == before


def test_add_of_what_is_refused_is_taken_out_again(host: Machine, new: Path) -> None:
    """As by nftables: the directory goes on saying what is in force."""
    before = {path: path.read_bytes() for path in host.config.iterdir()}
    new.write_text(WEB.replace("80", "81"))
    host.kernel.failures.append(NftResult(ok=False, error="1:1-1: Error: no\n", line=1, column=1))

    assert host.hostfwctl("apply", "--add", "-f", new).status == 1
    assert {path: path.read_bytes() for path in host.config.iterdir()} == before


def test_add_takes_no_directory(host: Machine) -> None:
    """A directory is the whole, which `--add` contradicts."""
    status, _, err = host.hostfwctl("apply", "--add", "-f", host.config)

    assert status == 1
    assert "a directory is the whole" in err


def test_replace_lets_the_files_be_all_there_is(host: Machine) -> None:
    """Resources that the files lack are removed, on purpose."""
    host.write(tier=TIER.replace("NAME", "front"))
    host.hostfwctl("apply")

    assert host.hostfwctl("apply", "--replace", "-f", host.config / "web.yaml", host.config / "uplink.yaml").status == 0
    assert "+ Tier/front" in host.hostfwctl("diff").out


@pytest.mark.parametrize("verb", ["apply", "reload"])
@pytest.mark.parametrize(
    ("name", "remove", "said"),
    [
        ("an empty directory", ("web", "uplink"), "this would lose the only policy and the only HostEndpoint"),
        ("no endpoint of this host", ("uplink",), "this would lose the only HostEndpoint of this host"),
        ("no policy", ("web",), "this would lose the only policy: GlobalNetworkPolicy/web"),
    ],
)
def test_what_lost_everything_of_a_kind_is_refused(
    host: Machine, verb: str, name: str, remove: tuple[str, ...], said: str
) -> None:
    """Nothing changes, and `--accept-loss` does it anyway."""
    committed = len(host.kernel.committed)
    for file in remove:
        (host.config / f"{file}.yaml").unlink()

    refused = host.hostfwctl(verb)

    assert refused.status == 1, name
    assert said in refused.err
    assert "--accept-loss" in refused.err
    assert len(host.kernel.committed) == committed
    assert host.hostfwctl(verb, "--accept-loss").status == 0


def test_the_way_to_do_it_anyway_is_no_other_command(host: Machine, new: Path) -> None:
    """A command that leaves out what was typed would apply other files, for good."""
    refused = host.hostfwctl("apply", "--replace", "--confirm-within", "90s", "-f", new)

    assert refused.status == 1
    assert "add --accept-loss to `hostfwctl apply`" in refused.err
    assert "`hostfwctl apply --accept-loss`" not in refused.err
    assert "hostfwctl apply --accept-loss" not in host.hostfwctl("diff", "-f", new.parent).err

    host.hostfwctl("allow", "tcp/81")
    (host.config / "web.yaml").unlink()
    host.hostfwctl("apply", "--accept-loss")
    removed = host.hostfwctl("remove", "allow-tcp-81")
    assert removed.status == 1
    assert "add --accept-loss\n" in removed.err, removed.err
    assert host.hostfwctl("remove", "allow-tcp-81", "--accept-loss").status == 0


def test_a_loss_in_another_words_is_one_as_well(host: Machine) -> None:
    """The endpoint is there, and of a host with another name."""
    (host.config / "uplink.yaml").write_text(UPLINK.replace("web1", "web2"))

    refused = host.hostfwctl("apply")

    assert refused.status == 1
    assert "this would lose the only HostEndpoint of this host" in refused.err


@pytest.mark.parametrize(("before", "after", "status"), [(4, 1, 0), (6, 3, 0), (6, 2, 1), (40, 19, 1), (40, 21, 0)])
def test_more_than_half_of_many_is_most(host: Machine, before: int, after: int, status: int) -> None:
    """Of a few resources some may go without a question."""

    def policies(count: int) -> None:
        host.write(web="---\n".join(WEB.replace("name: web", f"name: web-{number}") for number in range(count)))

    policies(before)
    host.hostfwctl("apply", "--accept-loss")
    policies(after)

    assert host.hostfwctl("apply").status == status


def test_a_loss_is_data_with_json(host: Machine) -> None:
    """A program is told as a person is."""
    (host.config / "web.yaml").unlink()

    result = json.loads(host.hostfwctl("apply", "-o", "json").out)

    assert result["result"] == "failed"
    assert "GlobalNetworkPolicy/web" in result["message"]


def test_the_way_back_to_few_resources_is_to_be_meant(host: Machine) -> None:
    """A rollback to a generation without most of what is accepted is refused as an apply of it is."""
    host.write(more="---\n".join(WEB.replace("name: web", f"name: more-{number}") for number in range(9)))
    assert host.hostfwctl("apply").status == 0

    refused = host.hostfwctl("rollback", "--to", "1")

    assert refused.status == 1
    assert "this would lose 9 of 10 policies: GlobalNetworkPolicy/more-0" in refused.err
    assert "add --accept-loss to `hostfwctl rollback --to 1`" in refused.err
    assert host.hostfwctl("rollback", "--to", "1", "--accept-loss").status == 0
