"""The verbs: what each does, what it takes, and its page of help. Each has a module of its own, by its name."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import NamedTuple

from hostfw.cli import verb_arguments as takes


class Verb(NamedTuple):
    """A verb as `hostfwctl VERB --help` explains it; `add` gives a parser its arguments."""

    name: str
    summary: str
    usage: str
    description: str
    examples: str
    exits: str
    add: Callable[[ArgumentParser], None]

    @property
    def epilog(self) -> str:
        """What follows the options in the help."""
        return f"examples:\n{_indented(self.examples)}\n\nexit status:\n{_indented(self.exits)}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip().splitlines())


VERBS = (
    Verb(
        "validate",
        "find every problem of a configuration, offline",
        "[-f PATH...] [-o text|json | --annotate]",
        """\
Read a configuration and print everything that is wrong with it, each problem as

    PATH:LINE:COLUMN: MESSAGE

with the line of the file and a caret, what was expected, and what to do. Warnings
do not stand in the way of `apply`. Needs no root and does not look at this host.

With -o json the problems are a document of kind ProblemList (hostfw.io/v1), whose
items have path, line, column, severity (error or warning), message, expected and
hint; it is printed for a valid configuration too.""",
        """\
hostfwctl validate                        what is in /etc/hostfw
hostfwctl validate -f staging/            a directory that is to replace it
git show HEAD:web.yaml | hostfwctl validate -f -
hostfwctl validate -f web.yaml --annotate""",
        """\
0  valid, perhaps with warnings
3  invalid""",
        takes.validate,
    ),
    Verb(
        "compile",
        "print the nftables script of a configuration",
        "[-f PATH...] [--facts FILE]",
        """\
Print the whole nft script that enforces a configuration on this host, or with
--facts on the host that they were taken from. The same configuration and facts give
the same bytes on every machine. With --facts neither root nor the host is needed.

The script can be loaded with `nft -f` over any earlier generation; counters live on.""",
        """\
hostfwctl compile | less
hostfwctl compile -f staging/ > candidate.nft
ssh web1 hostfwctl interfaces -o json > web1.json
hostfwctl compile -f staging/ --facts web1.json""",
        """\
0  compiled
1  this host could not be observed
3  the configuration or the facts are invalid""",
        takes.compile_,
    ),
    Verb(
        "diff",
        "show what would change",
        "[-f PATH...] [--nft]",
        """\
Compare a configuration with the accepted one, which is in force: the resources that
are new (+), changed (~, with the difference of their manifests) and gone (-). What
does not change the meaning, such as comments or the file a resource is in, does not count.

With --nft also print what `apply` would send to nftables now: a script that prepares
what is new, one that switches to it, and one that sweeps what is no longer used.""",
        """\
hostfwctl diff
hostfwctl diff -f staging/ --nft""",
        """\
0  no difference
1  there are differences, or the comparison failed
3  the configuration is invalid
4  not permitted""",
        takes.diff,
    ),
    Verb(
        "apply",
        "put a configuration into force",
        "[-f PATH...] [--confirm-within TIME] [OPTION...]",
        """\
Compile a configuration for this host and put it into force, at one moment for every
packet. Counters, established connections and the tables of other programs stay as
they are. An invalid configuration, or one that the kernel refuses, changes nothing.

The configuration becomes the accepted one: it is enforced again after a reboot. With
--confirm-within it is accepted only once `hostfwctl confirm` is run, and otherwise
taken back when the time is over, whatever has become of hostfwctl by then; a reboot
before comes up with what was accepted. Until then `reload` and `apply` are refused;
`apply --confirm-within` replaces what waits. A change that does not touch the ruleset
is accepted at once.

A configuration that would cut off what this host is seen to live by, such as your own
ssh connection (the next one like it), is refused with what would be lost and why, unless
it is lost already; --accept-lockout says that the loss is meant. lockoutCheck in
hostfw.yaml turns that into a warning, or off.

A Feed whose file lost more than its maxShrink of what was accepted keeps the accepted
content, and a warning says so; --accept-shrink says that the loss is meant.

With -o json the outcome is a document of kind ApplyResult (hostfw.io/v1): result is
applied, unchanged, refused (with problems) or failed (with message and hint), and
confirmBy until when it must be confirmed.""",
        """\
