"""The verbs in the order of the help, each with a module of its own: its arguments, its page of help and its work."""

from argparse import ArgumentParser
from importlib import import_module
from keyword import iskeyword
from typing import NamedTuple, Protocol, cast

from hostfw.cli.command_line.options import Options
from hostfw.cli.output.console import Console
from hostfw.cli.output.help_page import Page


class VerbModule(Protocol):
    """The module of a verb: how it is used in a line, its page of help, its arguments, and what it does."""

    USAGE: str
    HELP: Page

    def arguments(self, parser: ArgumentParser, /) -> None:
        """Give a parser the options and arguments of the verb."""

    def run(self, options: Options, console: Console, /) -> int:
        """Do it, and give the exit status."""


class Verb(NamedTuple):
    """A verb in a line of `hostfwctl --help`, which loads no module of a verb; `subject` is the folder of its own."""

    name: str
    summary: str
    subject: str

    def load(self) -> VerbModule:
        """Import the module of the verb. Raises ImportError where a Debian package is missing."""
        # `import` is a word of Python, so no module can be imported by that name in a statement.
        module = f"{self.name}_" if iskeyword(self.name) else self.name
        return cast("VerbModule", import_module(f"hostfw.cli.verbs.{self.subject}.{module}"))


VERBS = (
    Verb("validate", "find every problem of a configuration, offline", "configuration"),
    Verb("compile", "print the nftables script of a configuration", "configuration"),
    Verb("diff", "show what would change", "configuration"),
    Verb("apply", "put a configuration into force", "in_force"),
    Verb("init", "propose a first configuration that closes nothing of what is reachable", "quick"),
    Verb("allow", "let packets in (or out) to a service, from now on", "quick"),
    Verb("deny", "deny an address everything, or a service to somebody, from now on", "quick"),
    Verb("remove", "take away what allow or deny put into force", "quick"),
    Verb("set", "put addresses into a set, take them out, or list them, at once", "quick"),
    Verb("feed", "download Feeds that have a url or hostnames, and say how that went", "quick"),
    Verb("rules", "list the rules in force in the order of evaluation, with counters", "in_force"),
    Verb("confirm", "accept a configuration that waits to be confirmed", "in_force"),
    Verb("rollback", "roll back an unconfirmed change, or go back to an earlier generation", "in_force"),
    Verb("history", "list the stored generations", "in_force"),
    Verb("reload", "read the configuration directory again and put it into force", "in_force"),
    Verb("status", "show the active generation and its state", "in_force"),
    Verb("get", "list resources of a configuration", "configuration"),
    Verb("describe", "show the effect of a resource on this host", "meaning"),
    Verb("explain", "show whether a packet passes, and why", "meaning"),
    Verb("exposure", "show who can reach each service of this host and each published port", "meaning"),
    Verb("fleet", "show what configurations come to on every host of a fleet, offline", "meaning"),
    Verb("bundle", "make one signed file of a directory of policy, for hosts to pull", "fleet"),
    Verb("pull", "take policy from a signed bundle, on trial, and keep it if all is well", "fleet"),
    Verb("selector", "check a selector, and show what it matches", "configuration"),
    Verb("import", "print the rules of another firewall as policy, and what differs", "configuration"),
    Verb("schema", "print the JSON Schema of configuration files", "configuration"),
    Verb("interfaces", "show which HostEndpoint governs which interface, and why", "meaning"),
    Verb("workloads", "show the workloads of this host, and which policies govern them", "meaning"),
    Verb("drops", "show denied packets, past and new ones", "traffic"),
    Verb("counters", "show packet and byte counters of each policy rule", "traffic"),
    Verb("staged", "show what a staged policy would have done", "traffic"),
    Verb("promote", "print the change that enforces a staged policy", "configuration"),
    Verb("completion", "print a completion script for a shell", "host"),
    Verb("lockdown", "block all traffic except current ssh sessions", "host"),
    Verb("unblock", "end a block", "host"),
    Verb("disable", "remove every rule of hostfw, now and for future boots", "host"),
    Verb("doctor", "find problems of this host and its firewall", "host"),
    Verb("version", "print the versions of hostfw and of its dependencies", "host"),
)
