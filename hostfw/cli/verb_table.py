"""The verbs in the order of the help: what each does, and what it takes. Each has a module of its own, by its name."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import NamedTuple

from hostfw.cli import verb_arguments as takes


class Verb(NamedTuple):
    """A verb in a line of `hostfwctl --help`; `add` gives a parser its arguments. Its page of help is in `pages`."""

    name: str
    summary: str
    usage: str
    add: Callable[[ArgumentParser], None]


VERBS = (
    Verb(
        "validate",
        "find every problem of a configuration, offline",
        "[-f PATH...] [-o text|json | --annotate]",
        takes.validate,
    ),
    Verb(
        "compile",
        "print the nftables script of a configuration",
        "[-f PATH...] [--facts FILE]",
        takes.compile_,
    ),
    Verb(
        "diff",
        "show what would change",
        "[-f PATH...] [--nft]",
        takes.diff,
    ),
    Verb(
        "apply",
        "put a configuration into force",
        "[--add | --replace] [-f PATH...] [OPTION...]",
        takes.apply,
    ),
    Verb(
        "init",
        "propose a first configuration that closes nothing of what is reachable",
        "[--write]",
        takes.init,
    ),
    Verb(
        "allow",
        "let packets in (or out) to a service, from now on",
        "[in|out] WHAT... [from|to PEER] [on ENDPOINT] [OPTION...]",
        takes.allow,
    ),
    Verb(
        "deny",
        "deny an address everything, or a service to somebody, from now on",
        "PEER | [in|out] WHAT... [from|to PEER] [on ENDPOINT] [OPTION...]",
        takes.deny,
    ),
    Verb(
        "remove",
        "take away what allow or deny put into force",
        "NAME... | allow WHAT... | deny WHAT... [OPTION...]",
        takes.remove,
    ),
    Verb(
        "rules",
        "list the rules in force in the order of evaluation, with counters",
        "[-o table|wide|json]",
        takes.rules,
    ),
    Verb(
        "confirm",
        "accept a configuration that waits to be confirmed",
        "[--console] [-o text|json]",
        takes.confirm,
    ),
    Verb(
        "rollback",
        "roll back an unconfirmed change, or go back to an earlier generation",
        "[--to NUMBER [--accept-lockout]] [-o text|json]",
        takes.rollback,
    ),
    Verb(
        "history",
        "list the stored generations",
        "[-o table|json|yaml]",
        takes.history,
    ),
    Verb(
        "reload",
        "read the configuration directory again and put it into force",
        "[--accept-lockout] [-o text|json]",
        takes.reload,
    ),
    Verb(
        "status",
        "show the active generation and its state",
        "[-o table|json|yaml]",
        takes.status,
    ),
    Verb(
        "get",
        "list resources of a configuration",
        "KIND [NAME] [-f PATH]... [-o table|wide|yaml|json|name]",
        takes.get,
    ),
    Verb(
        "describe",
        "show the effect of a resource on this host",
        "KIND NAME [-f PATH]... [--facts FILE] [-o text|json|yaml]",
        takes.describe,
    ),
    Verb(
        "explain",
        "show whether a packet passes, and why",
        "SRC DST[:PORT][/PROTO] [--in IF] [--out IF] [OPTION...]",
        takes.explain,
    ),
    Verb(
        "exposure",
        "show who can reach each service of this host and each published port",
        "[-f PATH...] [-o table|json|yaml]",
        takes.exposure,
    ),
    Verb(
        "selector",
        "check a selector, and show what it matches",
        "EXPR [--label KEY=VALUE]... [-o text|json]",
        takes.selector,
    ),
    Verb(
        "schema",
        "print the JSON Schema of configuration files",
        "[KIND]",
        takes.schema,
    ),
    Verb(
        "interfaces",
        "show which HostEndpoint governs which interface, and why",
        "[-f PATH...] [-o table|wide|yaml|json|name]",
        takes.interfaces,
    ),
    Verb(
        "drops",
        "show denied packets, past and new ones",
        "[--since TIME] [--follow] [--top] [OPTION...] [-o table|json]",
        takes.drops,
    ),
    Verb(
        "counters",
        "show packet and byte counters of each policy rule",
        "[--policy NAME] [--rate TIME] [-o table|wide|json]",
        takes.counters,
    ),
    Verb(
        "staged",
        "show what a staged policy would have done",
        "NAME [-o table|json]",
        takes.staged,
    ),
    Verb(
        "promote",
        "print the change that enforces a staged policy",
        "NAME [-f PATH...]",
        takes.promote,
    ),
    Verb(
        "completion",
        "print a completion script for a shell",
        "SHELL",
        takes.completion,
    ),
    Verb(
        "block",
        "block all traffic except current ssh sessions",
        "[--all] [-o text|json]",
        takes.block,
    ),
    Verb(
        "unblock",
        "end a block",
        "[-o text|json]",
        takes.unblock,
    ),
    Verb(
        "disable",
        "remove every rule of hostfw, now and for future boots",
        "--remove-rules [-o text|json]",
        takes.disable,
    ),
    Verb(
        "doctor",
        "find problems of this host and its firewall",
        "[-o text|json]",
        takes.doctor,
    ),
    Verb(
        "version",
        "print the versions of hostfw and of its dependencies",
        "[-o text|json]",
        takes.version,
    ),
)
