"""`hostfwctl allow` and `deny`: a policy in a few words, written to a file of its own and put into force."""

from dataclasses import replace

from hostfw.cli.engine import open_engine
from hostfw.cli.options import Options
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.quick_rules import add, read_directory
from hostfw.host.network.service_names import ports_of_service
from hostfw.model.text import counted
from hostfw.model.values import Action, host_cidr
from hostfw.policy.order import tiers_in_order
from hostfw.quick.manifests import QUICK_TIER, TIER, quick_files
from hostfw.quick.requests import Here, Named, QuickRule, RequestError
from hostfw.quick.words import parse_words


def run(options: Options, console: Console) -> ExitCode:
    """Write the policy that the words ask for, and put the configuration directory into force with it."""
    action = Action.ALLOW if options.verb == "allow" else Action.DENY
    try:
        rule = _rule(action, options)
    except RequestError as error:
        console.complain(error.message, error.hint)
        return ExitCode.USAGE
    try:
        directory = read_directory(options)
        resources = directory.inspected.resources
        files = quick_files(rule, options.why, resources)
    except RequestError as error:
        console.complain(error.message, error.hint)
        return ExitCode.FAILED
    first = next(iter(tiers_in_order((*resources.tiers, QUICK_TIER))))
    if first != TIER:
        console.warn(f'tier "{first}" comes before quick rules: `hostfwctl rules` shows the order')
    status = add(files, directory, options, console)
    if options.cut and status == ExitCode.DONE and not options.dry_run and isinstance(rule.peers, tuple):
        ended = open_engine(options).host.cut_connections(rule.peers)
        console.say(f"{counted(ended, 'connection')} ended")
    return status


def _rule(action: Action, options: Options) -> QuickRule:
    """The rule of the words. Raises RequestError."""
    rule = _with_address(parse_words(action, options.words, ports_of_service), options)
    if options.cut and (rule.services or isinstance(rule.peers, Named)):
        raise RequestError("--cut goes with `deny ADDRESS` or `deny PREFIX`")
    return rule


def _with_address(rule: QuickRule, options: Options) -> QuickRule:
    """The rule with the address in the place of `here`."""
    if not isinstance(rule.peers, Here):
        return rule
    own = next((session for session in open_engine(options).host.evidence().sessions if session.own), None)
    if own is None:
        raise RequestError("`here` is the address of your ssh session, and there is none", "write the address")
    return replace(rule, peers=(host_cidr(own.family, own.peer),))
