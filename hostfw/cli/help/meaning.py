"""What policy means on this host: the pages of help of these verbs."""

from hostfw.cli.help.page import Page

MEANING = {
    "describe": Page(
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
    ),
    "explain": Page(
        """\
Show what happens to a packet under a configuration: the verdict, the policy rule or
other decision behind it with its file and line, and what was looked at before. It is
worked out from the policy; neither packets nor nftables are involved.

SRC and DST are addresses, names of HostEndpoints, or `host` for this host. An IPv6
address stands in brackets before a port: [fd00::1]:443. PROTO is tcp (the default
with a port), udp, sctp, udplite, icmp, icmpv6 or a number.

What is for this host, a broadcast of its networks among it, comes in (--in), what is
from it goes out (--out), anything else is forwarded (both), as the routing of this
host decides. An interface that is not given is the one that the route leads to, back
to the source or on to the destination; with --facts the one with the default route.
What was assumed is said. A port that another program publishes (DNAT) is answered for
with its target; what that program itself denies is not looked at.

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
    ),
    "exposure": Page(
        """\
List every TCP and UDP port that a program of this host listens on, with its systemd
unit or process, and every port that a table of another program publishes (DNAT, such
as that of Docker). For each interface: the sources whose new connections the policy
in force lets through, and the rule or other decision, with its file and line.

What another program denies is not looked at. A UDP socket at a port that the kernel
gives to clients (net.ipv4.ip_local_port_range) is left out. With -f the question is
who could reach them under another configuration; `diff` shows the difference.

With -v long lists of prefixes are printed whole. With -o json or yaml this is a
document of kind ExposureList (hostfw.io/v1), with every prefix.""",
        """\
hostfwctl exposure
hostfwctl exposure -f staging/
hostfwctl exposure -o json | jq -r '.items[].service'""",
        """\
0  listed
1  failed, or the active generation is not on record
3  the configuration is invalid
4  not permitted""",
    ),
    "interfaces": Page(
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
    ),
}
