"""Words of other firewalls: each is answered with commands that exist."""

import re
import shlex

import pytest

from hostfw.cli.other_words import VERBS_ELSEWHERE, meant
from hostfw.cli.parser import UsageError, parse
from hostfw.cli.verb_table import VERBS
from hostfw.host.network.service_names import ports_of_service
from hostfw.model.values import Action
from hostfw.quick.words import parse_words
from tests.unit.cli_runs import hostfwctl

_COMMAND = re.compile(r"`hostfwctl ([^`]*)`")


def commands(text: str) -> list[list[str]]:
    """The commands of hostfwctl that a text names, word by word."""
    return [shlex.split(found) for found in _COMMAND.findall(text)]


@pytest.mark.parametrize("word", sorted(VERBS_ELSEWHERE))
def test_a_word_of_another_firewall_is_answered(word: str) -> None:
    """Exit status 2, and the hint names commands that mean something; none of the words is one of our own verbs."""
    status, out, err = hostfwctl(word, "8080")

    assert (status, out) == (2, "")
    assert "\n  hint: " in err
    assert "{" not in err
    assert "did you mean" not in err
    assert word not in {verb.name for verb in VERBS}
    for command in commands(" ".join(err.split())):
        assert takes(command), command


@pytest.mark.parametrize("word", sorted(word for word in VERBS_ELSEWHERE if not word.startswith("-")))
def test_a_word_behind_an_option_is_answered_as_well(word: str) -> None:
    """As it is alone: nobody who types `enable` is led to `disable`, which is spelled like it."""
    assert hostfwctl("--quiet", word, "8080") == hostfwctl(word, "8080")
    assert hostfwctl("--config-dir", "/x", word) == hostfwctl(word)


