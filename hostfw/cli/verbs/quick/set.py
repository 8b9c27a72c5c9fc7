"""`hostfwctl set`: members of a set, put in or taken out at once, without a generation."""

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hostfw.cli.command_line.argument_parser import closest
from hostfw.cli.command_line.arguments import add_accept_lockout, add_output, add_words
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.outcomes import complain_of, failure, load_accepted_of, saved, this_host
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.durations import duration_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.tables import Column
from hostfw.control.messages import ChangeMembers, Reply
from hostfw.engine.context import Host
from hostfw.engine.members.external_members import find_external, held
from hostfw.engine.outcomes import Failed, MembersChange, MembersChanged, NoSuchSet
from hostfw.host.nftables.tables import KernelTables
from hostfw.host.process.processes import login_uid
from hostfw.manifest.scalars.net_texts import form_hint, given_cidr
from hostfw.model.kinds.sets import Feed, GlobalNetworkSet, NetworkSet
from hostfw.model.plan import Member
from hostfw.model.resources import Resources
from hostfw.model.values import Cidr, address_text, merge
from hostfw.model.wording import counted
from hostfw.quick.requests import RequestError, members_name
from hostfw.quick.words import length_s

USAGE = "list [NAME] | add NAME ADDRESS... [for TIME] [OPTION...] | del NAME ADDRESS..."
HELP = Page(
    """\
Put addresses and prefixes into a set that policy selects, or take them out, at
once: no file is compiled, no generation is made, and the kernel keeps the time.

NAME is a Feed with `external: true`, or a GlobalNetworkSet or Feed with a file:
such a set gets a companion in /etc/hostfw/quick with the first `set add`, which
applies the configuration once. Addresses that a file holds are changed in the file,
as are all those of a NetworkSet, which `set list` shows as NAMESPACE/NAME.

Without `for`, a member stays as long as the Feed's timeout says, or for ever.
The later end counts: to have a member end sooner, take it out first. A member
outlives generations, reloads and reboots. A change that would cut off a
connection which this host depends on is refused.

Established connections go on; --cut ends those of the addresses that are put in.
Failsafe ports come before policy. The journal says who changed what.""",
    """\
hostfwctl set add bans 198.51.100.7 for 4h
hostfwctl set add office 192.0.2.0/24 2001:db8:7::/48
hostfwctl set add bans 198.51.100.7 for 4h --cut
hostfwctl set del bans 198.51.100.7
hostfwctl set list
hostfwctl set list bans -o json""",
    """\
0  done, or nothing had to change
1  failed or refused; the members are as they were
2  the words mean nothing
4  not permitted""",
)
_VERBS = ("list", "add", "del")
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "sudo", "su", "doas", "env", "timeout"})
"""Processes that run a command for somebody."""
_EXPECTED = f"expected: {USAGE.partition(' [OPTION')[0]} ..."
_HELP = f"{_EXPECTED}; `hostfwctl set --help` has examples"


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_words(parser, "what to do: list, or add or del with the name of a set and addresses")
    add_accept_lockout(parser)
    parser.add_argument("--cut", action="store_true", help="end the open connections of what is put in as well")
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of a command: what to do, to which set, with what."""

    verb: str
    name: str = ""
    cidrs: tuple[Cidr, ...] = ()
    for_s: int | None = None


def run(options: Options, console: Console) -> ExitCode:
    """Change the members of a set, or list them."""
    try:
        words = _parsed(options.words, cut=options.cut)
    except RequestError as error:
        console.complain(error.message, error.hint)
        return ExitCode.USAGE
    try:
        return _listed(words.name, options, console) if words.verb == "list" else _changed(words, options, console)
    except RequestError as error:
        console.complain(error.message, error.hint)
        return ExitCode.FAILED


def _parsed(words: Sequence[str], *, cut: bool) -> _Words:
    verb, *rest = words
    if verb not in _VERBS:
        from hostfw.cli.other_words.sets import of_a_set

        hint = of_a_set(words) or closest(verb, _VERBS) or _HELP
        raise RequestError(f'"{verb}" is nothing that can be done to a set', hint)
    if cut and verb != "add":
        raise RequestError("--cut goes with `set add`", _HELP)
    if verb == "list":
        if len(rest) > 1:
            raise RequestError("`set list` takes the name of one set, or none", _HELP)
        return _Words(verb, rest[0] if rest else "")
    for_s = None
    if verb == "add" and len(rest) > 1 and rest[-2] == "for":
        for_s = length_s(rest[-1])
        rest = rest[:-2]
    if len(rest) < 2:
        raise RequestError(f"`set {verb}` takes the name of a set, and addresses", _HELP)
    name, *texts = rest
    return _Words(verb, name, tuple(_cidrs(texts)), for_s)


def _cidrs(texts: Iterable[str]) -> Iterator[Cidr]:
    for text in (part for word in texts for part in word.split(",") if part):
        cidr = given_cidr(text)
        if cidr is None:
            expected = form_hint(text) or "such as 192.0.2.7 or 2001:db8::/48"
            raise RequestError(f'"{text}" is neither an address nor a prefix', expected)
        yield cidr


def _changed(words: _Words, options: Options, console: Console) -> ExitCode:
    reply = _ask(words, words.name, options)
    if isinstance(reply, NoSuchSet):
        reply = _ask(words, members_name(words.name), options)
        if isinstance(reply, MembersChanged) and reply.absent:
            _refuse_of_file(words, _named(words.name, _in_force(options)))
    if isinstance(reply, NoSuchSet):
        status = _make_companion(words, options, console)
        if status is not None:
            return status
        reply = _ask(words, members_name(words.name), options)
    return _report(reply, words, options, console)


def _ask(words: _Words, name: str, options: Options) -> Reply:
    # Not for `set list`, which only looks.
    from hostfw.cli.engine import open_engine
    from hostfw.control.client import ask

    engine = open_engine(options)
    change = (
        MembersChange(name, words.cidrs, words.for_s)
        if words.verb == "add"
        else MembersChange(name, removed=words.cidrs)
    )
    return ask(engine, ChangeMembers(change, options.accept_lockout, engine.host.baseline()))


def _make_companion(words: _Words, options: Options, console: Console) -> ExitCode | None:
    """Give a set that files hold a companion that takes members; None if it is there now. Raises RequestError."""
    resources = _accepted(options)
    if resources is None:
        raise RequestError("no configuration is in force", "`hostfwctl apply` puts one into force")
    found = _named(words.name, resources)
    if found is None:
        names = sorted(one.metadata.name for one in resources.every_set)
        hint = closest(words.name, names) or (f"there are: {', '.join(names)}" if names else "none is in force")
        raise RequestError(f'there is no GlobalNetworkSet or Feed "{words.name}"', hint)
    if isinstance(found, NetworkSet):
        raise RequestError(
            f'"{found.metadata.full_name}" is a NetworkSet: its members stand in {found.metadata.position.file_line}',
            "change its nets there, then `hostfwctl apply`; a Feed with `external: true` takes members at once",
        )
    if isinstance(found, Feed) and found.external is not None:
        place = found.metadata.position.file_line
        raise RequestError(
            f'no rule in force asks for "{words.name}" ({place})', "write a rule whose selector selects its labels"
        )
    if words.verb == "del":
        _refuse_of_file(words, found)
        return _report(MembersChanged(words.name, absent=words.cidrs), words, options, console)
    if not found.metadata.labels:
        raise RequestError(
            f'"{words.name}" has no labels, so no rule selects it', f"give it one, such as set: {words.name}"
        )
    if any(feed.metadata.name == members_name(words.name) for feed in resources.feeds):
        raise RequestError(f'no rule in force selects "{words.name}"', "write a rule whose selector selects its labels")
    # A companion is made once: what compiles is not for every member.
    from hostfw.cli.quick.changes import add, alone, read_directory
    from hostfw.quick.manifests import members_file

    with alone(options):
        status = add([members_file(words.name)], read_directory(options), options, console)
    return None if status == ExitCode.DONE else status


def _named(name: str, resources: Resources) -> GlobalNetworkSet | NetworkSet | Feed | None:
    from hostfw.quick.network_sets import network_set

    return next((one for one in resources.every_set if one.metadata.name == name), None) or network_set(name, resources)


def _accepted(options: Options) -> Resources | None:
    """The sets of the accepted configuration, None where there is none yet; it raises what `load_accepted_of` does."""
    from hostfw.build.sets_alone import sets_of

    accepted = load_accepted_of(options, with_scripts=False)
    return None if accepted is None else sets_of(accepted.configuration)


def _in_force(options: Options) -> Resources:
    return _accepted(options) or Resources()


def _refuse_of_file(words: _Words, found: GlobalNetworkSet | NetworkSet | Feed | None) -> None:
    """Say where a member is written that cannot be taken out here. Raises RequestError."""
    if found is None:
        return
    written = found.cidrs if isinstance(found, Feed) else merge(found.nets)
    for cidr in words.cidrs:
        if any(
            one.family is cidr.family and one.length <= cidr.length and one.contains(cidr.address) for one in written
        ):
            place = found.file if isinstance(found, Feed) else found.metadata.position.file_line
            raise RequestError(f"{_text(cidr)} is in {words.name} by {place}", "take it out there, and apply")


def _report(reply: Reply, words: _Words, options: Options, console: Console) -> ExitCode:
    if options.output is Output.JSON:
        console.data(json_text(document("SetResult", _result(reply, words.name))))
    match reply:
        case MembersChanged():
            for warning in reply.warnings:
                console.warn(warning)
            for_text = f" for {duration_text(words.for_s)}" if words.for_s is not None else ""
            for what, cidrs in (
                (f"is in {words.name} now{for_text}", reply.added),
                (f"was in {words.name} already, for as long", reply.kept),
                (f"is in {words.name} no more", reply.removed),
                (f"was not in {words.name}", reply.absent),
            ):
                for cidr in cidrs:
                    console.say(f"{_text(cidr)} {what}")
            _announce(reply, words)
            if options.cut:
                ended = this_host().cut_connections((*reply.added, *reply.kept))
                console.say(f"{counted(ended, 'connection')} ended")
            return saved(reply.unsaved, console)
        case NoSuchSet():
            return complain_of(
                Failed(
                    f'no rule in force selects "{words.name}"',
                    "write a rule whose selector selects its labels, and apply",
                ),
                console,
            )
        case Failed():
            return complain_of(reply, console)
        case _:
            raise AssertionError(f"{type(reply).__name__} does not answer a change of members")


def _announce(changed: MembersChanged, words: _Words) -> None:
    """Tell the journal who put in or took out whom; nothing where nothing changed."""
    if not changed.added and not changed.removed:
        return
    from hostfw.cli.output.journal import announcing
    from hostfw.journal.entry import UNKNOWN_ACTOR, Actor
    from hostfw.journal.set_notices import members_changed

    host = announcing(this_host())
    above = [one for one in host.ancestors() if one.name not in _SHELLS]
    who = Actor(above[0].name, above[0].pid, login_uid()) if above else UNKNOWN_ACTOR
    texts = [tuple(map(_text, cidrs)) for cidrs in (changed.added, changed.removed)]
    host.announce(members_changed(words.name, texts[0], texts[1], words.for_s if changed.added else None, who))


def _result(reply: Reply, name: str) -> Document:
    match reply:
        case MembersChanged():
            return {
                "result": "changed" if reply.added or reply.removed else "unchanged",
                "set": name,
                "added": list(map(_text, reply.added)),
                "kept": list(map(_text, reply.kept)),
                "removed": list(map(_text, reply.removed)),
                "absent": list(map(_text, reply.absent)),
                "warnings": list(reply.warnings),
                "saved": not reply.unsaved,
            }
        case Failed():
            return failure(reply)
        case _:
            return failure(Failed(f'no rule in force selects "{name}"'))


# ---------------------------------------------------------------------------------------------------------------- list


def _listed(name: str, options: Options, console: Console) -> ExitCode:
    resources = _in_force(options)
    host = this_host(options)
    tables = host.read_sets()
    if not name:
        return _overview(resources, tables, host, options, console)
    found = _named(name, resources)
    if found is None:
        raise RequestError(
            f'there is no GlobalNetworkSet or Feed "{name}"', "`hostfwctl set list` shows those in force"
        )
    in_kernel = [one for of in (name, members_name(name)) for one in _members(of, tables, host)]
    rows = [(_text(cidr), "", Path(place).name) for cidr, place in _written(found)]
    rows += [(_text(one.cidr), _left(one), "set add, or another program") for one in in_kernel]
    if options.output is Output.JSON:
        members = [{"member": _text(cidr), "leftSeconds": None, "from": place} for cidr, place in _written(found)] + [
            {"member": _text(one.cidr), "leftSeconds": one.left_s, "from": "kernel"} for one in in_kernel
        ]
        console.data(json_text(document("SetMembers", {"set": name, "members": members})))
        return ExitCode.DONE
    console.table((Column("MEMBER"), Column("LEFT"), Column("FROM")), rows)
    return ExitCode.DONE


def _overview(resources: Resources, tables: KernelTables, host: Host, options: Options, console: Console) -> ExitCode:
    rows: list[tuple[str, str, str]] = []
    # Only these are in the kernel by a name that is to be looked for.
    filled = {one.metadata.name for one in resources.feeds if one.external is not None}
    for one in (*resources.every_set, *resources.namespaced_sets):
        own = one.metadata.full_name
        if isinstance(one, Feed) and one.external is not None and one.external.of:
            continue
        others = () if isinstance(one, NetworkSet) else (own, members_name(own))
        in_kernel = (of for of in others if of in filled)
        count = len(list(_written(one))) + sum(len(_members(of, tables, host)) for of in in_kernel)
        rows.append((own, str(count), one.metadata.position.file_line))
    if options.output is Output.JSON:
        sets = [{"set": own, "members": int(count), "from": place} for own, count, place in rows]
        console.data(json_text(document("SetList", {"items": sets})))
        return ExitCode.DONE
    console.table((Column("SET"), Column("MEMBERS"), Column("FILE")), rows)
    return ExitCode.DONE


def _members(name: str, tables: KernelTables, host: Host) -> tuple[Member, ...]:
    external = find_external(tables, name)
    return () if external is None else held(host, external).members


def _written(found: GlobalNetworkSet | NetworkSet | Feed) -> Iterator[tuple[Cidr, str]]:
    if not isinstance(found, Feed):
        yield from ((cidr, found.metadata.position.file_line) for cidr in found.nets)
    elif found.external is None:
        yield from ((cidr, found.file) for cidr in found.cidrs)


def _left(member: Member) -> str:
    return "for ever" if member.left_s is None else duration_text(member.left_s)


def _text(cidr: Cidr) -> str:
    return address_text(cidr.family, cidr.address) if cidr.is_host else str(cidr)