hostfwctl apply
hostfwctl apply --confirm-within 90s
hostfwctl apply -f staging/
hostfwctl apply -o json | jq -r .result""",
        """\
0  in force, whether or not anything had to change
1  failed; what was in force still is
3  the configuration is invalid
4  not permitted""",
        takes.apply,
    ),
    Verb(
        "confirm",
        "accept what is in force until it is confirmed",
        "[--console] [-o text|json]",
        """\
Accept what `apply --confirm-within` put into force. It counts only in an ssh session
that began afterwards: an established connection survives every change, so it proves
nothing about the next one. The session is found through the processes above
hostfwctl, also under sudo, but not within tmux or screen.

On a console, or if you know that new connections can be made, use --console.

With -o json the outcome is a document of kind ConfirmResult (hostfw.io/v1): result is
accepted, unchanged, taken-back (with reason) or failed (with message and hint).""",
        """\
hostfwctl confirm
ssh web1 sudo hostfwctl confirm
hostfwctl confirm --console""",
        """\
0  accepted, or there was nothing left to confirm
1  refused, with the reason; it still waits to be confirmed
4  not permitted
5  too late: it was taken back""",
        takes.confirm,
    ),
    Verb(
        "rollback",
        "take back what waits to be confirmed, or go back to an earlier generation",
        "[--to NUMBER] [-o text|json]",
        """\
Put what was accepted into force again in the place of what waits to be confirmed.

With --to put a stored generation into force and accept it: its configuration is
compiled anew for the host as it is now, or if that is no longer possible its script is
loaded as it was stored. The configuration directory stays as it is; `hostfwctl diff`
shows how it differs.

With -o json the outcome is a document of kind RollbackResult (hostfw.io/v1): result is
rolled-back, unchanged or failed (with message and hint).""",
        """\
hostfwctl rollback
hostfwctl history
hostfwctl rollback --to 12""",
        """\
0  done
1  failed, or there was nothing to take back
4  not permitted""",
        takes.rollback,
    ),
    Verb(
        "history",
        "list the stored generations",
        "[-o table|json|yaml]",
        """\
List the latest generations with their numbers, and which of them is accepted, in force
or waits to be confirmed.

With -o json or yaml this is a document of kind GenerationList (hostfw.io/v1).""",
        """\
hostfwctl history
hostfwctl history -o json | jq '.items[] | select(.accepted).number'""",
        """\
0  listed, even if there are none
4  not permitted""",
        takes.history,
    ),
    Verb(
        "reload",
        "read the configuration directory again and put it into force",
        "[--accept-lockout] [-o text|json]",
        """\
As `apply` of the configuration directory. What `systemctl reload hostfw` runs: it
returns when the new generation is in force, and fails if it is not.""",
        """\
hostfwctl reload
hostfwctl reload -o json""",
        """\
0  in force, whether or not anything had to change
1  failed; what was in force still is
3  the configuration is invalid
4  not permitted""",
        takes.reload,
    ),
    Verb(
        "status",
        "say what is in force",
        "[-o table|json|yaml]",
        """\
Show the generation in force, when it was applied, for which node, how much it governs,
what waits to be confirmed and for how long, what was last refused or taken back, and
whatever in the kernel differs from what hostfw put there (drift).

What should have been taken back by now, as after a reboot, is taken back first.

With -o json or yaml this is a document of kind Status (hostfw.io/v1).""",
        """\
hostfwctl status
hostfwctl status -o json | jq -e '.drift == []'""",
        """\
0  a generation is in force
1  the kernel could not be asked
4  nothing is in force, or not permitted""",
        takes.status,
    ),
    Verb(
        "get",
        "list resources of a configuration",
        "KIND [NAME] [-f PATH]... [-o table|wide|yaml|json|name]",
        """\
List the resources of one kind, with the columns of calicoctl. KIND is one of

    globalnetworkpolicy         gnp      globalnetworkset   gns
    stagedglobalnetworkpolicy   sgnp     interfacegroup     ig
    hostendpoint                hep      profile
    tier

or its plural. With -o yaml or json one resource is printed as a manifest that can be
read again, several as a list of them (GlobalNetworkPolicyList and so on).""",
        """\
hostfwctl get gnp
hostfwctl get gnp web -o yaml
hostfwctl get hep -o wide
hostfwctl get gns -f staging/ -o name""",
        """\