TYPED: list[tuple[str, str]] = [
    # what must not be answered with its opposite, or with a command that is none
    ("panic off", "`hostfwctl unblock`"),
    ("panic on", "`hostfwctl lockdown`"),
    ("undeny 192.0.2.7", "`hostfwctl remove deny 192.0.2.7`"),
    ("unallow tcp/80", "`hostfwctl remove allow tcp/80`"),
    ("disallow 80/tcp", "`hostfwctl remove allow 80/tcp`"),
    ("lockdown off", "`hostfwctl unblock`"),
    ("lockdown status", "`hostfwctl status`"),
    ("lockdown 30m", "`hostfwctl lockdown --for 30m`"),
    ("lockdown 192.0.2.7", "`hostfwctl deny 192.0.2.7`"),
    ("unblock 192.0.2.7", "`hostfwctl remove deny 192.0.2.7`"),
    ("unblock now", "`hostfwctl unblock`"),
    ("history list", "`hostfwctl history`"),
    ("history 3", "`hostfwctl rollback --to 3`"),
    ("rollback previous", "`hostfwctl rollback --to NUMBER`"),
    ("rollback 3", "`hostfwctl rollback --to 3`"),
    ("drops 192.0.2.7", "`hostfwctl drops`"),
    ("drops yesterday", "`hostfwctl drops --since yesterday`"),
    ("counters all", "`hostfwctl counters`"),
    ("counters reset", "`hostfwctl counters --rate 10s`"),
    ("counters web", "`hostfwctl counters --policy web`"),
    # ufw
    ("enable", "`systemctl enable --now hostfw`"),
    ("status numbered", "`hostfwctl rules`"),
    ("status verbose", "`hostfwctl status -v`"),
    ("open 8080", "`hostfwctl allow 8080`"),
    ("open 8080/tcp", "`hostfwctl allow 8080/tcp`"),
    ("close 8080/tcp", "`hostfwctl remove allow 8080/tcp`"),
    ("reject 25/tcp", "`hostfwctl deny 25/tcp`"),
    ("limit ssh", "`hostfwctl allow ssh from 10.0.0.0/8`"),
    ("delete allow 22", "`hostfwctl rules`"),
    ("insert 1 allow 22", "`hostfwctl allow tcp/8080`"),
    ("logging on", "`hostfwctl drops`"),
    ("app list", "`hostfwctl allow http`"),
    ("show added", "`hostfwctl rules`"),
    ("default deny incoming", "/etc/hostfw/hostfw.yaml"),
    ("route allow in on eth0", "`applyOnForward: true`"),
    ("reset", "`hostfwctl disable`"),
    # firewalld
    ("--add-port=80/tcp", "`hostfwctl allow 80/tcp`"),
    ("--add-port 80/tcp", "`hostfwctl allow 80/tcp`"),
    ("--permanent --add-port=80/tcp", "`hostfwctl allow 80/tcp`"),
    ("--zone=public --add-service=https", "`hostfwctl allow https`"),
    ("--remove-port=80/tcp", "`hostfwctl remove allow 80/tcp`"),
    ("--add-source=192.0.2.0/24", "`hostfwctl allow tcp/22 from 192.0.2.0/24`"),
    ("--list-all", "`hostfwctl rules`"),
    ("--zone=public --list-all", "`hostfwctl rules`"),
    ("--list-ports", "`hostfwctl rules`"),
    ("--get-active-zones", "`hostfwctl interfaces`"),
    ("--add-masquerade", "a table of your own"),
    ("--runtime-to-permanent", "every change of hostfw lasts"),
    ("--permanent", "every change of hostfw lasts"),
    ("--complete-reload", "`hostfwctl reload`"),
    ("--state", "`hostfwctl status`"),
    ("--panic-on", "`hostfwctl lockdown`"),
    ("--panic-off", "`hostfwctl unblock`"),
    # iptables and nft
    ("-L -n -v", "`hostfwctl rules`"),
    ("-nvL", "`hostfwctl rules`"),
    ("-t nat -L", "`hostfwctl rules`"),
    ("-A INPUT -p tcp --dport 80 -j ACCEPT", "`hostfwctl allow tcp/8080`"),
    ("-R INPUT 1", "`hostfwctl allow tcp/8080`"),
    ("-F", "`hostfwctl disable`"),
    ("-P INPUT DROP", "what no rule allows is denied"),
    ("-Z", "`hostfwctl counters --rate 10s`"),
    ("list ruleset", "`hostfwctl rules`"),
    ("add rule inet filter input", "`hostfwctl allow tcp/8080`"),
    ("flush ruleset", "`hostfwctl disable`"),
    ("monitor", "`hostfwctl drops --follow`"),
    ("-f x.nft", "`hostfwctl apply --add -f FILE`"),
    # kubectl and calicoctl
    ("apply --dry-run", "`hostfwctl diff`"),
    ("apply -f x.yaml --dry-run=server", "`hostfwctl diff`"),
    ("apply x.yaml", "`hostfwctl apply --add -f x.yaml`"),
    ("create -f x.yaml", "`hostfwctl apply --add -f FILE`"),
    ("replace -f x.yaml", "`hostfwctl apply --add -f FILE`"),
    ("delete gnp web", "then `hostfwctl apply`"),
    ("edit gnp web", "`hostfwctl diff`"),
    ("logs -f", "`hostfwctl drops`"),
    ("get gnp -A", "there are no namespaces"),
    ("api-resources", "`hostfwctl get gnp`"),
    ("node status", "`hostfwctl interfaces`"),
    ("top", "`hostfwctl counters`"),
    ("kubectl get gnp", "`hostfwctl get gnp`"),
    ("rollout undo", "`hostfwctl rollback`"),
    ("rollout status", "`hostfwctl status`"),
    ("events", "`hostfwctl drops`"),
    # the name of another program before its words
    ("ufw allow 22", "leave ufw out: `hostfwctl allow 22`"),
    ("ufw status numbered", "`hostfwctl rules`"),
    ("ufw enable", "`systemctl enable --now hostfw`"),
    ("ufw delete 3", "`hostfwctl rules`"),
    ("firewall-cmd --list-all", "`hostfwctl rules`"),
    ("firewall-cmd --permanent --add-port=80/tcp", "`hostfwctl allow 80/tcp`"),
    ("iptables -L -n", "`hostfwctl rules`"),
    ("iptables -A INPUT -p tcp --dport 22 -j ACCEPT", "`hostfwctl allow tcp/8080`"),
    ("iptables -t nat -A POSTROUTING -j MASQUERADE", "a table of your own"),
    ("nft list ruleset", "`hostfwctl rules`"),
    ("systemctl restart hostfw", "`systemctl restart hostfw`"),
    ("iptables", "`hostfwctl rules`"),
    # more of the same programs
    ("prepend deny from 1.2.3.4", "peers that are denied come before"),
    ("--info-zone=public", "`hostfwctl interfaces`"),
    ("--list-interfaces", "`hostfwctl interfaces`"),
    ("--add-icmp-block=echo-request", "`hostfwctl deny ping`"),
    ("--remove-icmp-block=echo-request", "`hostfwctl remove deny ping`"),
    ("--remove-rich-rule=x", "`hostfwctl rules`"),
    ("--new-ipset=x", "`hostfwctl set list`"),
    ("--ipset=x --add-entry=192.0.2.7", "`hostfwctl set list`"),
    ("-t nat -A POSTROUTING -j MASQUERADE", "a table of your own"),
    ("-t nat -I PREROUTING -p tcp", "a table of your own"),
    ("-j DROP", "`hostfwctl allow tcp/8080`"),
    ("-s 1.2.3.4 -j DROP", "`hostfwctl allow tcp/8080`"),
    ("iptables-save", "`hostfwctl rules`"),
    ("iptables-restore rules.v4", "`hostfwctl import iptables-save`"),
    ("list sets", "`hostfwctl set list`"),
    ("list set ip hostfw external/bans", "`hostfwctl set list`"),
    ("list tables", "`hostfwctl rules`"),
    ("add element ip hostfw bans", "`hostfwctl set list`"),
    ("delete element ip hostfw bans", "`hostfwctl set list NAME`"),
    ("flush set ip hostfw bans", "`hostfwctl set list NAME`"),
    ("ipset add bans 1.2.3.4", "`hostfwctl set list`"),
    ("sets", "`hostfwctl set list`"),
    ("set flush bans", "`hostfwctl set list NAME`"),
    ("set delete bans 192.0.2.7", "`hostfwctl set del NAME ADDRESS`"),
    ("set create bans", "a Feed with `external: true`"),
    ("is-active", "`systemctl`"),
    ("daemon-reload", "`hostfwctl reload`"),
    ("cat hostfw", "`systemctl`"),
    ("rules add", "`hostfwctl allow tcp/8080`"),
    ("rules delete 3", "`hostfwctl rules`"),
    ("rule add", "`hostfwctl rules`"),
    ("rate-limit ssh", "`hostfwctl allow ssh from 10.0.0.0/8`"),
    ("publish 80/tcp", "`hostfwctl allow 80/tcp`"),
    ("expose 80/tcp", "`hostfwctl allow 80/tcp`"),
    ("who", "`hostfwctl exposure`"),
    ("audit", "`hostfwctl drops`"),
    ("ping", "`hostfwctl allow ping`"),
    ("fail2ban", "`hostfwctl set list fail2ban`"),
    ("docker", "`hostfwctl exposure`"),
    # what comes to mind
    ("validate x.yaml", "`hostfwctl validate -f x.yaml`"),
    ("diff x.yaml", "`hostfwctl diff -f x.yaml`"),
    ("check x.yaml", "`hostfwctl validate`"),
    ("counters web", "`hostfwctl counters --policy web`"),
    ("counters --reset", "`hostfwctl counters --rate 10s`"),
    ("drops since yesterday", "`hostfwctl drops --since yesterday`"),
    ("drops since", "`hostfwctl drops --since TIME`"),
    ("drops yesterday", "`hostfwctl drops --since yesterday`"),
    ("drops 1h", "`hostfwctl drops --since 1h`"),
    ("drops follow", "`hostfwctl drops --follow`"),
    ("ban 192.0.2.66", "`hostfwctl deny 192.0.2.66`"),
    ("ban", "`hostfwctl deny 198.51.100.7`"),
    ("unban 192.0.2.66", "`hostfwctl remove deny 192.0.2.66`"),
    ("block 192.0.2.66", "`hostfwctl deny 192.0.2.66`"),
    ("block", "`hostfwctl lockdown`"),
    ("lockdown 192.0.2.66", "`hostfwctl deny 192.0.2.66`"),
    ("unblock 192.0.2.66", "`hostfwctl remove deny 192.0.2.66`"),
    ("whitelist 192.0.2.66", "`hostfwctl allow from 192.0.2.66`"),
    ("panic", "`hostfwctl lockdown`"),
    ("list", "`hostfwctl rules`"),
    ("rules list", "`hostfwctl rules`"),
    ("undo", "`hostfwctl rollback`"),
    ("rollback 3", "`hostfwctl rollback --to 3`"),
    ("history 3", "`hostfwctl rollback --to 3`"),
    ("try", "`hostfwctl apply --confirm-within 5m`"),
    ("setup", "`hostfwctl init`"),
    ("stop", "`hostfwctl disable --remove-rules`"),
]


