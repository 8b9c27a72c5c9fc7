"""The host as a whole, and hostfwctl itself: the pages of help of these verbs."""

from hostfw.cli.help.page import Page

HOST = {
    "completion": Page(
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
    ),
    "block": Page(
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
1  failed: the host is not blocked, or a reboot ends the block
4  not permitted""",
    ),
    "unblock": Page(
        """\
Take away what `block` put in the way, at one moment, and let policy decide again.

With -o json the outcome is a document of kind UnblockResult (hostfw.io/v1): result is
unblocked (with the packets that were dropped), unchanged or failed.""",
        """\
hostfwctl unblock""",
        """\
0  done, whether or not there was a block
1  failed: the host is still blocked, or the next boot blocks it again
4  not permitted""",
    ),
    "disable": Page(
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
    ),
    "doctor": Page(
        """\
Look for whatever keeps policy from meaning what it says on this host, and print each
finding in a line, with the next step: rules that are not in force or were changed, a
block or a confirmation that waits, a configuration that is invalid or of another host,
ports of ssh that no failsafe opens, other firewalls that deny packets as well, their
units and ours, old versions, wrong permissions, a log that another program reads, and
connection tracking that is nearly full. Nothing is changed.

A finding is a problem, or a note about what may be just as it is wanted, such as the
bans of fail2ban or the rules of Docker. Notes alone are no failure.

With -o json this is a document of kind FindingList (hostfw.io/v1), whose items have
check, weight (problem or note), message and next.""",
        """\
hostfwctl doctor
hostfwctl doctor -o json | jq -r '.items[] | select(.weight == "problem").message'""",
        """\
0  no problems
1  there are problems, or the kernel could not be asked
4  not permitted""",
    ),
    "version": Page(
        """\
Print the versions of hostfw, nft, the kernel and Python, as a report of a defect
needs them. `hostfwctl --version` prints that of hostfw alone.""",
        """\
hostfwctl version
hostfwctl version -o json""",
        "0  printed",
    ),
}
