"""`hostfwctl allow` and `deny`: a policy in a few words, written to a file of its own and put into force."""

import shlex
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hostfw.cli.command_line.arguments import add_quick, add_words
from hostfw.cli.command_line.options import Options
from hostfw.cli.other_words.hints import RESET
from hostfw.cli.outcomes import this_host
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.help_page import Page
from hostfw.cli.quick.changes import add, alone, read_directory
from hostfw.host.network.sockets.service_names import ports_of_service
from hostfw.model.values import Action, host_cidr
from hostfw.model.wording import counted
from hostfw.policy.order import every_tier, tiers_in_order
from hostfw.quick.manifests import QUICK_TIER, TIER, Notes, policy_name, quick_files, quick_policy
from hostfw.quick.overruled import overruling
from hostfw.quick.replaced import taken_away, with_earlier
from hostfw.quick.requests import Here, Named, QuickRule, RequestError
from hostfw.quick.slips import words_meant
from hostfw.quick.spelling import looks_like_interface, services_meant
from hostfw.quick.words import parse_words, rule_words

USAGE = "[in|out] WHAT... [from|to PEER] [on ENDPOINT] [limit RATE] [for TIME] [OPTION...]"
HELP = Page(
    """\
Let packets in to a service of this host. The rule is written to a file of its
own in /etc/hostfw/quick, shown, and put into force with everything else
there, through the checks of `apply`: what is refused is not written. The same
words twice change nothing.

WHAT is a protocol and ports (tcp/8080, 8080/tcp, tcp/80,443, udp/5000-5100),
a port of TCP and UDP (53), a name of /etc/services (http, ssh), a protocol
without ports (esp, gre, vrrp), or ping. Several stand one after the other.
PEER is an address or a prefix, several with commas, the name of a
GlobalNetworkSet or Feed, or of a NetworkSet (shop/office behind `from`), `here`
for the address that your ssh session comes from, `local` for the networks of
the interface that a packet comes in on, or `any`, the default. ENDPOINT is the
name of a HostEndpoint, or `all`. With a TIME (30m, 2h, 7d) the rule expires
after it: it goes out of force by itself, also across a reboot, and the same
words again give it a new time. The next quick rule that is written removes its
file.
With a `limit` (6/min, 10/second) each source may begin so many connections at
once, and then one more each time that its share has passed; what is beyond is
denied. `out` lets packets of this host out, `to` a PEER. The words of ufw are
understood as well: from 10.0.0.1 to any port 22 proto tcp.

Quick rules are GlobalNetworkPolicies of tier `quick`, which comes before all
others and passes on what it does not decide. In it, peers that are denied
come first, then what is allowed, then services that are denied to everybody.
Where no HostEndpoint was written yet, one for every interface comes with it:
in is closed, out is open.""",
    """\
hostfwctl allow tcp/8080
hostfwctl allow http https
hostfwctl allow tcp/22 from 10.0.0.0/8 --reason "the office"
hostfwctl allow tcp/5432 from here for 2h
hostfwctl allow ssh limit 6/min
hostfwctl allow out tcp/443 to 192.0.2.0/24
hostfwctl allow tcp/8080 --dry-run""",
    """\
0  in force, whether or not anything had to change
1  failed or refused; nothing was written
2  the words mean nothing
3  the configuration is invalid
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_words(parser, "what to allow, and to whom: tcp/8080 from 10.0.0.0/8")
    add_quick(parser)


def run(options: Options, console: Console) -> ExitCode:
    """Write the policy that the words ask for, and put the configuration directory into force with it."""
    action = Action.ALLOW if options.verb == "allow" else Action.DENY
    try:
        rule = _rule(action, options)
    except RequestError as error:
        console.complain(error.message, _hint(action, options, error))
        return ExitCode.USAGE
    with alone(options):
        return _put(rule, options, console)


def _put(rule: QuickRule, options: Options, console: Console) -> ExitCode:
    try:
        directory = read_directory(options)
        resources = directory.candidate.resources
        notes = replace(_notes(rule, options), failsafes=directory.candidate.settings.failsafe.inbound)
        notes = with_earlier(notes, policy_name(rule), resources)
        files = quick_files(rule, notes, resources)
        policy = quick_policy(rule, notes, resources)
    except RequestError as error:
        console.complain(error.message, _of_no_set(rule, error))
        return ExitCode.FAILED
    first = next(iter(tiers_in_order((*every_tier(resources), QUICK_TIER))))
    if first != TIER:
        console.warn(f'tier "{first}" comes before quick rules: `hostfwctl rules` shows the order')
    for other in overruling(policy, resources, this_host().now()):
        name = other.metadata.name.removeprefix(f"{TIER}.")
        decides = "denies" if rule.action is Action.ALLOW else "allows"
        console.warn(f"{name} comes first, and {decides} this; `hostfwctl remove {name}` takes it away")
    for sentence in taken_away(rule, policy, resources):
        console.warn(sentence)
    status = add(files, directory, options, console)
    if options.cut and status == ExitCode.DONE and not options.dry_run and isinstance(rule.peers, tuple):
        ended = this_host().cut_connections(rule.peers)
        console.say(f"{counted(ended, 'connection')} ended")
    return status


def _rule(action: Action, options: Options) -> QuickRule:
    """The rule of the words. Raises RequestError."""
    rule = _with_address(parse_words(action, options.words, ports_of_service))
    if options.cut and (rule.services or not isinstance(rule.peers, tuple | Here)):
        raise RequestError("--cut goes with `deny ADDRESS` or `deny PREFIX`")
    return rule


def _hint(action: Action, options: Options, error: RequestError) -> str:
    """The command that was meant where the words leave no doubt, else what is expected and where it is explained."""
    said = words_meant(action, options.words, ports_of_service)
    if said is not None:
        dry = " --dry-run" if options.dry_run else ""
        return f"`hostfwctl {options.verb} {shlex.join(said)}{dry}`{_beside(options.words)}"
    everything = {"all", "any", "everything", "anything", "anywhere"}
    if action is Action.ALLOW and everything & set(options.words[:1] if len(options.words) != 2 else options.words):
        return f"a rule names a service, such as tcp/8080; {RESET}"
    interface = next(filter(looks_like_interface, options.words), "")
    if interface and "on" not in options.words:
        return _on(options.verb, interface)
    page = f"`hostfwctl {options.verb} --help` has examples"
    return error.hint if "`" in error.hint else "; ".join(filter(None, (error.hint, page)))


def _on(verb: str, interface: str) -> str:
    """The hint about a rule that names nothing but an interface."""
    return f"`hostfwctl {verb} tcp/8080 on {interface}`, if a HostEndpoint has that name: `hostfwctl interfaces`"


def _of_no_set(rule: QuickRule, error: RequestError) -> str:
    """The hint about the name of a set that there is not: it may be a service or an interface."""
    if not isinstance(rule.peers, Named) or "there is no" not in error.message:
        return error.hint
    if rule.peers.name in ("me", "myself", "my-ip", "myip"):
        own = rule_words(replace(rule, peers=Here()))
        return f"`hostfwctl {own}` is about the address that your ssh session comes from"
    if rule.action is Action.ALLOW:
        return error.hint
    if looks_like_interface(rule.peers.name):
        return _on("deny", rule.peers.name)
    said = services_meant(rule.peers.name, ports_of_service)
    return f"{error.hint}; a service: `hostfwctl deny {shlex.join(said)}`" if said else error.hint


def _beside(words: Sequence[str]) -> str:
    """Words of others that are no part of a rule here, and what stands for them."""
    if "comment" in words:
        return "; --reason TEXT keeps the comment"
    return "; `logging` in /etc/hostfw/hostfw.yaml sets what is logged" if {"log", "log-all"} & set(words) else ""


def _notes(rule: QuickRule, options: Options) -> Notes:
    expires = None if rule.for_s is None else this_host().now() + timedelta(seconds=rule.for_s)
    return Notes(options.why, options.ticket, expires, options.keeps_failsafes)


def _with_address(rule: QuickRule) -> QuickRule:
    """The rule with the address in the place of `here`."""
    if not isinstance(rule.peers, Here):
        return rule
    own = next((session for session in this_host().baseline().sessions if session.own), None)
    if own is None:
        raise RequestError("`here` is the address of your ssh session, and there is none", "write the address")
    return replace(rule, peers=(host_cidr(own.family, own.peer),))
