"""Two runs at once, from one controller or two: one is refused, and what is accepted is what one of them packed."""

import signal

from conftest import wait_until


def _start(fleet, *names):
    """Start a run that takes long to put a configuration into force, and wait until it has the lock."""
    for host in fleet.variables:
        (fleet.state(host) / "seconds").write_text("20")
    folder = fleet.policies(*names, folder="first")
    running = fleet.start("role", "-e", f"hostfw_directory={folder}")
    wait_until(lambda: all((fleet.state(host) / "lock/turn").exists() for host in fleet.variables), 120)
    return running


def test_a_second_run_is_refused_and_the_first_one_is_not_disturbed(fleet):
    """By the name of the other one; the staging directory of the first is its own, and gone in the end."""
    fleet.add("web1")
    running = _start(fleet, "first")

    refused = fleet.run("rollout", "-e", f"hostfw_directory={fleet.policies('second', folder='second')}")
    said, _ = running.communicate(timeout=300)

    assert refused.status != 0
    assert "another run of" in refused.text
    assert running.returncode == 0, said
    assert sorted(fleet.etc("web1")) == ["first.yaml", "hostfw.yaml", "inventory-endpoints.yaml"]
    assert not list(fleet.state("web1").glob("staging*"))
    assert not (fleet.state("web1") / "lock/turn").exists()


def test_a_run_that_was_killed_is_no_hindrance(fleet):
    """The next one of this controller sees that it has ended."""
    fleet.add("web1")
    running = _start(fleet, "first")
    running.send_signal(signal.SIGKILL)
    running.wait()
    # Its workers go on for a moment, and hold the other end.
    running.stdout.close()
    (fleet.state("web1") / "seconds").unlink()

    done = fleet.run("role", "-e", f"hostfw_directory={fleet.policies('second', folder='second')}")

    assert done.status == 0, done.text
    assert "second.yaml" in fleet.etc("web1")


def test_what_something_else_wrote_into_the_staging_directory_is_not_put_into_force(fleet):
    """It has another digest than what was packed."""
    fleet.add("web1")
    command = fleet.state("web1") / "hostfwctl"
    command.write_text(
        command.read_text().replace("exec", 'case "$*" in *validate*) echo "# meanwhile" >>web.yaml ;; esac\nexec')
    )

    done = fleet.run("role", "-e", f"hostfw_directory={fleet.policies('web')}")

    assert done.status != 0
    assert "it is not what this run packed" in done.text
    assert fleet.log("web1") == []


def test_a_confirmation_keeps_what_this_run_put_into_force_and_nothing_else(fleet):
    """Something else applied another configuration while the host was verified."""
    fleet.add("web1")
    other = fleet.policies("other", folder="other")
    (fleet.top / "verify.yml").write_text(
        "- name: Apply something else\n"
        "  ansible.builtin.command:\n"
        f"    argv: [{fleet.state('web1')}/hostfwctl, apply, -f, ., --confirm-within, 60s]\n"
        f"    chdir: {other}\n"
    )
    arguments = ("-e", f"hostfw_directory={fleet.policies('web')}")

    done = fleet.run("role", *arguments, "-e", f"hostfw_verify_tasks={fleet.top}/verify.yml")

    assert done.status != 0
    assert "is not what this run put into force" in " ".join(done.text.split())
    assert "web.yaml" not in fleet.etc("web1")
    assert not any(line.startswith("accepted") for line in fleet.log("web1"))