0  listed, even if there are none
1  there is no resource of that name
2  there is no such kind
3  the configuration is invalid; what could be read is listed""",
        takes.get,
    ),
    Verb(
        "describe",
        "say what a resource means on this host",
        "KIND NAME [-f PATH]... [--facts FILE] [-o text|json|yaml]",
        """\
Show what a resource comes to on this host. KIND is one of those of `get`. Of

    hostendpoint             the interfaces and why, the labels that selectors see, and in
                             each direction, in order, all that a packet may meet
    globalnetworkpolicy      the HostEndpoints that it selects, its place in the order, and
                             its rules with the addresses that their selectors stand for
    globalnetworkset, feed   the rules that its addresses are in
    tier                     its place in the order, and its policies
    profile                  the HostEndpoints that list it, its labels and rules
    interfacegroup           its interfaces, and the HostEndpoints that name it

With -o json or yaml this is a document of kind Description (hostfw.io/v1).""",
        """\
hostfwctl describe hep uplink
hostfwctl describe gnp web -f staging/
hostfwctl describe gns offices -o json""",
        """\
0  described
1  there is no resource of that name, or this host could not be observed
2  there is no such kind
3  the configuration or the facts are invalid""",
        takes.describe,
    ),
    Verb(
        "explain",
        "say whether a packet passes, and why",
        "SRC DST[:PORT][/PROTO] [--in IF] [--out IF] [OPTION...]",
        """\
Show what happens to a packet under a configuration: the verdict, the policy rule or
other decision behind it with its file and line, and what was looked at before. It is
worked out from the policy; neither packets nor nftables are involved.

SRC and DST are addresses, names of HostEndpoints, or `host` for this host. An IPv6
address stands in brackets before a port: [fd00::1]:443. PROTO is tcp (the default
with a port), udp, sctp, udplite, icmp, icmpv6 or a number.

A packet to an address of this host comes in (--in), one from it goes out (--out), any
other is forwarded (both). An interface need not be given where the facts of the host
leave no doubt, where the default route decides, or where all come to the same.

With -v every rule that was looked at is shown, and why it did not match. With -o json
or yaml this is a document of kind Explanation (hostfw.io/v1).""",
        """\
hostfwctl explain 203.0.113.9 host:443
hostfwctl explain 203.0.113.9 192.0.2.10:22 --in eth0 -v
hostfwctl explain host [2001:db8::53]:53/udp
hostfwctl explain 10.1.0.5 10.2.0.9:5432 --in lan0 --out lan1
hostfwctl explain 203.0.113.9 host --icmp 8 -f staging/ --facts web1.json""",
        """\
0   allowed
1   this host could not be observed
2   the question is wrong, or not enough to tell the interfaces
3   the configuration or the facts are invalid
10  denied""",
        takes.explain,
    ),
    Verb(
        "selector",
        "say whether a selector parses, and what it matches",
        "EXPR [--label KEY=VALUE]... [-o text|json]",
        """\
Print the canonical form of a selector, or what is wrong with it and where. With labels
also print whether something with these labels, and no others, is selected.

With -o json this is a document of kind SelectorResult (hostfw.io/v1).""",
        """\
hostfwctl selector "role == 'web' && !has(retired)"
hostfwctl selector "role in {'web', 'db'}" --label role=web --label env=prod""",
        """\
0   a selector; with labels: a match
2   a label is wrong
3   no selector
10  no match""",
        takes.selector,
    ),
    Verb(
        "schema",
        "print the JSON Schema of configuration files",
        "[KIND]",
        """\
Print a JSON Schema (draft-07) of all that a configuration file may hold, or of one
KIND: those of `get`, and `settings` for hostfw.yaml. Editors that speak YAML complete
and check files by it; its first line in a file may be

    # yaml-language-server: $schema=/path/to/hostfw.schema.json

What a schema cannot see, such as names that must exist, `validate` does.""",
        """\
hostfwctl schema > hostfw.schema.json
hostfwctl schema gnp""",
        """\
0  printed
2  there is no such kind""",
        takes.schema,
    ),
    Verb(
        "interfaces",
        "show which HostEndpoint governs which interface, and why",
        "[-f PATH...] [-o table|wide|yaml|json|name]",
        """\
