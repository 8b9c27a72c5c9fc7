"""`hostfwctl init`: propose a first configuration that closes nothing of what is reachable now."""

from argparse import ArgumentParser

from hostfw.cli.command_line.options import Options
from hostfw.cli.engine import observe
from hostfw.cli.outcomes import complain_of, this_host
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.help_page import Page
from hostfw.doctor.environment import OTHER_UNITS, other_firewalls
from hostfw.engine.outcomes import Failed
from hostfw.host.store.atomic_files import WriteError, write_atomically
from hostfw.host.store.configuration.files import read_configuration
from hostfw.host.systemd.surroundings import look_at_firewalls
from hostfw.model.settings import Settings
from hostfw.quick.starter import OtherFirewall, starter

FILE = "start.yaml"


USAGE = "[--write]"
HELP = Page(
    """\
Look at this host, and propose a configuration to begin with: a HostEndpoint for
each interface, a policy that lets in what reaches the programs which listen now
and the ports that others publish, and one that lets everything out. Each line
says why it is there. What listens on loopback alone stays there. Other
firewalls of the host, such as ufw, firewalld, Docker and libvirt, are named
at the top, each with what to do about it.

Nothing is put into force. Read it and take out what nobody should reach; then
`hostfwctl apply --confirm-within 2m` puts it into force for two minutes, and
`hostfwctl confirm`, over a new ssh connection, for good.""",
    """\
hostfwctl init
sudo hostfwctl init --write""",
    """\
0  done
1  the configuration directory is not empty, or cannot be written
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument(
        "--write",
        action="store_true",
        help="write it to the configuration directory, which must be empty; nothing is put into force",
    )


def run(options: Options, console: Console) -> ExitCode:
    """Print the proposal, or with --write make it the configuration of a host that has none."""
    configuration, problems = read_configuration(options.config_dir)
    if options.write and (configuration.resources or problems) and options.config_dir.exists():
        hint = "`hostfwctl init` without --write prints the proposal"
        return complain_of(Failed(f"{options.config_dir} is not empty", hint=hint), console)
    others = tuple(
        OtherFirewall(one.message, one.next) for one in other_firewalls(look_at_firewalls(tuple(OTHER_UNITS)))
    )
    text = starter(observe(options, Settings()), this_host().services(), others)
    if not options.write:
        console.data(text.rstrip("\n"))
        return ExitCode.DONE
    path = options.config_dir / FILE
    try:
        options.config_dir.mkdir(mode=0o755, exist_ok=True)
        write_atomically(path, text.encode(), 0o644)
    except (OSError, WriteError) as error:
        return complain_of(Failed(str(error)), console)
    console.say(f"{path} was written; nothing is in force by it yet")
    for other in others:
        console.say(f"{other.effect}. Next: {other.next}")
    console.say("next: read it, then `hostfwctl apply --confirm-within 2m`")
    return ExitCode.DONE
