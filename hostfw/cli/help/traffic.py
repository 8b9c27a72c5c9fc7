"""What became of packets: the pages of help of these verbs."""

from hostfw.cli.help.page import Page

TRAFFIC = {
    "drops": Page(
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
    ),
    "counters": Page(
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
    ),
    "staged": Page(
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
    ),
}