List the interfaces of this host with their InterfaceGroups and addresses, the
HostEndpoint that governs each under the configuration, and the field of it that does.

With -o json or yaml the facts of the host are printed instead, a document of kind
HostFacts (hostfw.io/v1): all that `compile --facts` needs to know of a host.""",
        """\
hostfwctl interfaces
hostfwctl interfaces -o wide
hostfwctl interfaces -o json > facts.json""",
        """\
0  listed
1  this host could not be observed
3  the configuration is invalid; interfaces are listed without their HostEndpoints""",
        takes.interfaces,
    ),
    Verb(
        "drops",
        "show what was denied, or is as it happens",
        "[--since TIME] [--follow] [--top] [OPTION...] [-o table|json]",
        """\
Print denied packets, and those that Log rules and staged policies log: what they are,
the rule that denied them and the file and line that it is written in. Packets that
fared alike within a second are one event with their number.

Events come out of the journal, where the service writes them: since the last boot, or
since another TIME. With --follow or --for they are those that come from now on. Where
no service runs, these are read from the log itself, and where there is no journal,
there is no history.

The kernel logs only so many packets a second of one source, and of all (`logging`):
`hostfwctl counters` has them all.

With -o json each event is a line of JSON with the fields of the journal (docs/audit.md);
with --top as well, a document of kind TopDrops (hostfw.io/v1).""",
        """\
hostfwctl drops --since 1h --top
hostfwctl drops --follow --policy web
hostfwctl drops --src 10.0.0.0/8 --count 20
hostfwctl drops --for 30s -o json | jq -r .HOSTFW_ORIGIN""",
        """\
0  printed: all of it, or until the time was up, enough was seen, or Ctrl-C or SIGTERM came
1  the journal or the log could not be read
4  not permitted, another program reads the log, or there is no journal to look back in""",
        takes.drops,
    ),
    Verb(
        "counters",
        "count what each policy rule decided",
        "[--policy NAME] [--rate TIME] [-o table|wide|json]",
        """\
Print how many packets and bytes each policy rule decided, with the file and line that
it is written in, and how many every other reason did: failsafes, ends of tiers, and so
on. Of a connection only what begins it counts: what belongs to an established one
is let through before. Counters live on when policy changes, and begin anew at boot.

With -o wide IPv4 and IPv6 stand apart as well. With -o json this is a document of kind
Counters (hostfw.io/v1).""",
        """\
hostfwctl counters
hostfwctl counters --policy web --rate 5s
hostfwctl counters -o json | jq '.rules[] | select(.packets == 0) | .origin'""",
        """\
0  printed
1  the counters could not be read, or no such policy is in force
4  nothing is in force, or not permitted""",
        takes.counters,
    ),
    Verb(
        "staged",
        "show what a staged policy would have done",
        "NAME [-o table|json]",
        """\
Print how many packets each rule of a staged policy would have denied, allowed, passed
or logged since it is in force, and the last of these packets out of the journal. Of a
connection only what begins it counts: what belongs to an established one never meets
policy. A staged policy decides nothing; `promote` has the change that enforces it.

With -o json this is a document of kind StagedPolicy (hostfw.io/v1), whose samples have
the fields of the journal (docs/audit.md).""",
        """\
hostfwctl staged web
hostfwctl staged web -o json | jq '[.rules[] | select(.action == "Deny").packets] | add'""",
        """\
0  printed
1  no such policy is staged here
4  nothing is in force, or not permitted""",
        takes.staged,
    ),
    Verb(
        "promote",
        "print the change that enforces a staged policy",
        "NAME [-f PATH...]",
        """\
Print a patch of the files that makes a StagedGlobalNetworkPolicy a GlobalNetworkPolicy,
in the place of the enforced one of its name if there is one; of one with stagedAction:
Delete, a patch that removes both. Nothing is written: comments and layout stay as they
are, and the patch is yours to read and to apply.""",
        """\
hostfwctl promote web
hostfwctl promote web | patch -p1 -d /
hostfwctl promote web -f staging/""",
        """\
0  printed
1  no such policy is staged, or it has to be taken out of a list first
3  the configuration is invalid, or would be""",
        takes.promote,
    ),
    Verb(
        "completion",
        "print what a shell needs to complete hostfwctl",
        "SHELL",
        """\
