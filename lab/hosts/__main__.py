"""The command line of the hosts: up, down, exec, restart, list.

    sudo python3 -m lab.hosts up web1 --release 12 --authorized-key ~/.ssh/id_ed25519.pub
    sudo ip netns exec hf-hosts ssh root@10.77.0.11
    sudo python3 -m lab.hosts down web1

Exit status: 0 done, 1 failed, 2 for a command line that is wrong; `exec` ends with what the command ended with.
"""

import argparse
import json
import sys
from ipaddress import ip_interface
from pathlib import Path

from lab.hosts.image import release, root_image, why_no_hosts
from lab.hosts.standing import (
    NETNS,
    Standing,
    authorize,
    execute,
    install_standing,
    put_up,
    restart,
    standing_host,
    standing_hosts,
    take_down,
)
from lab.namespace import LabError


def main() -> int:
    """Do what the command line says. Returns the exit status."""
    options = _parser().parse_args()
    unable = why_no_hosts()
    if unable:
        print(f"hosts: {unable}", file=sys.stderr)
        return 1
    try:
        return _do(options)
    except LabError as error:
        print(f"hosts: {error}", file=sys.stderr)
        return 1


def _do(options: argparse.Namespace) -> int:
    match options.verb:
        case "up":
            host = put_up(options.name, options.release, options.netns, options.address, options.controller)
            for path in options.authorized_key:
                authorize(host, path.read_text())
            for path in options.package:
                install_standing(host, path)
            print(json.dumps(_told(host)))
        case "down":
            hosts = standing_hosts() if options.all else map(standing_host, options.names)
            for host in hosts:
                take_down(host)
        case "restart":
            print(json.dumps(_told(restart(standing_host(options.name)))))
        case "exec":
            command = options.command[1:] if options.command[:1] == ["--"] else options.command
            return execute(standing_host(options.name), command or ["sh"]).returncode
        case "image":
            print(root_image(options.release))
        case _:
            print(json.dumps([_told(host) for host in standing_hosts()]))
    return 0


def _told(host: Standing) -> dict[str, str | int | list[str] | None]:
    """The data that others need to reach a host. `leader` is null when it is off."""
    return {
        "name": host.name,
        "release": host.release.number,
        "netns": host.netns,
        "addresses": list(host.addresses),
        "leader": host.leader,
        "tree": str(host.tree.directory),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m lab.hosts", description="Debian hosts for tests.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="put a host up; prints how to reach it, as JSON")
    up.add_argument("name")
    up.add_argument("--release", type=release, required=True, help="12 or 13")
    up.add_argument("--netns", default=NETNS, help=f"the namespace of its wire, made if missing (default {NETNS})")
    up.add_argument(
        "--address", type=ip_interface, action="append", default=[], help="ADDRESS/LENGTH of eth0; may be repeated"
    )
    up.add_argument(
        "--controller", type=ip_interface, action="append", default=[], help="ADDRESS/LENGTH of the namespace itself"
    )
    up.add_argument("--authorized-key", type=Path, action="append", default=[], metavar="FILE", help="for root's ssh")
    up.add_argument("--package", type=Path, action="append", default=[], metavar="DEB", help="install it")
    down = verbs.add_parser("down", help="take hosts down and remove their disks")
    down.add_argument("names", metavar="NAME", nargs="*")
    down.add_argument("--all", action="store_true", help="every host that stands")
    again = verbs.add_parser("restart", help="shut a host down and start it with an empty ruleset and the same disk")
    again.add_argument("name")
    run = verbs.add_parser("exec", help="run a command in a host")
    run.add_argument("name")
    run.add_argument("command", nargs=argparse.REMAINDER)
    verbs.add_parser("list", help="list the hosts that stand, as JSON")
    image = verbs.add_parser("image", help="make the root image of a release, if it is not there; prints its path")
    image.add_argument("release", type=release)
    return parser


if __name__ == "__main__":
    sys.exit(main())
