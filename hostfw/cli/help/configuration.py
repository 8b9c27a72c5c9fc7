"""What a configuration says, before it is in force: the pages of help of these verbs."""

from hostfw.cli.help.page import Page

CONFIGURATION = {
    "validate": Page(
        """\
Read a configuration and print everything that is wrong with it, each problem as

    PATH:LINE:COLUMN: MESSAGE

with the line of the file and a caret, what was expected, and what to do. Warnings
do not stand in the way of `apply`. Needs no root. With --facts it says as well what
the configuration means on a host. Without -f and --facts it looks at this host for one
thing: addresses and default routes that count for nothing because a neighbour said
them, by DHCP or a router advertisement.

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
    ),
    "compile": Page(
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
    ),
    "diff": Page(
        """\
Compare a configuration with the accepted one, which is in force: the resources that
are new (+), changed (~, with the difference of their manifests) and gone (-). What
does not change the meaning, such as comments or the file a resource is in, does not count.
As root it also tells what another program has changed of the ruleset in force.

Then what `apply` would close and open of the services of this host (see `exposure`),
as far as that may be looked at.

With --nft also print what `apply` would send to nftables now: a script that prepares
what is new, one that switches to it, and one that sweeps what is no longer used.""",
        """\
hostfwctl diff
hostfwctl diff -f staging/ --nft""",
        """\
0  no difference
1  there are differences
2  the comparison failed, or the command line is wrong
3  the configuration is invalid
4  not permitted""",
    ),
    "get": Page(
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
    ),
    "selector": Page(
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
    ),
    "schema": Page(
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
    ),
    "promote": Page(
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
    ),
}