Print a script with which bash, fish or zsh completes verbs, options and their values,
the names of resources in /etc/hostfw among them. The Debian package has it in place.""",
        """\
hostfwctl completion bash > ~/.local/share/bash-completion/completions/hostfwctl
hostfwctl completion fish > ~/.config/fish/completions/hostfwctl.fish
hostfwctl completion zsh > ~/.zfunc/_hostfwctl    # with fpath+=~/.zfunc""",
        """\
0  printed
2  there is no such shell""",
        takes.completion,
    ),
    Verb(
        "block",
        "let nothing pass but the ssh sessions that there are",
        "[--all] [-o text|json]",
        """\
The panic button. From one moment to the next nothing comes in, goes out or is
forwarded any more, whatever policy says: only lo, the ssh sessions that there are
now, and what these need to go on (neighbour discovery, path MTU discovery, the
renewal of DHCP leases). With --all not even those.

It needs neither the daemon nor a valid configuration, and stands beside the ruleset:
`apply` and `reload` work as ever, and count once `unblock` is run. A reboot does not
end it; the addresses that had an ssh session may begin another after it.

What one container says to another on the same bridge does not pass this host's
network, and goes on.

With -o json the outcome is a document of kind BlockResult (hostfw.io/v1): result is
blocked (with what was kept) or failed (with message and hint).""",
        """\
hostfwctl block
hostfwctl block --all
hostfwctl unblock""",
        """\
0  blocked
1  failed: the host is not blocked
4  not permitted""",
        takes.block,
    ),
    Verb(
        "unblock",
        "end a block",
        "[-o text|json]",
        """\
Take away what `block` put in the way, at one moment, and let policy decide again.

With -o json the outcome is a document of kind UnblockResult (hostfw.io/v1): result is
unblocked (with the packets that were dropped), unchanged or failed.""",
        """\
hostfwctl unblock""",
        """\
0  done, whether or not there was a block
1  failed: the host is still blocked
4  not permitted""",
        takes.unblock,
    ),
    Verb(
        "disable",
        "remove every rule of hostfw, and keep boots from loading any",
        "--remove-rules [-o text|json]",
        """\
Turn hostfw off. Stopping its service leaves the rules in force; this removes them:
the units are stopped and disabled, nothing waits to be confirmed or is loaded by a
boot any more, and then the tables ip hostfw and ip6 hostfw are deleted at once, a
block with them. Every packet passes that no other program denies.

The configuration and the stored generations stay: `hostfwctl apply`, and
`systemctl enable --now hostfw-boot hostfw`, turn it on again. It asks for
--remove-rules, so that nobody opens a host by mistake.

With -o json the outcome is a document of kind DisableResult (hostfw.io/v1): result is
disabled (with the steps that were taken) or failed (with message and hint).""",
        """\
hostfwctl disable --remove-rules""",
        """\
0  nothing of hostfw is in force
1  failed; the rules are still in force
2  --remove-rules is missing
4  not permitted""",
        takes.disable,
    ),
    Verb(
        "doctor",
        "find what stands between this host and its protection",
        "[-o text|json]",
        """\
Look for whatever keeps policy from meaning what it says on this host, and print each
finding in a line, with the next step: rules that are not in force or were changed, a
block or a confirmation that waits, a configuration that is invalid or of another host,
ports of ssh that no failsafe opens, other firewalls that deny packets as well, their
units and ours, old versions, wrong permissions, a log that another program reads, and
connection tracking that is nearly full. Nothing is changed.

With -o json this is a document of kind FindingList (hostfw.io/v1), whose items have
check, message and next.""",
        """\
hostfwctl doctor
hostfwctl doctor -o json | jq -r '.items[] | select(.check == "other-table").message'""",
        """\
0  nothing found
1  there are findings, or the kernel could not be asked
4  not permitted""",
        takes.doctor,
    ),
    Verb(
        "version",
        "print the versions of hostfw and of what it stands on",
        "[-o text|json]",
        """\
Print the versions of hostfw, nft, the kernel and Python, as a report of a defect
needs them. `hostfwctl --version` prints that of hostfw alone.""",
        """\
hostfwctl version
hostfwctl version -o json""",
        "0  printed",
        takes.version,
    ),
)
