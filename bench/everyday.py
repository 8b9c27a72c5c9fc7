"""Ten everyday tasks, side by side with ufw and firewalld on one Debian host: commands, keystrokes, seconds.

    sudo python3 -m bench.everyday [--write]      --write puts the table into docs/everyday.md

The host boots systemd in a container and ends with the program; its image, with ufw and firewalld, is made at the first
run, which takes a network. Each firewall does the tasks in their order, beginning with none in force, and a neighbour
knocks after each: a task that does not have the effect that it should have ends the program. In a first round, which is
not timed, the host reboots after each change, and the neighbour knocks again. Keystrokes are the characters of the
commands, each with its Enter. Seconds are medians of whole commands, typing left out.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

from lab.hosts.host import Host, debian
from lab.hosts.image import Release, root_image, why_no_hosts
from lab.hosts.package import build_package, install_package
from lab.hosts.wire import Uplink, neighbour, wire
from lab.namespace import LabError, Namespace, run
from lab.topology import assigned

ROUNDS = 3
FIREWALLS = ("hostfw", "ufw", "firewalld")
HOST, FRIEND, STRANGER = "10.77.0.2", "10.77.0.1", "10.77.0.9"
WEB, DATABASE, OTHER = 8080, 5432, 9000
_EXTRA = ("firewalld", "ufw")
_ROOT = Path(__file__).parents[1]
_PAGE = _ROOT / "docs/everyday.md"
_BEGIN, _END = "<!-- bench.everyday -->\n", "<!-- end -->\n"
_LISTENER = (
    "import socket, time\n"
    f"held = [socket.create_server(('', port)) for port in {(WEB, DATABASE, OTHER)}]\n"
    "time.sleep(86400)\n"
)
_CONNECT = (
    "import socket, sys\n"
    "source, host, port = sys.argv[1:]\n"
    "try:\n"
    "    socket.create_connection((host, int(port)), 0.7, (source, 0)).close()\n"
    "except OSError:\n"
    "    sys.exit(1)\n"
)
"""A neighbour's knock; what is denied answers late, or never."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something that somebody wants done: the commands of each firewall, none where it cannot be done.

    `opened` are the knocks afterwards: who reaches which port or not. `says` is a text that the last command of each
    prints. `remark` is about firewalls that cannot do it, or do something less.
    """

    name: str
    commands: Mapping[str, tuple[str, ...]]
    opened: tuple[tuple[str, int, bool], ...] = ()
    says: Mapping[str, str] | None = None
    remark: str = ""


def _reload(*changes: str) -> tuple[str, ...]:
    """The commands of firewalld for changes that last."""
    return (*(f"firewall-cmd --permanent {change}" for change in changes), "firewall-cmd --reload")


_RICH = f"rule family=ipv4 source address={FRIEND}/32 port port={DATABASE} protocol=tcp accept"

TASKS = (
    Task(
        "begin: close everything but ssh, now and after a reboot",
        {
            "hostfw": ("hostfwctl allow ssh",),
            "ufw": ("ufw allow ssh", "ufw --force enable"),
            "firewalld": ("systemctl enable --now firewalld",),
        },
        ((FRIEND, 22, True), (FRIEND, WEB, False), (STRANGER, DATABASE, False)),
    ),
    Task(
        "open a port",
        {
            "hostfw": (f"hostfwctl allow {WEB}/tcp",),
            "ufw": (f"ufw allow {WEB}/tcp",),
            "firewalld": _reload(f"--add-port={WEB}/tcp"),
        },
        ((FRIEND, WEB, True), (STRANGER, WEB, True), (FRIEND, OTHER, False)),
    ),
    Task(
        "open a port to one address",
        {
            "hostfw": (f"hostfwctl allow tcp/{DATABASE} from {FRIEND}",),
            "ufw": (f"ufw allow from {FRIEND} to any port {DATABASE} proto tcp",),
            "firewalld": _reload(f"--add-rich-rule='{_RICH}'"),
        },
        ((FRIEND, DATABASE, True), (STRANGER, DATABASE, False)),
    ),
    Task(
        "block an address, whatever is open",
        {
            "hostfw": (f"hostfwctl deny {STRANGER}",),
            "ufw": (f"ufw insert 1 deny from {STRANGER}",),
            "firewalld": _reload(f"--zone=drop --add-source={STRANGER}"),
        },
        ((STRANGER, WEB, False), (FRIEND, WEB, True)),
    ),
    Task(
        "list the rules in force",
        {"hostfw": ("hostfwctl rules",), "ufw": ("ufw status numbered",), "firewalld": ("firewall-cmd --list-all",)},
        says={"hostfw": f"tcp/{WEB}", "ufw": f"{WEB}/tcp", "firewalld": f"{WEB}/tcp"},
        remark="firewalld lists one zone: not the address that is blocked",
    ),
    Task(
        "see who reaches each program that listens",
        {"hostfw": ("hostfwctl exposure",), "ufw": ("ufw show listening",)},
        says={"hostfw": f"tcp/{OTHER}", "ufw": f"{OTHER}"},
        remark="ufw lists rules by port; firewalld has nothing",
    ),
    Task(
        "ask whether one packet passes, and why",
        {"hostfw": (f"hostfwctl explain {STRANGER} host:{WEB}; test $? = 10",)},
        says={"hostfw": "quick.deny-10-77-0-9"},
        remark="ufw and firewalld have nothing",
    ),
    Task(
        "close that port again",
        {
            "hostfw": (f"hostfwctl remove allow {WEB}/tcp",),
            "ufw": (f"ufw delete allow {WEB}/tcp",),
            "firewalld": _reload(f"--remove-port={WEB}/tcp"),
        },
        ((FRIEND, WEB, False), (FRIEND, DATABASE, True)),
    ),
    Task(
        "unblock the address",
        {
            "hostfw": (f"hostfwctl remove deny {STRANGER}",),
            "ufw": (f"ufw delete deny from {STRANGER}",),
            "firewalld": _reload(f"--zone=drop --remove-source={STRANGER}"),
        },
        ((STRANGER, 22, True), (STRANGER, DATABASE, False)),
    ),
    Task(
        "turn it off, now and after a reboot",
        {
            "hostfw": ("hostfwctl disable --remove-rules",),
            "ufw": ("ufw disable",),
            "firewalld": ("systemctl disable --now firewalld",),
        },
        ((STRANGER, DATABASE, True), (STRANGER, OTHER, True)),
    ),
)
"""The tasks, in the order in which they are done."""


@dataclass(frozen=True, slots=True)
class Result:
    """A task as one firewall does it: the number of commands, keystrokes, and the median of seconds."""

    commands: int
    keystrokes: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.commands} / {self.keystrokes} / {self.seconds:.2f} s"


Results = Mapping[tuple[str, str], Result]
"""Results by task and firewall."""


def main() -> int:
    """Measure, print the table, and write it into the page if that is asked for. Returns the exit status."""
    reason = why_no_hosts()
    if reason is not None:
        print(f"bench.everyday: {reason}", file=sys.stderr)
        return 1
    try:
        results = measured()
    except LabError as error:
        print(f"bench.everyday: {error}", file=sys.stderr)
        return 1
    table = "".join(f"{line}\n" for line in rows(results))
    print(table, end="")
    for task in more_commands(results):
        print(f"hostfw needs more commands: {task}", file=sys.stderr)
    if "--write" in sys.argv[1:]:
        head, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
        _PAGE.write_text(f"{head}{_BEGIN}{table}{_END}{rest.partition(_END)[2]}", encoding="utf-8")
    return 0


def more_commands(results: Results) -> Sequence[str]:
    """The tasks for which hostfw needs more commands than the better of the others."""
    return [
        task.name
        for task in TASKS
        if (others := [results[task.name, each].commands for each in FIREWALLS[1:] if each in task.commands])
        and results[task.name, "hostfw"].commands > min(others)
    ]


def lines() -> Iterator[str]:
    """The table for `python3 -m bench`, or why there is none."""
    reason = why_no_hosts()
    if reason is not None:
        yield f"everyday tasks: not measured: {reason}"
        return
    yield from rows(measured())


def rows(results: Results) -> Iterator[str]:
    """The table in Markdown: of each task and firewall commands, keystrokes and seconds."""
    yield f"| task | {' | '.join(FIREWALLS)} | |"
    yield f"|---|{'---|' * (len(FIREWALLS) + 1)}"
    for task in TASKS:
        cells = [str(results.get((task.name, firewall), "no")) for firewall in FIREWALLS]
        yield f"| {task.name} | {' | '.join(cells)} | {task.remark} |"
    for title, of in (("all that each can do", TASKS), ("what all three can do", _done_by_all())):
        totals = [[results[task.name, each] for task in of if each in task.commands] for each in FIREWALLS]
        sums = [Result(*(sum(of_one) for of_one in zip(*map(_figures, total), strict=True))) for total in totals]
        yield f"| **{title}** | {' | '.join(map(str, sums))} | |"


def _figures(result: Result) -> tuple[int, int, float]:
    return result.commands, result.keystrokes, result.seconds


def _done_by_all() -> tuple[Task, ...]:
    return tuple(task for task in TASKS if task.commands.keys() == set(FIREWALLS))


def measured(of: Release = Release.TRIXIE) -> Results:
    """Have each firewall do the tasks, on one host. Raises LabError where one has not the effect that it should."""
    root_image(of, _EXTRA)
    seconds: dict[tuple[str, str], list[float]] = {}
    with (
        TemporaryDirectory() as directory,
        wire() as laid,
        neighbour(laid, "peer", f"{FRIEND}/24", f"{STRANGER}/24") as peer,
        debian(of, "everyday", [Uplink(laid, addresses=assigned(f"{HOST}/24"))], extra=_EXTRA) as host,
    ):
        install_package(host, build_package(_ROOT, Path(directory)))
        host.run(["systemctl", "disable", "--now", "firewalld"])
        _listen(host)
        for number in range(ROUNDS + 1):
            for firewall in FIREWALLS:
                _clear(host)
                for task in TASKS:
                    if firewall not in task.commands:
                        continue
                    took = _do(host, peer, firewall, task)
                    if number:
                        seconds.setdefault((task.name, firewall), []).append(took)
                    elif task.opened:
                        host.reboot()
                        _listen(host)
                        _look(peer, firewall, task, "after a reboot")
    return {
        (task.name, firewall): Result(
            len(commands), sum(len(_typed(command)) + 1 for command in commands), median(seconds[task.name, firewall])
        )
        for task in TASKS
        for firewall, commands in task.commands.items()
    }


def _clear(host: Host) -> None:
    """Bring the host back to no firewall at all, with none of their changes."""
    host.run(["sh", "-c", "rm -rf /etc/hostfw/* /var/lib/hostfw/* /etc/firewalld/zones/*"])
    host.run(["ufw", "--force", "reset"])
    host.run(["systemctl", "stop", "firewalld", "ufw", "hostfw"], check=False)
    host.run(["nft", "flush", "ruleset"])


def _do(host: Host, peer: Namespace, firewall: str, task: Task) -> float:
    """Do a task, and look whether it is done. Gives the seconds that its commands took."""
    took, said = 0.0, ""
    for command in task.commands[firewall]:
        began = perf_counter()
        said = host.run(["sh", "-c", command]).stdout
        took += perf_counter() - began
    wanted = (task.says or {}).get(firewall, "")
    if wanted not in said:
        raise LabError(f"{firewall}: {task.name}: the output does not have {wanted!r}:\n{said}")
    _look(peer, firewall, task, "at once")
    return took


def _listen(host: Host) -> None:
    host.run(["systemd-run", "--quiet", "--unit=listener", "/usr/bin/python3", "-c", _LISTENER])


def _look(peer: Namespace, firewall: str, task: Task, when: str) -> None:
    """Knock, and raise LabError if anything is otherwise than the task says."""
    astray = [knock for knock in task.opened if not _is_so(peer, knock)]
    if astray:
        raise LabError(f"{firewall}: {task.name}: {when} these did not go as they should: {astray}")


def _is_so(peer: Namespace, knock: tuple[str, int, bool]) -> bool:
    """Look whether a port is as open to an address as it should be, within some seconds."""
    source, port, is_open = knock
    for _ in range(10):
        done = run(peer, [sys.executable, "-c", _CONNECT, source, HOST, str(port)], check=False)
        if (done.returncode == 0) is is_open:
            return True
        sleep(0.3)
    return False


def _typed(command: str) -> str:
    """The command without a script's check of its exit status, which nobody types."""
    return command.partition(";")[0]


if __name__ == "__main__":
    sys.exit(main())
