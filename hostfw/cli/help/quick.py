"""The pages of help of the verbs that write policy in a few words, and of the list of what is in force."""

from hostfw.cli.help.page import Page

QUICK = {
    "init": Page(
        """\
Look at this host, and propose a configuration to begin with: a HostEndpoint for
each interface, a policy that lets in what reaches the programs which listen now
and the ports that others publish, and one that lets everything out. Each line
says why it is there. What listens on loopback alone stays there.

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
    ),
    "allow": Page(
        """\
Let packets in to a service of this host. The rule is written to a file of its
own in /etc/hostfw/quick, shown, and put into force with everything else
there, through the checks of `apply`: what is refused is not written. The same
words twice change nothing.

WHAT is a protocol and ports (tcp/8080, 8080/tcp, tcp/80,443, udp/5000-5100),
a port of TCP and UDP (53), a name of /etc/services (http, ssh), a protocol
without ports (esp, gre, vrrp), or ping. Several stand one after the other.
PEER is an address or a prefix, several with commas, the name of a
GlobalNetworkSet or Feed, `here` for the address that your ssh session comes
from, or `any`, which is what it is without. ENDPOINT is the name of a
HostEndpoint, or `all`. `out` lets packets of this host out, `to` a PEER. The
words of ufw are understood as well: from 10.0.0.1 to any port 22 proto tcp.

Quick rules are GlobalNetworkPolicies of tier `quick`, which comes before all
others and passes on what it does not decide. In it, peers that are denied
come first, then what is allowed, then services that are denied to everybody.
Where no HostEndpoint was written yet, one for every interface comes with it:
in is closed, out is open.""",
        """\
hostfwctl allow tcp/8080
hostfwctl allow http https
hostfwctl allow tcp/22 from 10.0.0.0/8 --reason "the office"
hostfwctl allow tcp/5432 from here
hostfwctl allow out tcp/443 to 192.0.2.0/24
hostfwctl allow tcp/8080 --dry-run""",
        """\
0  in force, whether or not anything had to change
1  failed or refused; nothing was written
2  the words mean nothing
3  the configuration is invalid
4  not permitted""",
    ),
    "deny": Page(
        """\
Deny an address or a prefix everything: packets from it, to it, and between it
and what stands behind this host. Or deny a service, to a PEER or to
everybody. The words, the files and the checks are those of `allow`.

Connections that exist go on, as after every change of policy. --cut ends
those of the address or prefix that is denied.

Failsafe ports come before policy: ssh from an address that is denied still
gets in where the failsafe of hostfw.yaml lets everybody in.""",
        """\
hostfwctl deny 198.51.100.7
hostfwctl deny 203.0.113.0/24 --cut --reason "scans"
hostfwctl deny tcp/25
hostfwctl deny out tcp/25 to 192.0.2.0/24""",
        """\
0  in force, whether or not anything had to change
1  failed or refused; nothing was written
2  the words mean nothing
3  the configuration is invalid
4  not permitted""",
    ),
    "remove": Page(
        """\
Remove the files of quick rules, and put what is left into force. A rule is
named as `rules` lists it, with or without `quick.` before it, or by the words
that made it. Other policies are removed by removing their files, and
`hostfwctl apply`.""",
        """\
hostfwctl remove allow-tcp-8080
hostfwctl remove allow tcp/8080
hostfwctl remove deny-198-51-100-7 deny-203-0-113-0-24""",
        """\
0  in force without them
1  failed or refused, or there is no such rule; nothing was removed
3  the configuration is invalid
4  not permitted""",
    ),
    "rules": Page(
        """\
List what is in force on this host, a line a rule, in the order in which a
packet meets them: what comes in, then what goes out. WAY is in or out; BY is
the tier and policy, or the reason of what decides without one; PACKETS is
what the rule decided so far, of both IP versions, and WRITTEN IN is its file
in /etc/hostfw and line. -o wide adds the HostEndpoints that it governs.
Connections that are established are let through before all of it.

Where a rule is not met like the others, WAY says so: untracked (doNotTrack),
pre-dnat, forwarded (applyOnForward, for what passes through this host).""",
        """\
hostfwctl rules
hostfwctl rules -o wide
hostfwctl rules -o json | jq .items""",
        """\
0  done
4  nothing in force, or not permitted""",
    ),
}