@pytest.mark.parametrize(("line", "hint"), TYPED, ids=[line for line, _ in TYPED])
def test_what_people_type_is_answered_with_the_command_that_does_it(line: str, hint: str) -> None:
    """And the command means something."""
    status, out, err = hostfwctl(*line.split())
    said = " ".join(err.split())

    assert (status, out) == (2, "")
    assert hint in said
    for command in commands(hint):
        if command[-1] != "TIME":
            assert takes(command)


DOES = [
    "help",
    "status",
    "reload",
    "allow 22",
    "allow 22/tcp",
    "deny 22",
    "allow from 10.0.0.1",
    "get policies",
    "version",
]
DOES += ["allow from 10.0.0.1 to any port 22 proto tcp", "deny 192.0.2.66", "get gnp -o wide", "describe policy web"]
DOES += [
    "apply -f x.yaml",
    "drops --since yesterday",
    "allow ssh",
    "allow OpenSSH",
    "deny out 25",
    "remove allow 22",
    "explain a b:80",
]


@pytest.mark.parametrize("line", DOES)
def test_what_people_type_and_hostfwctl_does(line: str) -> None:
    """The same words as elsewhere."""
    if line == "help":
        assert hostfwctl("help").status == 0
        return
    assert takes(line.split())


@pytest.mark.parametrize(("name", "ports"), [("Nginx Full", {80, 443}), ("OpenSSH", {22}), ("Apache", {80})])
def test_the_profiles_of_ufw_that_tutorials_begin_with_are_services(name: str, ports: set[int]) -> None:
    """Under their names there."""
    assert {port for _, port in ports_of_service(name)} == ports
    assert takes(["allow", name])


def takes(words: list[str]) -> bool:
    """True for a command line that means something; NUMBER stands for one."""
    if words == ["--help"] or words[-1] == "--help":
        return True
    try:
        found = parse([word.replace("NUMBER", "1") for word in words])
    except UsageError:
        return False
    rule = found.words[1:] if found.verb == "remove" else found.words
    verb = found.words[0] if found.verb == "remove" else found.verb
    if verb in ("allow", "deny"):
        parse_words(Action(verb.title()), rule, ports_of_service)
    return found.verb == words[0]


def test_what_nobody_means_has_no_answer() -> None:
    """Nothing is guessed of an option, or of a verb that takes such words."""
    assert meant("apply", ["--fast"]) == ""
    assert meant("selector", ["x"]) == ""


@pytest.mark.parametrize("line", ["help", "help apply"])
def test_help_is_a_verb_too(line: str) -> None:
    """It prints what --help prints."""
    words = line.split()

    assert hostfwctl(*words) == hostfwctl(*words[1:], "--help")
    assert hostfwctl(*words).status == 0
